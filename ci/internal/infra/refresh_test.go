package infra_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/infra/binding"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// fakeTerraform applies a plan of AWS's resources, and plans before and after it.
type fakeTerraform struct {
	version       string
	before, after string            // plans as JSON
	fails         map[string]string // messages of commands that fail
	interrupt     context.CancelCauseFunc
	ran           *[]string // commands
	variables     *string   // the file that the plans get, and their arguments and inputs
	shown         *string
}

func (f fakeTerraform) Run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	command := s.Args[1]
	switch command {
	case "plan":
		command, *f.shown = "plan before", f.before
		if slices.Contains(s.Args, "-refresh-only") {
			command, *f.shown = "plan after", f.after
		}
		file := filepath.Join(dir, "plan.tfvars.json")
		content, err := os.ReadFile(file)
		if err != nil {
			return step.Result{}, err
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 || !s.InterruptOnly || !s.NoCache || s.LogFilter != "" {
			return step.Result{}, fmt.Errorf("%w: not private, or not safe to interrupt", err)
		}
		*f.variables = string(content) + fmt.Sprint(s.Args[len(s.Args)-2:], s.Inputs)
		if err := os.WriteFile(filepath.Join(dir, infra.PlanFile), []byte(command), 0o600); err != nil {
			return step.Result{}, err
		}
	case "apply":
		if slices.Contains(*f.ran, "apply") {
			command = "apply after"
		}
	}
	if command != "init" && command != "state" && command != "show" {
		*f.ran = append(*f.ran, command)
	}
	output := f.fails[command]
	switch {
	case output == "interrupted":
		f.interrupt(outcome.Interruption("interrupted (SIGINT)"))
		return step.Result{}, context.Cause(ctx)
	case output != "":
	case command == "init":
		output = `{"type":"version","terraform":"` + f.version + `"}`
	case command == "show":
		output = *f.shown
	case strings.HasPrefix(command, "apply"):
		output = `{"type":"change_summary","changes":{"operation":"apply"}}` + "\n" + `{"type":"outputs","outputs":{"o":{"value":"` + command + `"}}}`
	}
	code := min(len(f.fails[command]), 1)
	if code == 0 && (command == "plan before" || command == "plan after" && strings.Contains(f.after, `"update"`)) {
		code = 2
	}
	err := os.WriteFile(filepath.Join(dir, s.Stdout), []byte(output), 0o600)
	return step.Result{ExitCode: code}, err
}

// awsPlan returns a plan as JSON with changes, as "ADDRESS ACTION", and drift, as "ADDRESS
// VALUE" or "ADDRESS deleted".
func awsPlan(changes, drift []string) string {
	var resources, drifted []string
	for _, change := range changes {
		address, action, _ := strings.Cut(change, " ")
		resources = append(resources, `{"address":"`+address+`","mode":"managed","type":"aws_security_group","change":{"actions":["`+action+`"],"before":{},"after":{}}}`)
	}
	for _, d := range drift {
		address, value, _ := strings.Cut(d, " ")
		change := `"update"],"before":{"ingress":[]},"after":{"ingress":["` + value + `"]}`
		if value == "deleted" {
			change = `"delete"],"before":{},"after":null`
		}
		drifted = append(drifted, `{"address":"`+address+`","mode":"managed","type":"aws_security_group","change":{"actions":[`+change+`}}`)
	}
	return `{"format_version":"1.2","complete":true,"variables":{"flavour":{"value":"plain"},"password":{"value":"` + secret + `"},"optional":{"value":["a"]},"list":{}},
		"resource_changes":[` + strings.Join(resources, ",") + `],"resource_drift":[` + strings.Join(drifted, ",") + `],
		"configuration":{"provider_config":{"aws":{"full_name":"registry.terraform.io/hashicorp/aws"}},"root_module":{"variables":{"password":{"sensitive":true}}}}}`
}

// TestApplyRefreshesState: after an apply, the state has what AWS has set meanwhile, and
// nothing that was changed outside of Terraform.
func TestApplyRefreshesState(t *testing.T) {
	const a, b = "aws_security_group.a", "aws_security_group.b"
	const lacks = "the state lacks what AWS has set since the changes, so that it will be reported as drift: "
	first, more := []string{a + " create"}, []string{a + " no-op", b + " create"}
	all := []string{"plan before", "apply", "plan after", "apply after"}
	tests := map[string]struct {
		plan          string
		before, after []string
		fails         map[string]string
		ran           []string
		refreshed     []string
		warning       string
	}{
		"a first apply":                        {plan: awsPlan(first, nil), after: []string{a + " rule"}, ran: []string{"apply", "plan after", "apply after"}, refreshed: []string{a}},
		"a later one":                          {plan: awsPlan(more, nil), after: []string{a + " rule", b + " rule"}, ran: all, refreshed: []string{a, b}},
		"an update":                            {plan: awsPlan([]string{a + " update"}, nil), after: []string{a + " rule"}, ran: all, refreshed: []string{a}},
		"a destroyed rule":                     {plan: awsPlan([]string{a + " no-op", b + " delete"}, nil), after: []string{a + " rule"}, ran: all, refreshed: []string{a}},
		"nothing to refresh":                   {plan: awsPlan(more, nil), ran: all[:3]},
		"drift that the plan shows":            {plan: awsPlan(more, []string{a + " rule"}), before: []string{a + " rule"}, after: []string{a + " other"}, ran: all, refreshed: []string{a}},
		"drift since the plan":                 {plan: awsPlan(more, nil), before: []string{a + " by hand"}, after: []string{a + " by hand", b + " rule"}, ran: all[:3], warning: a + " changed outside of Terraform"},
		"more drift since the plan":            {plan: awsPlan(more, []string{a + " rule"}), before: []string{a + " by hand"}, after: []string{a + " by hand"}, ran: all[:3], warning: a + " changed outside of Terraform"},
		"drift that was undone since the plan": {plan: awsPlan(more, []string{a + " rule"}), after: []string{a + " undone"}, ran: all[:3], warning: a + " changed outside of Terraform"},
		"drift that the apply has undone":      {plan: awsPlan(more, nil), before: []string{b + " by hand"}, after: []string{a + " rule"}, ran: all, refreshed: []string{a}},
		"something deleted":                    {plan: awsPlan(first, nil), after: []string{a + " deleted", b + " rule"}, ran: []string{"apply", "plan after"}, warning: a + " changed outside of Terraform"},
		"no permission before":                 {plan: awsPlan(more, nil), fails: map[string]string{"plan before": failure("AccessDenied")}, ran: all[:2], warning: "terraform plan: AccessDenied"},
		"no permission after":                  {plan: awsPlan(more, nil), fails: map[string]string{"plan after": failure("AccessDenied")}, ran: all[:3], warning: "terraform plan: AccessDenied"},
		"a secret in an error":                 {plan: awsPlan(more, nil), fails: map[string]string{"plan after": failure("Invalid " + secret)}, ran: all[:3], warning: "(sensitive value)"},
		"no refreshed state":                   {plan: awsPlan(more, nil), after: []string{a + " rule"}, fails: map[string]string{"apply after": failure("Failed to save state")}, ran: all, warning: "terraform apply: Failed to save state"},
		"a partial plan":                       {plan: strings.Replace(awsPlan(more, nil), `"complete":true`, `"complete":false`, 1), ran: []string{"apply"}, warning: "the plan is partial"},
		"a destroyed platform":                 {plan: awsPlan([]string{a + " delete"}, nil), ran: []string{"apply"}},
		"only the state changes":               {plan: awsPlan([]string{a + " no-op", b + " forget"}, []string{a + " rule"}), ran: []string{"apply"}},
		"another provider":                     {plan: strings.ReplaceAll(awsPlan(more, nil), "hashicorp/aws", "hashicorp/tls"), ran: []string{"apply"}},
		"interrupted before":                   {plan: awsPlan(more, nil), fails: map[string]string{"plan before": "interrupted"}, ran: all[:1]},
		"interrupted after":                    {plan: awsPlan(more, nil), fails: map[string]string{"plan after": "interrupted"}, ran: all[:3]},
	}
	base := newTree(t, map[string]string{"main.tf": ephemeralConfiguration})
	version := base.mustPlan(t, func(o *infra.PlanOptions) { o.Vars = []string{"token=first-" + secret} }).Binding.TerraformVersion
	reseal(t, base, func(b *binding.Binding) { b.Backend = binding.Backend{Type: "local"} })
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, interrupt := context.WithCancelCause(t.Context())
			defer interrupt(nil)
			var ran []string
			shown, variables := tt.plan, ""
			tr := base
			tr.Exec = fakeTerraform{
				version: version, before: awsPlan(nil, tt.before), after: awsPlan(nil, tt.after),
				fails: tt.fails, interrupt: interrupt, ran: &ran, variables: &variables, shown: &shown,
			}

			applied, err := tr.Apply(ctx, infra.ApplyOptions{Plan: tr.out, AllowPartial: true, Vars: []string{"token=second-" + secret}})

			require.Equal(t, tt.ran, ran)
			require.NotContains(t, rendered(t, applied), secret)
			if variables != "" {
				file, arguments, _ := strings.Cut(variables, "[")
				require.JSONEq(t, `{"flavour":"plain","list":null,"password":"`+secret+`"}`, file)
				require.Equal(t, "-var=token=second-"+secret+" -var-file=@out@/plan.tfvars.json] [data plan.tfvars.json]", arguments)
			}
			if strings.HasPrefix(name, "interrupted") {
				require.Equal(t, outcome.Interrupted, outcome.Of(err))
				if name == "interrupted after" {
					require.EqualError(t, err, "refreshing the state after the apply: interrupted (SIGINT): 1 applied, 0 failed, 0 not reached")
					require.Equal(t, infra.Interrupted, applied.Result)
					require.Equal(t, "run slipway plan --refresh-only and apply it to complete the state", applied.Next)
				}
				return
			}
			require.NoError(t, err)
			require.Equal(t, infra.Succeeded, applied.Result)
			outputs := "apply"
			for _, address := range tt.refreshed {
				outputs = "apply after"
				require.Contains(t, rendered(t, applied), "  refreshed    update   "+address+"\n")
			}
			require.Len(t, applied.Refreshed, len(tt.refreshed))
			require.Equal(t, `"`+outputs+`"`, string(applied.Outputs["o"].Value))
			if tt.warning == "" {
				require.Empty(t, applied.Warnings)
				return
			}
			require.Equal(t, []string{lacks + tt.warning + ": run slipway plan --refresh-only and apply it"}, applied.Warnings)
		})
	}
}

// failure returns an error message of Terraform.
func failure(summary string) string {
	return `{"type":"diagnostic","diagnostic":{"severity":"error","summary":"` + summary + `"}}`
}
