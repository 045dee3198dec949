package lint

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"

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

// TrivyStep is the one definition of how Terraform configuration is searched
// for misconfiguration: by the checks that Trivy brings along, so that the same
// Trivy finds the same on every day and without a network.
func TrivyStep(folder, image string) step.Step {
	return step.Step{
		Name:  "trivy " + folder,
		Image: image,
		Dir:   path.Clean(folder),
		Args: tool.Trivy.Command("config", "--format=json", "--output="+step.Out+"/"+trivyFile, "--quiet", "--exit-code=0",
			"--skip-check-update", "--skip-version-check", "--disable-telemetry", "--cache-dir="+step.Out+"/cache", "."),
		Include: step.Only(folder),
	}
}

func trivyCheck(p places, folder, image string) Check {
	s := TrivyStep(folder, image)
	return check(Security, folder, invocation{tool.Trivy, s, func(dir string, result step.Result) ([]Finding, error) {
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
