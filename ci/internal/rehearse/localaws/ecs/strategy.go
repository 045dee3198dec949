package ecs

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// strategyNames are the names of the strategies that move traffic, as in ECS's messages.
var strategyNames = map[types.DeploymentStrategy]string{
	types.DeploymentStrategyBlueGreen: "blue/green", types.DeploymentStrategyCanary: "canary", types.DeploymentStrategyLinear: "linear",
}

// mergeStrategy adds to a merged deployment configuration what belongs to its strategy:
// the settings of another strategy are dropped, and missing ones are ECS's defaults.
func mergeStrategy(out, in, old *types.DeploymentConfiguration) {
	out.EarlySuccessCriteria = cmp.Or(in.EarlySuccessCriteria, old.EarlySuccessCriteria)
	if in.LifecycleHooks == nil {
		out.LifecycleHooks = old.LifecycleHooks
	}
	out.CanaryConfiguration, out.LinearConfiguration = nil, nil
	switch out.Strategy {
	case types.DeploymentStrategyCanary:
		c := *cmp.Or(in.CanaryConfiguration, old.CanaryConfiguration, &types.CanaryConfiguration{})
		c.CanaryPercent, c.CanaryBakeTimeInMinutes = cmp.Or(c.CanaryPercent, new(5.0)), cmp.Or(c.CanaryBakeTimeInMinutes, new(int32(10)))
		out.CanaryConfiguration = &c
	case types.DeploymentStrategyLinear:
		c := *cmp.Or(in.LinearConfiguration, old.LinearConfiguration, &types.LinearConfiguration{})
		c.StepPercent, c.StepBakeTimeInMinutes = cmp.Or(c.StepPercent, new(10.0)), cmp.Or(c.StepBakeTimeInMinutes, new(int32(6)))
		out.LinearConfiguration = &c
	}
	if out.Strategy != types.DeploymentStrategyRolling && in.EarlySuccessCriteria == nil {
		out.EarlySuccessCriteria = nil
	}
}

// maxMinutes is the maximum of all bake times: 24 hours.
const maxMinutes = 1440

// validateDeploymentConfiguration validates the deployment configuration of a call and what it becomes,
// as ECS does. before is the service's strategy until now.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
func (c *ControlPlane) validateDeploymentConfiguration(in, merged *types.DeploymentConfiguration, before types.DeploymentStrategy, lbs []types.LoadBalancer) error {
	if in == nil {
		in = &types.DeploymentConfiguration{}
	}
	_, shifts := strategyNames[merged.Strategy]
	switch {
	case !shifts && merged.Strategy != types.DeploymentStrategyRolling:
		return invalid("Invalid deployment strategy '%s'. Valid values are ROLLING, BLUE_GREEN, LINEAR and CANARY.", merged.Strategy)
	case in.Strategy == types.DeploymentStrategyBlueGreen && before != in.Strategy && in.BakeTimeInMinutes == nil:
		return invalid("bakeTimeInMinutes is required when using the blue/green deployment strategy.")
	case outside(merged.BakeTimeInMinutes, 0, maxMinutes):
		return invalid("bakeTimeInMinutes must be between 0 and %d.", maxMinutes)
	case in.CanaryConfiguration != nil && merged.Strategy != types.DeploymentStrategyCanary:
		return invalid("canaryConfiguration is only valid when using the canary deployment strategy.")
	case in.LinearConfiguration != nil && merged.Strategy != types.DeploymentStrategyLinear:
		return invalid("linearConfiguration is only valid when using the linear deployment strategy.")
	}
	if c := merged.CanaryConfiguration; c != nil {
		if !validPercent(*c.CanaryPercent, 0.1) {
			return invalid("canaryPercent must be a multiple of 0.1 between 0.1 and 100.")
		}
		if outside(c.CanaryBakeTimeInMinutes, 0, maxMinutes) {
			return invalid("canaryBakeTimeInMinutes must be between 0 and %d.", maxMinutes)
		}
	}
	if c := merged.LinearConfiguration; c != nil {
		if !validPercent(*c.StepPercent, 3) {
			return invalid("stepPercent must be a multiple of 0.1 between 3 and 100.")
		}
		if outside(c.StepBakeTimeInMinutes, 0, maxMinutes) {
			return invalid("stepBakeTimeInMinutes must be between 0 and %d.", maxMinutes)
		}
	}
	if e := merged.EarlySuccessCriteria; e != nil && e.Enable {
		switch {
		case shifts:
			return invalid("earlySuccessCriteria is only valid when using the rolling deployment strategy.")
		case e.HealthyPercent == nil || e.SourceServiceRevisionCleanup == "":
			return invalid("healthyPercent and sourceServiceRevisionCleanup are required when earlySuccessCriteria is enabled.")
		case outside(e.HealthyPercent, 0, 100) || *e.HealthyPercent < *merged.MinimumHealthyPercent:
			return invalid("healthyPercent must be between 0 and 100, and not less than minimumHealthyPercent.")
		case !slices.Contains(e.SourceServiceRevisionCleanup.Values(), e.SourceServiceRevisionCleanup):
			return invalid("sourceServiceRevisionCleanup must be BLOCKING or DEFERRED.")
		}
	}
	if t := merged.DeploymentCircuitBreaker.ThresholdConfiguration; t != nil && (t.Value < 1 || !slices.Contains(t.Type.Values(), t.Type)) {
		return invalid("thresholdConfiguration needs the type COUNT, BOUNDED_PERCENT or UNBOUNDED_PERCENT, and a value of at least 1.")
	}
	for _, h := range merged.LifecycleHooks {
		if err := validateHook(h); err != nil {
			return err
		}
	}
	return c.validateTrafficShift(merged.Strategy, lbs)
}

// ecsPrincipal assumes the roles that load balancers and lifecycle hooks name.
const ecsPrincipal = "ecs.amazonaws.com"

// requireRoles records that a call passes the roles of its load balancers and hooks.
func (c *ControlPlane) requireRoles(ctx context.Context, lbs []types.LoadBalancer, config *types.DeploymentConfiguration) {
	var roles []string
	for _, lb := range lbs {
		if lb.AdvancedConfiguration != nil {
			roles = append(roles, aws.ToString(lb.AdvancedConfiguration.RoleArn))
		}
	}
	if config != nil {
		for _, h := range config.LifecycleHooks {
			roles = append(roles, aws.ToString(h.RoleArn))
		}
	}
	slices.Sort(roles)
	for _, role := range slices.Compact(roles) {
		if role != "" {
			c.passRole(ctx, role, ecsPrincipal)
		}
	}
}

// validateTrafficShift validates the advanced configuration of load balancers. A default
// rule is accepted as a production rule: the documents ask for a listener rule's ARN,
// which it has; that ECS refuses it is reported nowhere.
func (c *ControlPlane) validateTrafficShift(strategy types.DeploymentStrategy, lbs []types.LoadBalancer) error {
	for _, lb := range lbs {
		a := lb.AdvancedConfiguration
		if a == nil {
			if name, shifts := strategyNames[strategy]; shifts {
				return wire.Errorf("ClientException", "advancedConfiguration field is required for all loadBalancers when using the %s deployment strategy", name)
			}
			continue
		}
		alternate := aws.ToString(a.AlternateTargetGroupArn)
		exists, _ := c.cfg.Balancer.Attached(alternate)
		production, test := aws.ToString(a.ProductionListenerRule), aws.ToString(a.TestListenerRule)
		switch {
		case !exists:
			return invalid("The specified alternate target group does not exist.")
		case alternate == aws.ToString(lb.TargetGroupArn):
			return invalid("targetGroupArn and alternateTargetGroupArn must be different target groups.")
		case production == "" || !c.cfg.Balancer.RuleExists(production):
			return invalid("The specified production listener rule does not exist.")
		case test != "" && !c.cfg.Balancer.RuleExists(test):
			return invalid("The specified test listener rule does not exist.")
		case test == production:
			return invalid("productionListenerRule and testListenerRule must be different listener rules.")
		case aws.ToString(a.RoleArn) == "":
			return invalid("roleArn is required in advancedConfiguration.")
		}
	}
	return nil
}

func outside(n *int32, low, high int32) bool { return n != nil && (*n < low || *n > high) }

// validPercent reports whether a percentage is in range and has at most one decimal.
func validPercent(p, low float64) bool {
	return p >= low && p <= 100 && math.Abs(p*10-math.Round(p*10)) < 1e-6
}

// productionShares returns the share of the production traffic that the new revision has
// after each step of a deployment, in percent.
func productionShares(config *types.DeploymentConfiguration) []float64 {
	var shares []float64
	switch {
	case config.CanaryConfiguration != nil && *config.CanaryConfiguration.CanaryPercent < 100:
		shares = append(shares, *config.CanaryConfiguration.CanaryPercent)
	case config.LinearConfiguration != nil:
		step := math.Round(*config.LinearConfiguration.StepPercent * 10)
		for tenths := step; tenths < 1000; tenths += step {
			shares = append(shares, tenths/10)
		}
	}
	return append(shares, 100)
}

// stepBake returns how many minutes each step but the last is baked.
func stepBake(config *types.DeploymentConfiguration) int32 {
	switch {
	case config.CanaryConfiguration != nil:
		return *config.CanaryConfiguration.CanaryBakeTimeInMinutes
	case config.LinearConfiguration != nil:
		return *config.LinearConfiguration.StepBakeTimeInMinutes
	}
	return 0
}
