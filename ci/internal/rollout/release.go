package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"dagger/slipway/internal/leak"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/report"
)

// Release releases all targets of the request or none. The report tells what
// came of each; its exit code is the verdict. Cancelling ctx puts back what
// ran before, and returns after that.
func (e Engine) Release(ctx context.Context, request Request) report.Release {
	request.Timeout = cmp.Or(request.Timeout, DefaultTimeout)
	request.RestoreTimeout = cmp.Or(request.RestoreTimeout, DefaultRestoreTimeout)
	e.ECS = limit(e.ECS, e.Clock)
	p, err := e.prepare(ctx, request)
	if err != nil {
		return e.untouched(request, p, err)
	}
	changed := p.changed()
	if len(changed) == 0 {
		return e.conclude(request, p, nil, nil)
	}
	if request.Verify != nil && slices.ContainsFunc(changed, (*move).emptied) {
		e.Event("", "no smoke test: not every service is to run tasks")
		request.Verify = nil
	}
	c := newCourse(request, changed, e.Clock.Now())
	e.drive(ctx, request, p.versions(), c)
	e.diagnoseStuck(context.WithoutCancel(ctx), request.Cluster, changed)
	if e.Next != nil {
		e.Next("")
	}
	return e.conclude(request, p, c.cause, changed)
}

// errOvertaken is another release's deployment that began between planning and the
// first change.
var errOvertaken = errors.New("begun while this release was prepared")

// prepare plans, checks and registers. Production is untouched when it returns. A
// release that is overtaken plans once more: it may be the very same release, begun by
// another process, which is carried on, or one to wait for.
func (e Engine) prepare(ctx context.Context, request Request) (planned, error) {
	p, err := e.prepareOnce(ctx, request)
	if errors.Is(err, errOvertaken) {
		e.Event("", err.Error()+": planning again")
		return e.prepareOnce(ctx, request)
	}
	return p, err
}

func (e Engine) prepareOnce(ctx context.Context, request Request) (planned, error) {
	p, err := e.planInTurn(ctx, request)
	if err != nil {
		return p, err
	}
	changed := e.tellPlan(p.moves)
	if err := e.preflight(ctx, request, changed); err != nil {
		return p, err
	}
	if err := e.register(ctx, changed); err != nil {
		return p, err
	}
	if err := e.stillThere(ctx, request, changed); err != nil {
		return p, err
	}
	return p, context.Cause(ctx)
}

// turnPoll is how often it is asked whether another release has ended.
const turnPoll = 5 * time.Second

// planInTurn plans, and waits for a deployment in progress to end if it may.
func (e Engine) planInTurn(ctx context.Context, request Request) (planned, error) {
	since, told := e.Clock.Now(), ""
	for {
		p, err := e.plan(ctx, request)
		if ctx.Err() != nil {
			return p, context.Cause(ctx)
		}
		if !errors.Is(err, errInProgress) || e.Clock.Now().Sub(since) >= request.WaitForTurn {
			return p, err
		}
		if told != err.Error() {
			told = err.Error()
			e.Event("", "waiting for its turn: "+told)
		}
		if err := e.Clock.Sleep(ctx, turnPoll); err != nil {
			return p, err
		}
	}
}

func (e Engine) preflight(ctx context.Context, request Request, changed []*move) error {
	if request.Preflight == nil {
		return nil
	}
	var subjects []Subject
	for _, m := range changed {
		if m.emptied() {
			continue // its image need not be there
		}
		definition := m.definition
		if definition == nil {
			template, _, err := e.definition(ctx, m.to.TaskDefinition)
			if err != nil {
				return err
			}
			definition = carryOver(*template)
		}
		subjects = append(subjects, Subject{Service: m.target.Service, Running: m.service, Before: m.origin, Definition: definition, Image: m.to.Image})
	}
	if len(subjects) == 0 {
		return nil
	}
	return request.Preflight(ctx, subjects)
}

// stillThere looks once more before the first change: of two releases that
// began at the same time one shall go first.
func (e Engine) stillThere(ctx context.Context, request Request, changed []*move) error {
	if len(changed) == 0 {
		return nil
	}
	var targets []Target
	for _, m := range changed {
		targets = append(targets, m.target)
	}
	services, err := e.describe(ctx, request.Cluster, targets)
	if err != nil {
		return err
	}
	for _, m := range changed {
		service := services[m.target.Service.ServiceName()]
		if service == nil {
			return fmt.Errorf("service %s was deleted while the release was prepared", m.target.Service.ServiceName())
		}
		for _, d := range service.Deployments {
			if id := aws.ToString(d.Id); id != m.own && !slices.Contains(m.before, id) && !request.TakeOver {
				return outcome.With(outcome.Refused, fmt.Errorf("service %s: %w (%s), %w: wait for it (--wait-for-turn)",
					m.target.Service.ServiceName(), errInProgress, describeDeployments(service.Deployments), errOvertaken))
			}
		}
	}
	return nil
}

// drive does what the course says until it is over, and meanwhile finds the
// causes of a failure.
func (e Engine) drive(ctx context.Context, request Request, versions map[string]string, c *course) {
	var diagnosis sync.WaitGroup
	defer diagnosis.Wait()
	diagnosed := false
	pace := newWritePace(e.Clock)
	for c.stage != over {
		if ctx.Err() != nil && c.stage != restoring {
			c.interrupted(context.Cause(ctx), e.Clock.Now())
		}
		e.tell(request, c)
		if c.stage == restoring && !diagnosed {
			diagnosed = true
			failed := failedOnes(c.moves)
			diagnosis.Go(func() { e.diagnose(context.WithoutCancel(ctx), request.Cluster, failed) })
		}
		e.step(ctx, request, versions, c, pace)
	}
	e.tell(request, c)
}

// step makes the changes that are due, else verifies, else waits and looks.
func (e Engine) step(ctx context.Context, request Request, versions map[string]string, c *course, pace writePace) {
	if orders := c.orders(pace.room()); len(orders) > 0 {
		answers := e.carryOut(ctx, request, orders)
		pace.spend(answers)
		c.answered(orders, answers, e.Clock.Now())
		return
	}
	if c.stage == verifying {
		err := request.Verify(ctx, versions)
		if ctx.Err() == nil {
			c.verified(err, e.Clock.Now())
		}
		return
	}
	if c.stage == restoring {
		ctx = context.WithoutCancel(ctx)
	}
	if err := e.Clock.Sleep(ctx, c.wait(e.Clock.Now())); err != nil {
		return // interrupted
	}
	observed, err := e.observe(ctx, request.Cluster, c.moves)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.unreadable(err, e.Clock.Now())
	default:
		c.observed(observed, e.Clock.Now())
	}
}

// tell passes on what the course has to tell.
func (e Engine) tell(request Request, c *course) {
	for _, n := range c.told() {
		e.Event(n.service, n.text)
	}
	if e.Next != nil && c.stage != over {
		e.Next(nextSteps(request.Cluster, c.moves))
	}
}

// failedOnes are the moves whose deployment of ours did not do. The others are
// put back for their sake: there is no cause to find in them.
func failedOnes(moves []*move) []*move {
	return slices.DeleteFunc(slices.Clone(moves), func(m *move) bool { return m.own == "" || m.err == nil })
}

// tellPlan tells what will change and returns what does.
func (e Engine) tellPlan(moves []*move) []*move {
	var changed []*move
	for _, m := range moves {
		for _, remark := range m.remarks {
			e.Event(m.name(), remark)
		}
		switch {
		case !m.unchanged:
			changed = append(changed, m)
			e.Event(m.name(), fmt.Sprintf("%s -> %s", m.from.Short(), m.to.Short()))
			switch {
			case m.count == nil:
			case m.emptied():
				e.Event(m.name(), fmt.Sprintf("nothing ran before its first release: desired count %d -> 0", m.count.from))
			case m.service.DesiredCount > 0:
				e.Event(m.name(), "its first release: ECS has given up what was to run before, so a release that fails leaves a desired count of 0")
			default:
				e.Event(m.name(), fmt.Sprintf("its first release: desired count 0 -> %d, as in %s", m.count.to, platform.ServicesFile))
			}
		case !m.settled:
			e.Event(m.name(), fmt.Sprintf("unchanged, and not whole: %d of %d tasks run", m.service.RunningCount, m.service.DesiredCount))
		default:
			e.Event(m.name(), "unchanged")
		}
	}
	return changed
}

// versions are the values of VERSION by service, of those that change and run tasks;
// "" where it is not declared.
func (p planned) versions() map[string]string {
	versions := map[string]string{}
	for _, m := range p.changed() {
		if m.service.DesiredCount == 0 && m.count == nil {
			continue
		}
		versions[m.name()] = ""
		for _, c := range m.wants.ContainerDefinitions {
			for _, variable := range c.Environment {
				if aws.ToString(c.Name) == m.target.Service.Container() && aws.ToString(variable.Name) == VersionVariable {
					versions[m.name()] = aws.ToString(variable.Value)
				}
			}
		}
	}
	return versions
}

// version is what all services shall run, "" if they differ.
func (p planned) version() string {
	version := ""
	for _, m := range p.moves {
		if version != "" && version != m.to.SHA {
			return ""
		}
		version = m.to.SHA
	}
	return version
}

// untouched is the report of a release that ended before it changed anything.
func (e Engine) untouched(request Request, p planned, err error) report.Release {
	err = e.explain(err)
	release := report.Release{SHA: cmp.Or(request.Version, p.version()), ID: p.id, Error: leak.Hide(err.Error()), ExitCode: outcome.Of(err)}
	switch release.ExitCode {
	case outcome.Refused:
		release.Result = report.Refused
	case outcome.Interrupted:
		release.Result = report.Interrupted
	default:
		release.Result = report.Failed
	}
	for n, target := range request.Targets {
		service := report.Service{
			Name: target.Service.Name, Result: report.Unchanged, To: report.Version{Image: target.Image, SHA: request.Version},
		}
		if n < len(p.moves) {
			service.From, service.To = p.moves[n].from, p.moves[n].to
		}
		release.Services = append(release.Services, service)
	}
	return release
}

// conclude makes the report of a release that ended, with cause if it turned
// round.
func (e Engine) conclude(request Request, p planned, cause error, changed []*move) report.Release {
	release := report.Release{SHA: cmp.Or(request.Version, p.version()), ID: p.id, Result: report.Unchanged}
	for _, m := range p.moves {
		service := report.Service{
			Name: m.name(), Result: m.result, From: m.from, To: m.to,
			DeploymentID: m.own, DurationMS: m.took.Milliseconds(), Causes: m.causes,
		}
		if problem := errors.Join(m.err, m.stuck); problem != nil {
			service.Error = e.line(problem)
		}
		if m.result == report.Succeeded {
			release.Result = report.Succeeded
		}
		release.Services = append(release.Services, service)
	}
	if cause == nil {
		return release
	}
	release.Error = e.line(cause)
	stuck := slices.ContainsFunc(changed, func(m *move) bool { return m.result == report.Failed })
	switch {
	case stuck:
		release.Result, release.ExitCode = report.Failed, outcome.Unrestored
		release.Next = nextSteps(request.Cluster, changed)
	case errors.Is(cause, context.Canceled):
		release.Result, release.ExitCode = report.Interrupted, outcome.Interrupted
	case !slices.ContainsFunc(changed, (*move).touched):
		release.Result, release.ExitCode = report.Failed, outcome.Failed
	default:
		release.Result, release.ExitCode = report.Restored, outcome.Restored
	}
	return release
}
