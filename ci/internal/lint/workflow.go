package lint

import (
	"encoding/json"
	"os"
	"path/filepath"

	"dagger/slipway/internal/step"
	"dagger/slipway/internal/tool"
)

const actionlintFile = "actionlint.json"

// ActionlintStep is the one definition of how GitHub workflows are linted. The
// tools that actionlint calls where it finds them are off: a finding is one on
// every machine. It looks for .git to tell the root of the repository, by which
// it finds local actions and its configuration.
func ActionlintStep(workflows []string, image string) step.Step {
	return step.Step{
		Name:    "actionlint",
		Image:   image,
		Dir:     ".",
		Args:    append(tool.Actionlint.Command("-format={{json .}}", "-no-color", "-shellcheck=", "-pyflakes="), workflows...),
		Env:     map[string]string{"GOWORK": "off", "CGO_ENABLED": "0"},
		Caches:  step.GoCaches(),
		Stdout:  actionlintFile,
		Include: []string{".github", ".git/HEAD"},
	}
}

func actionlintCheck(p places, workflows []string, image string) Check {
	if len(workflows) == 0 {
		return Check{Kind: Actionlint, Name: tool.Actionlint.Name, nothing: "no workflow in " + workflowFolder}
	}
	s := ActionlintStep(workflows, image)
	return check(Actionlint, "", invocation{tool.Actionlint, s, func(dir string, result step.Result) ([]Finding, error) {
		data, err := os.ReadFile(filepath.Join(dir, actionlintFile))
		if err != nil {
			return nil, broken(s, result, err)
		}
		findings, err := readActionlint(p, data)
		if err != nil || (result.ExitCode != 0 && len(findings) == 0) {
			return findings, broken(s, result, err)
		}
		return findings, nil
	}})
}

// readActionlint reads what actionlint's template "{{json .}}" gives.
func readActionlint(p places, data []byte) ([]Finding, error) {
	var errs []struct {
		Message, Filepath, Kind string
		Line, Column            int
	}
	if err := json.Unmarshal(data, &errs); err != nil {
		return nil, err
	}
	var findings []Finding
	for _, e := range errs {
		findings = append(findings, Finding{
			Tool: tool.Actionlint.Name, File: p.file(".", e.Filepath), Line: e.Line, Column: e.Column, Rule: e.Kind, Text: e.Message,
		})
	}
	return findings, nil
}
