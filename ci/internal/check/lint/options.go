package lint

import (
	"context"
	"slices"

	"github.com/slipway-cd/slipway/ci/internal/check/format"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
)

// Options are the options of [Run].
type Options struct {
	// Kinds are the kinds of checks to run; empty means all.
	Kinds []Kind
	// Strict makes a check with a missing tool fail.
	Strict bool
	// Day is the date of vulnerability results.
	Day string
	// VulnerabilityDB is the URL of a mirror of Go's vulnerability database; "" is Go's own.
	VulnerabilityDB string
	// Image returns the container image of a tool.
	Image func(tool string) string
	// Log is called with a line when a check has finished. Calls are not concurrent. nil
	// is silent.
	Log func(line string)
}

// checks lists the checks of the targets in the tree at source.
func (o Options) checks(source string, t Targets) ([]Check, error) {
	p, err := newPathMapper(source)
	if err != nil {
		return nil, err
	}
	kinds := o.Kinds
	if len(kinds) == 0 {
		kinds = Kinds()
	}
	if o.VulnerabilityDB != "" && slices.Contains(kinds, Govulncheck) {
		if err := checkVulnerabilityDB(o.VulnerabilityDB); err != nil {
			return nil, err
		}
	}
	var checks []Check
	for _, kind := range Kinds() {
		if slices.Contains(kinds, kind) {
			checks = append(checks, o.checksOfKind(kind, p, t)...)
		}
	}
	return checks, nil
}

func (o Options) checksOfKind(kind Kind, p pathMapper, t Targets) []Check {
	var checks []Check
	switch kind {
	case GolangciLint:
		for _, module := range t.Modules {
			checks = append(checks, golangci(module, o.Image("go")).check(p))
		}
	case Govulncheck:
		for _, module := range t.Modules {
			checks = append(checks, govulncheck(p, module, o.Image("go"), o.Day, o.VulnerabilityDB).check(p))
		}
	case Gofumpt:
		for _, module := range t.Modules {
			checks = append(checks, formatCheck(kind, module, format.Go(module, o.Image("go"))))
		}
	case Nginx:
		for _, site := range t.Sites {
			checks = append(checks, nginxCheck(p, site, o.Image("nginx")))
		}
	case Actionlint:
		switch {
		case len(t.Workflows) > 0:
			checks = append(checks, actionlint(t.Workflows, o.Image("go")).check(p))
		case t.All:
			checks = append(checks, Check{Kind: kind, Name: tool.Actionlint.Name, notApplicable: "no workflow in " + workflowFolder})
		}
	case Terraform:
		if t.Terraform != "" {
			checks = append(checks, formatCheck(kind, "fmt "+t.Terraform, format.Terraform(t.Terraform, o.Image("terraform"))))
		}
		for _, root := range t.Roots {
			checks = append(checks, terraformCheck(p, root, o.Image("terraform")))
		}
	case TFLint:
		if t.Terraform != "" {
			checks = append(checks, tflint(p, t.Terraform, o.Image("go")).check(p))
		}
	case Security:
		if t.All {
			checks = append(checks, gitleaks(t.Tracked, o.Image("go")).check(p))
		}
		for _, root := range t.Roots {
			checks = append(checks, trivy(root, o.Image("trivy"), t).check(p))
		}
	}
	if len(checks) == 0 {
		checks = append(checks, Check{Kind: kind, Name: string(kind), notApplicable: notApplicableReason(kind, t.All)})
	}
	return checks
}

// notApplicableReason returns why a kind of check has nothing to do.
func notApplicableReason(kind Kind, whole bool) string {
	if !whole {
		return "it does not apply to the selected services"
	}
	switch kind {
	case GolangciLint, Govulncheck, Gofumpt:
		return "no Go module"
	case Nginx:
		return "no service of kind nginx"
	default:
		return "no Terraform configuration in " + terraformFolder
	}
}

// formatCheck returns a check that reports every hunk that a formatter would change.
func formatCheck(kind Kind, what string, f format.Formatter) Check {
	name, rule := f.Tool.Name, "format"
	if f.Tool.Name == tool.Terraform.Name {
		rule = "fmt"
	}
	run := func(ctx context.Context, executor step.Executor) ([]Finding, error) {
		changes, faults, err := f.Run(ctx, executor)
		var findings []Finding
		for _, change := range changes {
			for _, hunk := range change.Hunks {
				findings = append(findings, Finding{
					Tool: name, File: change.File, Line: hunk.Line, Column: 1, Rule: rule,
					Text: "not formatted: run slipway fmt", Fix: hunk.Diff,
				})
			}
		}
		for _, fault := range faults {
			findings = append(findings, Finding{
				Tool: name, File: fault.File, Line: fault.Line, Column: fault.Column, Rule: "syntax", Text: fault.Text,
			})
		}
		return findings, err
	}
	return Check{Kind: kind, Name: checkName(name, what), run: run}
}
