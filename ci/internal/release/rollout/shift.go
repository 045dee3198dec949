package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// shiftReport returns the deployment strategy of a service, and how far its deployment is;
// nil for a service that is only rolled.
func (e Engine) shiftReport(ctx context.Context, s types.Service) (*report.Shift, error) {
	c := s.DeploymentConfiguration
	if strategyOf(c) == "" && len(hooksOf(c)) == 0 {
		return nil, nil
	}
	shift := &report.Shift{BakeMinutes: int(aws.ToInt32(c.BakeTimeInMinutes))}
	if m := shiftOf(c); m != nil && m.Steps[0] < 100 {
		shift.Percent, shift.StepBakeMinutes = m.Steps[0], int(m.StepBake.Minutes())
	}
	for _, hook := range c.LifecycleHooks {
		var stages []string
		for _, stage := range hook.LifecycleStages {
			stages = append(stages, string(stage))
		}
		shift.Hooks = append(shift.Hooks, report.Hook{Stages: stages, Target: hookTarget(hook.HookTargetArn)})
	}
	if !deploying(s) {
		return shift, nil
	}
	d, err := e.currentDeployment(ctx, s)
	if err != nil || d == nil {
		return shift, err
	}
	var o machine.Observation
	addDeployment(&o, *d)
	shift.Stage, shift.Share = o.Stage, o.Percent
	for _, detail := range d.LifecycleHookDetails {
		for n := range shift.Hooks {
			if h := &shift.Hooks[n]; h.Target == hookTarget(detail.TargetArn) && slices.Contains(h.Stages, o.Stage) {
				h.Status = string(detail.Status)
				if detail.Status == types.DeploymentLifecycleHookStatusAwaitingAction {
					h.Until = aws.ToTime(detail.ExpiresAt).UTC()
				}
			}
		}
	}
	return shift, nil
}

// addPaused names the commands that decide on a paused release. It cannot go on if ECS has
// rolled back one of its services.
func (e Engine) addPaused(status *report.Status) {
	var rolledBack []string
	for _, s := range status.Services {
		rolls := len(s.Releases) > 0 && strings.HasPrefix(s.Releases[0].Status, "ROLLBACK") // its last deployment
		if u := status.Unfinished; u != nil && s.Shift != nil && rolls && slices.Contains(u.Missing, s.Name) {
			rolledBack = append(rolledBack, s.Name)
		}
	}
	if len(rolledBack) > 0 {
		status.Next = fmt.Sprintf("ECS has rolled back %s: %s restores the previous version of the others", strings.Join(rolledBack, ", "), e.Environment.Command("abort"))
		return
	}
	for _, s := range status.Services {
		if s.Shift != nil && slices.ContainsFunc(s.Shift.Hooks, func(h report.Hook) bool { return !h.Until.IsZero() }) {
			status.Next = fmt.Sprintf("%s continues it; %s restores the previous version", e.Environment.Command("continue"), e.Environment.Command("abort"))
		}
	}
}

// hookTarget returns the ARN of a hook's function, or PAUSE: such a hook has no target.
func hookTarget(arn *string) string {
	if arn == nil {
		return string(types.DeploymentLifecycleHookTargetTypePause)
	}
	return *arn
}

// currentDeployment returns the current service deployment of a service, nil if it has none
// or the API is not supported or denied.
func (e Engine) currentDeployment(ctx context.Context, s types.Service) (*types.ServiceDeployment, error) {
	if s.CurrentServiceDeployment == nil {
		return nil, nil
	}
	out, err := e.ECS.DescribeServiceDeployments(ctx, &ecs.DescribeServiceDeploymentsInput{ServiceDeploymentArns: []string{*s.CurrentServiceDeployment}})
	switch {
	case isUnavailable(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("describing service deployments of %s: %w", aws.ToString(s.ServiceName), err)
	case len(out.ServiceDeployments) == 0:
		return nil, nil
	}
	return &out.ServiceDeployments[0], nil
}

// strategyFields returns the fields of a deployment strategy, to compare.
func strategyFields(c *types.DeploymentConfiguration) map[string]field {
	fields := map[string]field{}
	add := func(path string, value any) { fields["strategy."+path] = field{fmt.Sprint(value), fmt.Sprint(value)} }
	add("type", types.DeploymentStrategyRolling)
	if shift := shiftOf(c); shift != nil {
		add("type", c.Strategy)
		add("bake_minutes", aws.ToInt32(c.BakeTimeInMinutes))
		if shift.Steps[0] < 100 {
			add("percent", shift.Steps[0])
			add("step_bake_minutes", shift.StepBake.Minutes())
		}
	}
	return fields
}
