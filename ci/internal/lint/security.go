package lint

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"dagger/slipway/internal/step"
	"dagger/slipway/internal/tool"
)

const (
	gitleaksFile = "gitleaks.json"
	trivyFile    = "trivy.json"
)

// GitleaksStep is the one definition of how the tree is searched for secrets.
// It needs no network, and what it finds leaves it redacted.
func GitleaksStep(image string) step.Step {
	return step.Step{
		Name:  "gitleaks",
		Image: image,
		Dir:   ".",
		Args: tool.Gitleaks.Command("dir", ".", "--redact", "--report-format=json", "--report-path="+step.Out+"/"+gitleaksFile,
			"--exit-code=0", "--no-banner", "--no-color", "--log-level=error"),
		Env:    map[string]string{"GOWORK": "off", "CGO_ENABLED": "0"},
		Caches: step.GoCaches(),
	}
}

// gitleaksCheck tells secrets in files that git tracks; what is ignored, such
// as a developer's .env, goes nowhere.
func gitleaksCheck(p places, tracked []string, image string) Check {
	s := GitleaksStep(image)
	return check(Security, "", invocation{tool.Gitleaks, s, func(dir string, result step.Result) ([]Finding, error) {
		data, err := os.ReadFile(filepath.Join(dir, gitleaksFile))
		if err != nil {
			return nil, broken(s, result, err)
		}
		findings, err := readGitleaks(p, data)
		if err != nil || result.ExitCode != 0 {
			return findings, broken(s, result, err)
		}
		return slices.DeleteFunc(findings, func(f Finding) bool { return !slices.Contains(tracked, f.File) }), nil
	}})
}

// readGitleaks reads the JSON report of gitleaks.
func readGitleaks(p places, data []byte) ([]Finding, error) {
	var leaks []struct {
		RuleID, Description, File string
		StartLine, StartColumn    int
	}
	if err := json.Unmarshal(data, &leaks); err != nil {
		return nil, err
	}
	var findings []Finding
	for _, leak := range leaks {
		findings = append(findings, Finding{
			Tool: tool.Gitleaks.Name, File: p.file(".", leak.File), Line: leak.StartLine, Column: leak.StartColumn,
			Rule: leak.RuleID, Text: leak.Description,
			Fix: "revoke the secret and take it out of the file; where it is none, end its line with a comment gitleaks:allow and say why",
		})
	}
	return findings, nil
}

// TrivyStep is the one definition of how a root module is searched for
// misconfiguration: by the checks that Trivy brings along, so that the same Trivy
// finds the same on every day and without a network. variables are the files of
// variables that Terraform would read by itself, which Trivy does not; skip are
// folders that are root modules of their own. Both are relative to the root.
func TrivyStep(root, image string, variables, skip []string) step.Step {
	args := []string{
		"config", "--format=json", "--output=" + step.Out + "/" + trivyFile, "--quiet", "--exit-code=0",
		"--skip-check-update", "--skip-version-check", "--disable-telemetry", "--cache-dir=" + step.Out + "/cache",
	}
	if len(variables) > 0 {
		args = append(args, "--tf-vars="+strings.Join(variables, ","))
	}
	if len(skip) > 0 {
		args = append(args, "--skip-dirs="+strings.Join(skip, ","))
	}
	return step.Step{
		Name:    "trivy " + root,
		Image:   image,
		Dir:     path.Clean(root),
		Args:    tool.Trivy.Command(append(args, ".")...),
		Include: step.Only(root),
	}
}

// variableFiles are the files of variables that Terraform reads by itself in a
// folder, the later ones of which win:
// https://developer.hashicorp.com/terraform/language/values/variables#variable-definition-precedence
func variableFiles(tracked []string, folder string) []string {
	var plain, auto []string
	for _, file := range tracked {
		dir, name := path.Split(file)
		switch {
		case path.Clean(dir) != path.Clean(folder):
		case name == "terraform.tfvars" || name == "terraform.tfvars.json":
			plain = append(plain, name)
		case strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json"):
			auto = append(auto, name)
		}
	}
	slices.Sort(plain)
	slices.Sort(auto)
	return append(plain, auto...)
}

// below are the folders that lie in another one, relative to it.
func below(folders []string, folder string) []string {
	var inside []string
	for _, name := range folders {
		if rest, ok := strings.CutPrefix(name, path.Clean(folder)+"/"); ok {
			inside = append(inside, rest)
		}
	}
	return inside
}

func trivyCheck(p places, root, image string, t Targets) Check {
	s := TrivyStep(root, image, variableFiles(t.Tracked, root), below(t.Roots, root))
	return check(Security, root, invocation{tool.Trivy, s, func(dir string, result step.Result) ([]Finding, error) {
		data, err := os.ReadFile(filepath.Join(dir, trivyFile))
		if err != nil {
			return nil, broken(s, result, err)
		}
		findings, err := readTrivy(p, s.Dir, data)
		if err != nil || result.ExitCode != 0 {
			return findings, broken(s, result, err)
		}
		return findings, nil
	}})
}

// readTrivy reads the JSON report of trivy config.
func readTrivy(p places, dir string, data []byte) ([]Finding, error) {
	var report struct {
		Results []struct {
			Target            string
			Misconfigurations []struct {
				ID, Message, Resolution, Status, Severity string
				CauseMetadata                             struct{ StartLine int }
			}
		}
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return nil, err
	}
	var findings []Finding
	for _, result := range report.Results {
		for _, m := range result.Misconfigurations {
			if m.Status != "FAIL" {
				continue
			}
			findings = append(findings, Finding{
				Tool: tool.Trivy.Name, File: p.file(dir, result.Target), Line: m.CauseMetadata.StartLine,
				Rule: m.ID, Text: m.Message, Fix: m.Resolution,
			})
		}
	}
	return findings, nil
}
