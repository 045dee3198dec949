package lint

import (
	"encoding/json"
	"errors"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Outputs of Terraform's steps.
const (
	terraformData = "data"
	validateFile  = "validate.json"
)

// TerraformSteps returns the steps that validate a root module. They install the
// locked providers, use no backend and write nothing to the tree.
func TerraformSteps(root, image string) (initialise, validate step.Step) {
	base := step.Step{
		Image:   image,
		Dir:     path.Clean(root),
		Env:     map[string]string{"TF_DATA_DIR": step.Out + "/" + terraformData, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"},
		Include: includeRoot(root),
		PassEnv: []string{"TF_CLI_CONFIG_FILE"},
	}
	initialise, validate = base, base
	initialise.Name = "terraform init " + root
	initialise.Args = tool.Terraform.Command("init", "-backend=false", "-input=false", "-lockfile=readonly", "-no-color")
	validate.Name = "terraform validate " + root
	validate.Args = tool.Terraform.Command("validate", "-json", "-no-color")
	validate.Stdout = validateFile
	validate.Inputs = []string{terraformData}
	return initialise, validate
}

// registryUnreachable matches the error of a registry that cannot be reached.
var registryUnreachable = regexp.MustCompile(`(?m)^.*(dial tcp|no such host|connection refused|Client\.Timeout|TLS handshake timeout|could not connect to).*$`)

func terraformCheck(p pathMapper, root, image string) Check {
	initialise, validate := TerraformSteps(root, image)
	c := check(Terraform, "validate "+root,
		invocation{tool.Terraform, initialise, func(_ string, result step.Result) ([]Finding, error) {
			switch {
			case result.ExitCode == 0:
				return nil, nil
			case registryUnreachable.MatchString(result.Stderr):
				return nil, &tool.MissingError{
					Tool:   tool.Terraform.Name,
					Reason: "the providers cannot be fetched: connect to the network or configure a mirror in TF_CLI_CONFIG_FILE: " + outcome.OneLine(registryUnreachable.FindString(result.Stderr)),
				}
			}
			return nil, errors.New(firstError(initialise, result))
		}},
		invocation{tool.Terraform, validate, func(dir string, result step.Result) ([]Finding, error) {
			data, err := os.ReadFile(filepath.Join(dir, validateFile))
			if err != nil {
				return nil, toolError(validate, result, err)
			}
			findings, err := readValidate(p, validate.Dir, data)
			if err != nil || (result.ExitCode != 0 && len(findings) == 0) {
				return findings, toolError(validate, result, err)
			}
			return findings, nil
		}})
	return c
}

// firstError returns Terraform's first error on one line.
func firstError(s step.Step, result step.Result) string {
	_, message, found := strings.Cut(result.Stderr, "Error: ")
	if !found {
		return toolError(s, result, nil).Error()
	}
	message, _, _ = strings.Cut(message, "Error: ")
	return s.Name + ": " + outcome.OneLine(message)
}

// readValidate parses the JSON output of terraform validate:
// https://developer.hashicorp.com/terraform/cli/commands/validate#json-output-format
func readValidate(p pathMapper, dir string, data []byte) ([]Finding, error) {
	var output struct {
		Diagnostics []struct {
			Severity, Summary, Detail string
			Range                     *struct {
				Filename string
				Start    struct{ Line, Column int }
			}
		}
	}
	if err := json.Unmarshal(data, &output); err != nil {
		return nil, err
	}
	var findings []Finding
	for _, d := range output.Diagnostics {
		f := Finding{Tool: tool.Terraform.Name, Rule: "validate", File: dir, Text: d.Summary}
		if d.Detail != "" {
			f.Text += ": " + d.Detail
		}
		if d.Range != nil {
			f.File, f.Line, f.Column = p.relative(dir, d.Range.Filename), d.Range.Start.Line, d.Range.Start.Column
		}
		findings = append(findings, f)
	}
	return findings, nil
}
