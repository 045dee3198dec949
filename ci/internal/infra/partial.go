package infra

import (
	"regexp"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// planArguments returns the options that the environment adds to terraform plan,
// each with its value. Quotes are not parsed: no relevant option needs them.
func (s Stage) planArguments() []string {
	var arguments []string
	for _, name := range []string{"TF_CLI_ARGS", "TF_CLI_ARGS_plan"} {
		for _, word := range strings.Fields(s.variable(name)) {
			word = strings.Trim(word, `'"`)
			switch last := len(arguments) - 1; {
			case strings.HasPrefix(word, "-"):
				arguments = append(arguments, "-"+strings.TrimLeft(word, "-"))
			case last >= 0 && !strings.Contains(arguments[last], "="):
				arguments[last] += "=" + word
			}
		}
	}
	return arguments
}

// partialOption matches options of terraform plan, including OpenTofu's, that omit
// a part of the configuration or skip the refresh.
var partialOption = regexp.MustCompile(`^-(?:(?:target|exclude)(?:-file)?=|refresh=(?:false|f|0|FALSE|False|F)$)`)

// partialWarning matches the warnings of a partial plan.
var partialWarning = regexp.MustCompile(`(?i)resource targeting|exclusion`)

// partialReasons returns why a plan is partial: the options that omit something, or
// that Terraform reports it as incomplete. A complete plan has no reasons.
func partialReasons(plan *tfjson.Plan, warnings []terraform.Diagnostic, arguments []string) []string {
	complete := plan.Complete == nil || *plan.Complete
	if plan.Complete == nil {
		complete = !slices.ContainsFunc(warnings, func(d terraform.Diagnostic) bool { return partialWarning.MatchString(d.Summary) })
	}
	var reasons []string
	for _, argument := range arguments {
		if partialOption.MatchString(argument) && (!complete || strings.HasPrefix(argument, "-refresh")) {
			reasons = append(reasons, argument)
		}
	}
	if len(reasons) == 0 && !complete {
		reasons = append(reasons, "Terraform reports it as incomplete")
	}
	return reasons
}

// refusePartial refuses a partial plan unless it is allowed.
func refusePartial(reasons []string, allowed bool) error {
	if len(reasons) == 0 || allowed {
		return nil
	}
	return outcome.Refusedf("the plan is partial (%s): it omits a part of the configuration: to apply it anyway, add --allow-partial", strings.Join(reasons, ", "))
}

// warningLines returns Terraform's warnings without duplicates, one line each.
// clean redacts sensitive values; failed checks are left out, because they are
// reported separately.
func warningLines(warnings []terraform.Diagnostic, dir string, checks []string, clean func(string) string) []string {
	lines := []string{}
	for _, d := range warnings {
		d.Summary, d.Detail = clean(d.Summary), clean(d.Detail)
		reported := slices.ContainsFunc(checks, func(check string) bool {
			return strings.HasSuffix(check, ": "+outcome.OneLine(d.Detail))
		})
		line := d.Line(dir)
		if (reported && strings.HasPrefix(d.Summary, "Check block assertion failed")) || slices.Contains(lines, line) {
			continue
		}
		lines = append(lines, line)
	}
	return lines
}
