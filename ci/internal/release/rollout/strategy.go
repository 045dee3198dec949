package rollout

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// DefaultPauseLimit is how long ECS waits for a person's decision; MaxPauseLimit is the most
// that it allows.
const (
	DefaultPauseLimit = 24 * time.Hour
	MaxPauseLimit     = 14 * 24 * time.Hour
)

// testSlack is how long the tests of a release may take while its services wait.
const testSlack = 5 * time.Minute

// strategyPlan is how a release deploys a service: what it changes in the configuration of
// the ECS service.
type strategyPlan struct {
	// configuration and loadBalancers are sent with the update; nil leaves them.
	configuration *types.DeploymentConfiguration
	loadBalancers []types.LoadBalancer
	// restoring is sent when the previous version is deployed again.
	restoring *types.DeploymentConfiguration
}

// strategyOf returns the deployment strategy of a service, "" for ROLLING.
func strategyOf(c *types.DeploymentConfiguration) string {
	if c == nil || c.Strategy == types.DeploymentStrategyRolling {
		return ""
	}
	return string(c.Strategy)
}

// strategy returns the strategy that the release sets, nil if it leaves the ECS service's.
// What ECS cannot shift is rolled.
func (s *servicePlan) strategy() *platform.Strategy {
	wanted := cmp.Or(s.target.Strategy, s.target.Service.Strategy)
	if wanted.Progressive() && len(s.service.LoadBalancers) == 0 {
		rolled := *wanted
		rolled.Type = platform.Rolling
		return &rolled
	}
	return wanted
}

// checkStrategy refuses a service that the release cannot drive as the services file wants.
func (s *servicePlan) checkStrategy() error {
	name, wanted := s.ECSName, s.strategy()
	if asked := cmp.Or(s.target.Strategy, s.target.Service.Strategy); asked != wanted {
		s.note("strategy %s: ECS cannot shift the traffic of a service without a load balancer, so its tasks are replaced by a rolling update", asked.Type)
	}
	if current := strategyOf(s.service.DeploymentConfiguration); wanted == nil && current != "" {
		return outcome.Refusedf("service %s has the deployment strategy %s, but its entry in %s has none: set strategy there (rolling replaces it)", name, current, platform.ServicesFile)
	}
	for _, hook := range hooksOf(s.service.DeploymentConfiguration) {
		if hook.TargetType == types.DeploymentLifecycleHookTargetTypePause && (wanted == nil || !isPauseHook(hook)) {
			return outcome.Refusedf("service %s has a pause hook at %v that slipway did not set, and would wait there: remove it from its deployment configuration", name, hook.LifecycleStages)
		}
	}
	if !wanted.Progressive() {
		return nil
	}
	if s.shift() == nil {
		return outcome.Refusedf("service %s has no second target group and listener rules to shift traffic with (strategy %s): create them with Terraform (slipway plan, slipway apply)", name, wanted.Type)
	}
	return nil
}

func hooksOf(c *types.DeploymentConfiguration) []types.DeploymentLifecycleHook {
	if c == nil {
		return nil
	}
	return c.LifecycleHooks
}

// isPauseHook reports whether a hook is one at which a release waits.
func isPauseHook(hook types.DeploymentLifecycleHook) bool {
	return hook.TargetType == types.DeploymentLifecycleHookTargetTypePause && len(hook.LifecycleStages) > 0 && !slices.ContainsFunc(hook.LifecycleStages, func(stage types.DeploymentLifecycleHookStage) bool {
		return !slices.Contains(machine.PauseStages(), machine.PauseStage(stage))
	})
}

// planStrategies decides how the services that change are deployed. All services that
// shift traffic bake as long as the longest.
func (p releasePlan) planStrategies(request Request, clock Clock) error {
	bake := time.Duration(0)
	for _, s := range p.changed() {
		if !s.isJob() {
			bake = max(bake, s.strategy().BakeTime())
		}
	}
	var shifting []*servicePlan
	var plans []machine.Plan
	for _, s := range p.changed() {
		if s.isJob() {
			continue
		}
		if err := s.planStrategy(request, bake); err != nil {
			return err
		}
		if s.Shift != nil {
			shifting, plans = append(shifting, s), append(plans, s.Plan)
		}
	}
	// A service waits for the slowest one and for tests, and then perhaps for a person.
	limit := max(cmp.Or(request.Timeout, DefaultTimeout), runningLimit) + testSlack
	if scaled, ok := clock.(scaledClock); ok {
		limit = scaled.Nominal(limit)
	}
	if request.PauseAt != "" {
		limit = max(limit, cmp.Or(request.PauseLimit, DefaultPauseLimit))
	}
	limit = min(limit+machine.Bakes(plans), MaxPauseLimit)
	for _, s := range shifting {
		s.Shift.Limit = limit
		if s.configuration != nil {
			s.configuration.LifecycleHooks = append(s.configuration.LifecycleHooks, pauseHook(limit))
		}
	}
	if changed := p.changed(); request.PauseAt != "" && len(shifting) == 0 && len(changed) > 0 {
		changed[0].note("no pause at %s: none of the services that change shifts traffic in steps", report.StageName(string(request.PauseAt)))
	}
	return nil
}

// planStrategy decides how a service is deployed, but for the hooks at which it waits.
func (s *servicePlan) planStrategy(request Request, bake time.Duration) error {
	current, wanted := s.service.DeploymentConfiguration, s.strategy()
	effective := current
	if s.Joined == "" && wanted != nil {
		back := request.TakeOver && !request.dryRun && s.target.Strategy == nil
		moves := s.leavesShift() && !s.inFirstGroup()
		if atOnce := back || s.Count != nil; atOnce && wanted.Progressive() || moves {
			wanted, bake = &platform.Strategy{Type: platform.BlueGreen}, 0
			s.configuration = configure(current, wanted, bake)
		} else if c := configure(current, wanted, bake); wanted.Progressive() || !reflect.DeepEqual(c, cmp.Or(current, &types.DeploymentConfiguration{})) {
			s.configuration = c
			if wanted.Progressive() {
				s.Shift = shiftOf(c)
			}
		}
		effective = cmp.Or(s.configuration, current)
		if wanted.Progressive() {
			balancers, err := s.balancers()
			if err != nil {
				return err
			}
			s.loadBalancers = balancers
		} else if s.leavesShift() && s.target.Strategy == nil {
			s.loadBalancers = withoutShift(s.service.LoadBalancers)
		}
	}
	if s.Joined != "" && slices.ContainsFunc(hooksOf(current), isPauseHook) {
		s.Shift = shiftOf(current)
	}
	s.Lifecycle = strategyOf(effective) != "" || len(hooksOf(effective)) > 0
	if effective != nil && effective.BakeTimeInMinutes != nil {
		s.Bake = time.Duration(*effective.BakeTimeInMinutes) * time.Minute
	}
	if strategyOf(effective) != "" {
		s.restoring = configure(effective, &platform.Strategy{Type: platform.BlueGreen}, 0)
		s.restoring.LifecycleHooks = keptHooks(effective)
	}
	return nil
}

// keptHooks returns the hooks of a configuration without those of a release. It is never
// nil, with which ECS keeps all.
func keptHooks(c *types.DeploymentConfiguration) []types.DeploymentLifecycleHook {
	return slices.DeleteFunc(append([]types.DeploymentLifecycleHook{}, hooksOf(c)...), isPauseHook)
}

// withoutHooks returns the deployment configuration of the release without its hooks. That of
// a restored service is what it was before the release, if this process knows that.
func (s *servicePlan) withoutHooks(restored bool) *types.DeploymentConfiguration {
	before := s.service.DeploymentConfiguration
	c := *cmp.Or(s.configuration, before, &types.DeploymentConfiguration{})
	if restored && s.Joined == "" {
		c = *cmp.Or(before, &types.DeploymentConfiguration{})
		c.Strategy = cmp.Or(c.Strategy, types.DeploymentStrategyRolling)
	}
	c.LifecycleHooks = keptHooks(&c)
	return &c
}

// configure returns a deployment configuration with a strategy, and without the hooks of a
// release. What the strategy does not name stays as it is.
func configure(current *types.DeploymentConfiguration, s *platform.Strategy, bake time.Duration) *types.DeploymentConfiguration {
	c := *cmp.Or(current, &types.DeploymentConfiguration{})
	c.LifecycleHooks = slices.DeleteFunc(slices.Clone(hooksOf(current)), isPauseHook)
	switch {
	case s.Progressive():
		c.Strategy, c.BakeTimeInMinutes, c.EarlySuccessCriteria = types.DeploymentStrategy(strings.ToUpper(string(s.Type))), minutes(bake), nil
		c.CanaryConfiguration, c.LinearConfiguration = nil, nil
	case strategyOf(current) != "":
		c.Strategy, c.BakeTimeInMinutes, c.CanaryConfiguration, c.LinearConfiguration = types.DeploymentStrategyRolling, nil, nil, nil
	}
	switch s.Type {
	case platform.Canary:
		c.CanaryConfiguration = &types.CanaryConfiguration{CanaryPercent: aws.Float64(s.StepPercent()), CanaryBakeTimeInMinutes: minutes(s.StepBakeTime())}
	case platform.Linear:
		c.LinearConfiguration = &types.LinearConfiguration{StepPercent: aws.Float64(s.StepPercent()), StepBakeTimeInMinutes: minutes(s.StepBakeTime())}
	case platform.Rolling:
		if early := c.EarlySuccessCriteria; s.EarlySuccess > 0 {
			c.EarlySuccessCriteria = &types.DeploymentEarlySuccessCriteria{
				Enable: true, HealthyPercent: aws.Int32(int32(s.EarlySuccess)), SourceServiceRevisionCleanup: types.ServiceRevisionCleanupDeferred,
			}
		} else if early != nil && early.Enable {
			c.EarlySuccessCriteria = &types.DeploymentEarlySuccessCriteria{}
		}
	}
	if threshold := s.FailureThreshold; threshold != nil {
		breaker := types.DeploymentCircuitBreaker{Enable: true, Rollback: true}
		if c.DeploymentCircuitBreaker != nil {
			breaker = *c.DeploymentCircuitBreaker
		}
		breaker.ThresholdConfiguration = &types.ThresholdConfiguration{Type: types.ThresholdType(strings.ToUpper(threshold.Type)), Value: int32(threshold.Value)}
		breaker.ResetOnHealthyTask = aws.Bool(!threshold.KeepOnHealthyTask)
		c.DeploymentCircuitBreaker = &breaker
	}
	return &c
}

// minutes returns a time in minutes, rounded up, as ECS has it.
func minutes(d time.Duration) *int32 {
	return aws.Int32(int32((d + time.Minute - 1) / time.Minute))
}

// EntryStrategy returns the strategy of an ECS service as its entry in the services file has
// it; nil for ROLLING.
func EntryStrategy(c *types.DeploymentConfiguration) *platform.Strategy {
	name := strategyOf(c)
	if name == "" {
		return nil
	}
	s := &platform.Strategy{Type: platform.StrategyType(strings.ToLower(name)), Bake: optional(c.BakeTimeInMinutes)}
	if canary := c.CanaryConfiguration; canary != nil && s.Type == platform.Canary {
		s.Percent, s.StepBake = aws.ToFloat64(canary.CanaryPercent), optional(canary.CanaryBakeTimeInMinutes)
	}
	if linear := c.LinearConfiguration; linear != nil && s.Type == platform.Linear {
		s.Percent, s.StepBake = aws.ToFloat64(linear.StepPercent), optional(linear.StepBakeTimeInMinutes)
	}
	return s
}

// optional returns an optional number of ECS as the services file has it.
func optional(n *int32) *int {
	if n == nil {
		return nil
	}
	return aws.Int(int(*n))
}

// shiftOf returns how ECS shifts traffic with a configuration; nil if it does not.
func shiftOf(c *types.DeploymentConfiguration) *machine.Shift {
	s := EntryStrategy(c)
	if s == nil {
		return nil
	}
	return &machine.Shift{Steps: s.Shares(), StepBake: s.StepBakeTime()}
}

// pauseHook returns the hook at which a deployment waits until the release continues it.
func pauseHook(limit time.Duration) types.DeploymentLifecycleHook {
	hook := types.DeploymentLifecycleHook{
		TargetType: types.DeploymentLifecycleHookTargetTypePause,
		TimeoutConfiguration: &types.DeploymentLifecycleHookTimeoutConfiguration{
			Action: types.DeploymentLifecycleHookActionRollback, TimeoutInMinutes: minutes(limit),
		},
	}
	for _, stage := range machine.PauseStages() {
		hook.LifecycleStages = append(hook.LifecycleStages, types.DeploymentLifecycleHookStage(stage))
	}
	return hook
}

// balancers returns the service's load balancers with what ECS shifts traffic with, nil if
// they have it.
func (s *servicePlan) balancers() ([]types.LoadBalancer, error) {
	shift := s.target.Shift
	if shift == nil {
		return nil, nil
	}
	balancers := slices.Clone(s.service.LoadBalancers)
	n := slices.IndexFunc(balancers, func(b types.LoadBalancer) bool { return shift.has(aws.ToString(b.TargetGroupArn)) })
	if n < 0 {
		return nil, outcome.Refusedf("service %s is in none of the target groups %s and %s: correct it with Terraform (slipway plan, slipway apply)", s.ECSName, machine.ShortARN(shift.TargetGroup), machine.ShortARN(shift.AlternateTargetGroup))
	}
	other := shift.other(aws.ToString(balancers[n].TargetGroupArn))
	wanted := &types.AdvancedConfiguration{AlternateTargetGroupArn: &other, ProductionListenerRule: &shift.ProductionRule, RoleArn: &shift.Role}
	if shift.TestRule != "" {
		wanted.TestListenerRule = &shift.TestRule
	}
	if reflect.DeepEqual(balancers[n].AdvancedConfiguration, wanted) {
		return nil, nil
	}
	balancers[n].AdvancedConfiguration = wanted
	return balancers, nil
}

// leavesShift reports whether the release rolls a service whose traffic ECS can shift.
func (s *servicePlan) leavesShift() bool {
	wanted := s.strategy()
	return wanted != nil && !wanted.Progressive() && slices.ContainsFunc(s.service.LoadBalancers, hasShift)
}

func hasShift(b types.LoadBalancer) bool { return b.AdvancedConfiguration != nil }

// inFirstGroup reports whether the running version is known to be in the target group that
// the load balancer's rules forward to without ECS.
func (s *servicePlan) inFirstGroup() bool {
	return slices.ContainsFunc(s.service.LoadBalancers, func(b types.LoadBalancer) bool { return hasShift(b) && aws.ToString(b.TargetGroupArn) == s.group })
}

// findGroup finds the target group of the running version of a service that leaves a
// progressive strategy. Production may be in the second one, which Terraform deletes, and to
// which its rules do not forward: then the release shifts all traffic once more.
func (e Engine) findGroup(ctx context.Context, s *servicePlan) error {
	if s.unchanged || !s.leavesShift() {
		return nil
	}
	unknown := "it is in progress"
	if !deploying(s.service) {
		var err error
		if s.group, err = e.groupOf(ctx, s); err != nil && !isUnavailable(err) {
			return err
		}
		unknown = "ecs:DescribeServiceRevisions"
	}
	switch {
	case s.inFirstGroup():
	case s.group == "":
		s.note("it is unknown which target group production is in (%s): this release shifts all traffic once more, instead of a rolling update", unknown)
	default:
		s.note("production is in the second target group, %s: this release shifts all traffic once more, instead of a rolling update; the next one rolls", machine.ShortARN(s.group))
	}
	return nil
}

// groupOf returns the target group of the running version of a service, "" if ECS names none.
func (e Engine) groupOf(ctx context.Context, s *servicePlan) (string, error) {
	primary := machine.Primary(s.service.Deployments)
	n := slices.IndexFunc(s.service.CurrentServiceRevisions, func(r types.ServiceCurrentRevisionSummary) bool {
		return primary != nil && machine.ShortARN(aws.ToString(r.Arn)) == machine.ShortARN(aws.ToString(primary.Id))
	})
	if n < 0 {
		return "", nil
	}
	out, err := e.ECS.DescribeServiceRevisions(ctx, &ecs.DescribeServiceRevisionsInput{ServiceRevisionArns: []string{aws.ToString(s.service.CurrentServiceRevisions[n].Arn)}})
	if err != nil {
		return "", fmt.Errorf("describing service revisions of %s: %w", s.ECSName, err)
	}
	for _, revision := range out.ServiceRevisions {
		if group := s.shift().groupOf(revision); group != "" {
			return group, nil
		}
	}
	return "", nil
}

// withoutShift returns load balancers without what ECS shifts traffic with.
func withoutShift(balancers []types.LoadBalancer) []types.LoadBalancer {
	balancers = slices.Clone(balancers)
	for n := range balancers {
		balancers[n].AdvancedConfiguration = nil
	}
	return balancers
}

// updated returns the service with the load balancers that the release sets.
func (s *servicePlan) updated() types.Service {
	service := s.service
	if s.loadBalancers != nil {
		service.LoadBalancers = s.loadBalancers
	}
	return service
}

// shift returns what ECS shifts the service's traffic with, nil if it does not.
func (s *servicePlan) shift() *Shift {
	return cmp.Or(s.target.Shift, ShiftOf(s.service.LoadBalancers))
}

// ShiftOf returns what ECS shifts traffic between a service's load balancers with, nil if it
// does not.
func ShiftOf(balancers []types.LoadBalancer) *Shift {
	for _, b := range balancers {
		if a := b.AdvancedConfiguration; a != nil {
			return &Shift{
				TargetGroup: aws.ToString(b.TargetGroupArn), AlternateTargetGroup: aws.ToString(a.AlternateTargetGroupArn),
				ProductionRule: aws.ToString(a.ProductionListenerRule), TestRule: aws.ToString(a.TestListenerRule), Role: aws.ToString(a.RoleArn),
			}
		}
	}
	return nil
}

// has reports whether a target group is one of the two.
func (s Shift) has(group string) bool {
	return group == s.TargetGroup || group == s.AlternateTargetGroup
}

// other returns the other one of the two target groups.
func (s Shift) other(group string) string {
	if group == s.AlternateTargetGroup {
		return s.TargetGroup
	}
	return s.AlternateTargetGroup
}

// groupOf returns which of the two target groups a service revision is in, "" if ECS names
// neither.
func (s Shift) groupOf(revision types.ServiceRevision) string {
	groups := ResolvedGroups(revision)
	if n := slices.IndexFunc(groups, s.has); n >= 0 {
		return groups[n]
	}
	return ""
}

// ResolvedGroups returns the ARNs of the target groups that a service revision is in, none if
// ECS names none.
func ResolvedGroups(revision types.ServiceRevision) (groups []string) {
	if revision.ResolvedConfiguration == nil {
		return nil
	}
	for _, balancer := range revision.ResolvedConfiguration.LoadBalancers {
		groups = append(groups, aws.ToString(balancer.TargetGroupArn))
	}
	return groups
}

// checkReadable refuses to shift traffic if this role cannot observe it.
func (e Engine) checkReadable(ctx context.Context, changed []*servicePlan) error {
	for _, s := range changed {
		if s.Shift == nil {
			continue
		}
		_, err := e.ECS.ListServiceDeployments(ctx, &ecs.ListServiceDeploymentsInput{Cluster: s.cluster(), Service: &s.ECSName, MaxResults: aws.Int32(1)})
		if isUnavailable(err) {
			return outcome.Refusedf("service %s: a release that shifts traffic needs ecs:ListServiceDeployments and ecs:DescribeServiceDeployments, which fail: %s", s.ECSName, e.oneLine(err))
		}
		if err != nil {
			return fmt.Errorf("listing service deployments of %s: %w", s.ECSName, err)
		}
		return nil // one permission for all
	}
	return nil
}

// hasEarlySuccess reports whether ECS may complete a deployment of the service while
// previous tasks still run.
func hasEarlySuccess(s types.Service) bool {
	return s.DeploymentConfiguration != nil && s.DeploymentConfiguration.EarlySuccessCriteria != nil && s.DeploymentConfiguration.EarlySuccessCriteria.Enable
}

// strategyName returns the ECS name of the strategy that a release deploys the service
// with, "" for ROLLING.
func (s *servicePlan) strategyName() string {
	return strategyOf(cmp.Or(s.configuration, s.service.DeploymentConfiguration))
}
