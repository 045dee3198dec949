package lint

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"

	"dagger/slipway/internal/gotest"
	"dagger/slipway/internal/step"
	"dagger/slipway/internal/tool"
)

const golangciFile = "golangci-lint.json"

// GolangciStep is the one definition of how a Go module is linted. It tells
// every finding: by default golangci-lint hides repetitions, and two of it do
// not run at the same time.
func GolangciStep(module, image string) step.Step {
	s := goStep("golangci-lint", module, image, tool.GolangciLint.Command("run",
		"--output.json.path="+step.Out+"/"+golangciFile, "--path-mode=abs", "--show-stats=false", "--issues-exit-code=0",
		"--max-issues-per-linter=0", "--max-same-issues=0", "--allow-parallel-runners", "./..."))
	s.Caches = append(s.Caches, step.Cache{Name: "golangci-lint", Path: "/root/.cache/golangci-lint"})
	if len(s.Include) > 0 {
		s.Include = append(s.Include, ".golangci.yml")
	}
	return s
}

// goStep is a step of a tool that reads one Go module. As in the test stage the
// module stands alone, so that host and container see the same versions.
func goStep(name, module, image string, args []string) step.Step {
	part := module
	if part == gotest.PipelineTests {
		part = gotest.Pipeline // which it takes from the folder above
	}
	return step.Step{
		Name:    nameOf(name, module),
		Image:   image,
		Dir:     path.Clean(module),
		Args:    args,
		Env:     map[string]string{"GOWORK": "off", "CGO_ENABLED": "0"},
		Caches:  step.GoCaches(),
		Include: step.Only(part),
	}
}

func golangciCheck(p places, module, image string) Check {
	s := GolangciStep(module, image)
	return check(GolangciLint, module, invocation{tool.GolangciLint, s, func(dir string, result step.Result) ([]Finding, error) {
		data, err := os.ReadFile(filepath.Join(dir, golangciFile))
		if err != nil {
			return nil, broken(s, result, err)
		}
		findings, err := readGolangci(p, s.Dir, data)
		if err != nil || result.ExitCode != 0 {
			return findings, broken(s, result, err)
		}
		return findings, nil
	}})
}

// readGolangci reads the JSON output of golangci-lint v2.
func readGolangci(p places, dir string, data []byte) ([]Finding, error) {
	var answer struct {
		Issues []struct {
			FromLinter, Text string
			Pos              struct {
				Filename     string
				Line, Column int
			}
			SuggestedFixes []struct {
				Message   string
				TextEdits []struct{ NewText []byte }
			}
		}
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, err
	}
	var findings []Finding
	for _, issue := range answer.Issues {
		f := Finding{
			Tool: tool.GolangciLint.Name, File: p.file(dir, issue.Pos.Filename), Line: issue.Pos.Line, Column: issue.Pos.Column,
			Rule: issue.FromLinter, Text: issue.Text,
		}
		for _, fix := range issue.SuggestedFixes {
			if f.Fix != "" {
				break
			}
			if f.Fix = fix.Message; f.Fix == "" && len(fix.TextEdits) == 1 {
				f.Fix = string(fix.TextEdits[0].NewText)
			}
		}
		findings = append(findings, f)
	}
	return findings, nil
}
