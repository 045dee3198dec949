package ecs

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// hook is one run of a lifecycle hook at a stage.
type hook struct {
	id         string
	targetType types.DeploymentLifecycleHookTargetType
	targetARN  *string
	status     types.DeploymentLifecycleHookStatus
	expiresAt  time.Time // in real time
	onTimeout  types.DeploymentLifecycleHookAction
}

// Limits and default of a hook's timeout.
const (
	maxHookMinutes     = 20160
	defaultHookMinutes = 1440
)

func validateHook(h types.DeploymentLifecycleHook) error {
	if len(h.LifecycleStages) == 0 {
		return invalid("lifecycleStages is required for a lifecycle hook.")
	}
	pause := h.TargetType == types.DeploymentLifecycleHookTargetTypePause
	for _, stage := range h.LifecycleStages {
		if !slices.Contains(stage.Values(), stage) {
			return invalid("Invalid lifecycle stage '%s'.", stage)
		}
		if pause && (stage == types.DeploymentLifecycleHookStageTestTrafficShift || stage == types.DeploymentLifecycleHookStageProductionTrafficShift) {
			return invalid("PAUSE hooks cannot be configured at the %s stage.", stage)
		}
	}
	switch {
	case h.TargetType != "" && !slices.Contains(h.TargetType.Values(), h.TargetType):
		return invalid("Invalid lifecycle hook target type '%s'.", h.TargetType)
	case pause && (h.HookTargetArn != nil || h.RoleArn != nil):
		return invalid("hookTargetArn and roleArn are not supported for PAUSE hooks.")
	case !pause && (aws.ToString(h.HookTargetArn) == "" || aws.ToString(h.RoleArn) == ""):
		return invalid("hookTargetArn and roleArn are required for AWS_LAMBDA hooks.")
	}
	if t := h.TimeoutConfiguration; t != nil {
		switch {
		case outside(t.TimeoutInMinutes, 1, maxHookMinutes):
			return invalid("timeoutInMinutes must be between 1 and %d.", maxHookMinutes)
		case t.Action != "" && !slices.Contains(t.Action.Values(), t.Action):
			return invalid("Invalid lifecycle hook timeout action '%s'.", t.Action)
		}
	}
	return nil
}

// startHooks starts the hooks of a stage. Only these are described: the documents call
// the details those of each active hook.
func (d *serviceDeployment) startHooks(stage string) {
	d.hooks = nil
	for _, h := range d.config.LifecycleHooks {
		if !slices.Contains(h.LifecycleStages, types.DeploymentLifecycleHookStage(stage)) {
			continue
		}
		timeout := types.DeploymentLifecycleHookTimeoutConfiguration{}
		if h.TimeoutConfiguration != nil {
			timeout = *h.TimeoutConfiguration
		}
		minutes := time.Duration(*cmp.Or(timeout.TimeoutInMinutes, new(int32(defaultHookMinutes))))
		run := &hook{
			id: "ecs-pause-" + wire.RandomHex(43), targetType: types.DeploymentLifecycleHookTargetTypePause,
			status:    types.DeploymentLifecycleHookStatusAwaitingAction,
			expiresAt: time.Now().Add(d.service.c.cfg.Clock.Scale(minutes * time.Minute)),
			onTimeout: cmp.Or(timeout.Action, types.DeploymentLifecycleHookActionRollback),
		}
		if h.TargetType != types.DeploymentLifecycleHookTargetTypePause {
			run.id, run.targetARN = "ecs-lambda-"+wire.RandomHex(43), h.HookTargetArn
			run.targetType, run.status = types.DeploymentLifecycleHookTargetTypeAwsLambda, types.DeploymentLifecycleHookStatusInProgress
		}
		d.hooks = append(d.hooks, run)
	}
}

// advanceHooks ends the hooks that can end by themselves: those of functions succeed at
// once, because the embedded AWS has no Lambda, and those that have expired take their
// timeout's action. It reports whether all have ended, when to look again, and whether
// one wants the deployment rolled back.
func (d *serviceDeployment) advanceHooks() (done bool, wait time.Duration, rollBack bool) {
	done, wait = true, resyncInterval
	for _, h := range d.hooks {
		switch h.status {
		case types.DeploymentLifecycleHookStatusInProgress:
			h.status = types.DeploymentLifecycleHookStatusSucceeded
		case types.DeploymentLifecycleHookStatusAwaitingAction:
			if left := time.Until(h.expiresAt); left > 0 {
				done, wait = false, min(wait, left)
				continue
			}
			h.status = types.DeploymentLifecycleHookStatusTimedOut
			rollBack = rollBack || h.onTimeout == types.DeploymentLifecycleHookActionRollback
		case types.DeploymentLifecycleHookStatusFailed:
			rollBack = true
		}
	}
	return done, wait, rollBack
}

// ExpireHooks lets all hooks that wait expire now.
func (c *ControlPlane) ExpireHooks() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range c.deployments {
		for _, h := range d.hooks {
			h.expiresAt = time.Now()
		}
		d.service.wake()
	}
}

// rollingHooks runs the hooks that a rolling deployment has at a stage: PRE_SCALE_UP
// before it starts tasks, POST_SCALE_UP once only healthy ones of the new revision are
// left. AWS documents PAUSE hooks for any strategy without the stages of a rolling
// deployment; the others shift traffic, which it does not do.
func (s *service) rollingHooks(stage string) (passed bool, wait time.Duration) {
	p := s.primary()
	d := p.serviceDeployment
	if d == nil || d.status != types.ServiceDeploymentStatusInProgress || d.shift != nil || s.status != statusActive || len(d.config.LifecycleHooks) == 0 {
		return true, resyncInterval
	}
	if slices.Index(stages, d.stage) < slices.Index(stages, stage) {
		d.stage = stage
		d.startHooks(stage)
	}
	if d.stage != stage {
		return true, resyncInterval
	}
	passed, wait, back := d.advanceHooks()
	if back {
		return false, s.failByHook(p)
	}
	return passed, wait
}

// failByHook rolls back a deployment that a hook fails. It returns when to go on.
func (s *service) failByHook(p *deployment) time.Duration {
	s.event("(service %s) (deployment %s) deployment failed: hook execution failure(s) detected.", s.name, p.id)
	s.rollBack(p, rollbackCause{
		rollBack: true, reasonPrefix: "ECS deployment lifecycle hook",
		failedReason:     "ECS deployment failed: hook execution failure(s) detected.",
		rolledBackReason: "Service deployment rolled back because of lifecycle hook execution failure(s).",
	})
	return time.Millisecond
}

func (d *serviceDeployment) describeHooks() []types.DeploymentLifecycleHookDetail {
	var details []types.DeploymentLifecycleHookDetail
	for _, h := range d.hooks {
		details = append(details, types.DeploymentLifecycleHookDetail{
			HookId: &h.id, TargetType: h.targetType, TargetArn: h.targetARN, Status: h.status,
			ExpiresAt: new(h.expiresAt), TimeoutAction: h.onTimeout,
		})
	}
	return details
}

// continueServiceDeployment ends a PAUSE hook. Its errors are those that the API model
// lists, which has no ConflictException.
func (c *ControlPlane) continueServiceDeployment(ctx context.Context, in *awsecs.ContinueServiceDeploymentInput) (*awsecs.ContinueServiceDeploymentOutput, error) {
	arn := aws.ToString(in.ServiceDeploymentArn)
	wire.AddResources(ctx, arn)
	d, ok := c.deployments[arn]
	if !ok {
		return nil, wire.Errorf("ServiceDeploymentNotFoundException", "Service deployment not found.")
	}
	action := cmp.Or(in.Action, types.DeploymentLifecycleHookActionContinue)
	if !slices.Contains(action.Values(), action) {
		return nil, wire.Errorf("InvalidParameterException", "Invalid action '%s'. Valid values are CONTINUE and ROLLBACK.", action)
	}
	if d.status != types.ServiceDeploymentStatusInProgress {
		return nil, wire.Errorf("ClientException", "The service deployment cannot be continued because it is in the %s state.", d.status)
	}
	i := slices.IndexFunc(d.hooks, func(h *hook) bool { return h.id == aws.ToString(in.HookId) })
	switch {
	case i < 0:
		return nil, wire.Errorf("InvalidParameterException", "The lifecycle hook %s was not found in the service deployment.", aws.ToString(in.HookId))
	case d.hooks[i].status != types.DeploymentLifecycleHookStatusAwaitingAction:
		return nil, wire.Errorf("ClientException", "The lifecycle hook %s cannot be continued because it is in the %s state.", d.hooks[i].id, d.hooks[i].status)
	}
	d.hooks[i].status = types.DeploymentLifecycleHookStatusSucceeded
	if action == types.DeploymentLifecycleHookActionRollback {
		d.hooks[i].status = types.DeploymentLifecycleHookStatusFailed
	}
	d.updatedAt = c.cfg.Clock.Now()
	d.service.wake()
	return &awsecs.ContinueServiceDeploymentOutput{ServiceDeploymentArn: &arn}, nil
}
