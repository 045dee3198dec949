package lint

import (
	"context"
	"slices"

	"dagger/slipway/internal/check/format"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/exec/tool"
)

// Options say what to check, and how.
type Options struct {
	// Kinds are those to run; empty means all.
	Kinds []Kind
	// Strict makes a check fail whose tool cannot be had.
	Strict bool
	// Day is the date, which answers about vulnerabilities hang on.
	Day string
	// Image names the container image of a tool.
	Image func(tool string) string
	// Log receives a line as soon as a check has ended, one call at a time;
	// nil is silent.
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
			checks = append(checks, govulncheck(p, module, o.Image("go"), o.Day).check(p))
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

// notApplicableReason says why there is nothing to check, which is not to be taken for
// a check that found nothing.
func notApplicableReason(kind Kind, whole bool) string {
	if !whole {
		return "it looks at nothing of the selected services"
	}
	switch kind {
	case GolangciLint, Govulncheck, Gofumpt:
		return "there is no Go module"
	case Nginx:
		return "there is no service of kind nginx"
	default:
		return "there is no Terraform configuration in " + terraformFolder
	}
}

// formatCheck makes a finding of every stretch that a formatter would change.
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
