package rollout

import (
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/report"
)

// stage is where a release stands.
type stage int

const (
	rolling   stage = iota // towards the new version
	verifying              // all run it: does it work?
	restoring              // towards what ran before
	over
)

// course is the course of a release once its revisions are registered: a state
// machine without clock, network or goroutine. It is told what ECS answers
// and what can be read, and says what to do next.
type course struct {
	moves                   []*move // those that change something
	timeout, restoreTimeout time.Duration
	verify                  bool // whether to verify before the release is over

	stage stage
	since time.Time // when the stage began
	cause error     // why the release turned round
	seen  time.Time // when ECS could be read last
	moved time.Time // when something was seen to change
	look  string    // what was seen last, in short
	notes []note    // what there is to tell
}

// note is something that happened, in words.
type note struct{ service, text string }

// order is one change to make.
type order struct {
	kind orderKind
	move *move
}

type orderKind int

const (
	orderNone    orderKind = iota
	orderUpdate            // UpdateService to the new version
	orderStop              // StopServiceDeployment of our deployment
	orderPutBack           // UpdateService to what ran before
)

// answer is what came of an order. deployments are the service's, as ECS
// answered: unlike what is read, that is never older than the order.
type answer struct {
	fate        asked
	deployments []types.Deployment
	err         error
	denied      bool // err says that the role may not, or that there is nothing to go back to
}

// maxBlind is how long ECS may stay unreadable before a release turns round.
const maxBlind = 2 * time.Minute

// Limits on asking again.
const (
	maxTries  = 3 // UpdateService whose answer was lost
	maxDenied = 5 // putting back without permission; IAM is eventually consistent
)

// errTimeout is the cause of a release that took too long.
var errTimeout = errors.New("not complete within the time limit")

// newCourse starts a release.
func newCourse(request Request, moves []*move, now time.Time) *course {
	return &course{
		moves: moves, timeout: request.Timeout, restoreTimeout: request.RestoreTimeout, verify: request.Verify != nil,
		since: now, seen: now, moved: now,
	}
}

// orders are the changes to make now, at most limit of them. The others stay due.
func (c *course) orders(limit int) []order {
	var list []order
	for _, m := range c.moves {
		o := order{c.due(m), m}
		if o.kind != orderNone && len(list) == limit {
			break
		}
		if o.kind != orderNone {
			list = append(list, o)
		}
		m.need = nothing
	}
	return list
}

// due is the change that a service is to have.
func (c *course) due(m *move) orderKind {
	switch {
	case m.verdict != pending:
	case c.stage == rolling && (m.update == unasked || m.update == lost && m.own == "" && m.need == putBack):
		return orderUpdate
	case c.stage == restoring && m.need == stopOwn:
		return orderStop
	case c.stage == restoring && m.need == putBack:
		return orderPutBack
	}
	return orderNone
}

// answered is told what came of orders that were given together. Only when all
// answers are known can it be said what was touched.
func (c *course) answered(orders []order, answers []answer, now time.Time) {
	c.moved = now
	var failure error
	for n, o := range orders {
		switch o.kind {
		case orderUpdate:
			c.updated(o.move, answers[n], now)
		case orderStop:
			c.stopped(o.move, answers[n])
		case orderPutBack:
			c.putBack(o.move, answers[n])
		}
		if o.kind == orderUpdate && o.move.verdict == broken && failure == nil {
			failure = fmt.Errorf("%s: %w", o.move.name(), o.move.err)
		}
	}
	if failure != nil {
		c.turn(failure, now)
	}
}

func (c *course) updated(m *move, a answer, now time.Time) {
	if a.fate == throttled {
		if !m.waits {
			c.tell(m, "waiting: ECS takes no more updates for now")
		}
		m.waits = true
		return
	}
	if m.tries++; m.tries == 1 {
		m.started = now
	}
	switch {
	case a.fate == refused && m.update == lost: // the first try may have been taken
	default:
		m.update = a.fate
	}
	switch a.fate {
	case taken:
		m.recognise(observation{deployments: a.deployments}, true)
		if m.own == "" {
			// ECS took the change and made no deployment of it: it was one already.
			m.recogniseUnchanged(a.deployments)
		}
		c.tell(m, "deployment "+m.own+" started")
	case lost:
		c.tell(m, "no answer to the update: "+a.err.Error())
		if m.tries >= maxTries {
			m.fail(fmt.Sprintf("updating service %s: %s", m.target.Service.ServiceName(), a.err))
		}
	case refused:
		m.fail(fmt.Sprintf("updating service %s: %s", m.target.Service.ServiceName(), a.err))
		m.finish(now)
	}
}

// recogniseUnchanged takes the primary deployment for ours when it runs our
// revision, whichever it is.
func (m *move) recogniseUnchanged(deployments []types.Deployment) {
	primary := observation{deployments: deployments}.primary()
	if primary != nil && aws.ToString(primary.TaskDefinition) == m.to.TaskDefinition {
		m.own, m.ownSeen = aws.ToString(primary.Id), true
	}
}

func (c *course) stopped(m *move, a answer) {
	if m.stop = a.fate; a.fate == throttled {
		m.stop = lost // asked again, but not for ever: there is another way back
	}
	m.doubtful = time.Time{}
	m.stops++
	if a.fate != taken {
		c.tell(m, "ECS was not made to roll back: "+a.err.Error())
	}
}

func (c *course) putBack(m *move, a answer) {
	m.putBack = a.fate
	m.doubtful = time.Time{}
	if a.fate == taken {
		if primary := (observation{deployments: a.deployments}).primary(); primary != nil {
			m.back = aws.ToString(primary.Id)
		}
		return
	}
	c.tell(m, "could not turn back, trying again: "+a.err.Error())
	if a.denied {
		m.denied++
	}
	if m.denied >= maxDenied {
		c.stick(m, a.err)
	}
}

// turn turns the release round.
func (c *course) turn(cause error, now time.Time) {
	if c.stage == restoring || c.stage == over {
		return
	}
	c.stage, c.cause, c.since, c.moved, c.look = restoring, cause, now, now, ""
	for _, m := range c.moves {
		m.verdict, m.need, m.doubtful = pending, nothing, time.Time{}
		m.onTheWay, m.told.trouble = m.told.trouble, ""
	}
	touched := 0
	for _, m := range c.moves {
		switch {
		case !m.touched():
			m.verdict = arrived // nothing of it was changed
			if m.result == "" {
				m.result = report.Unchanged
			}
		case m.oneWay:
			c.stick(m, errors.New("what it replaced was in progress: there is nothing known good to go back to"))
			touched++
		default:
			touched++
			c.tell(m, "putting back "+m.from.Short())
		}
	}
	if touched > 0 {
		c.notes = append(c.notes, note{"", "restoring: " + cause.Error()})
	}
	c.conclude()
}

// interrupted is told that somebody wants the release to end.
func (c *course) interrupted(cause error, now time.Time) { c.turn(cause, now) }

// verified is told whether the new version works.
func (c *course) verified(err error, now time.Time) {
	if err != nil {
		c.turn(fmt.Errorf("verifying the release: %w", err), now)
		return
	}
	c.stage = over
}

// unreadable is told that ECS could not be read.
func (c *course) unreadable(err error, now time.Time) {
	if c.stage == rolling && now.Sub(c.seen) > maxBlind {
		c.turn(fmt.Errorf("losing sight of the services for %s: %w", maxBlind, err), now)
	}
	c.clock(now, err)
}

// observed is told what ECS says of each service.
func (c *course) observed(observed map[*move]observation, now time.Time) {
	c.seen = now
	if look := fingerprint(c.moves, observed); look != c.look {
		c.look, c.moved = look, now
	}
	var failure error
	all := true
	for _, m := range c.moves {
		m.observed = observed[m]
		m.recognise(m.observed, c.stage == rolling)
		switch c.stage {
		case rolling:
			c.judge(m, now)
			if m.verdict == broken && failure == nil {
				failure = fmt.Errorf("%s: %w", m.name(), m.err)
			}
			all = all && m.verdict == arrived
		case restoring:
			c.judgeBack(m, now)
		}
	}
	switch {
	case failure != nil:
		c.turn(failure, now)
	case c.stage == rolling && all && c.verify:
		c.stage, c.since = verifying, now
	case c.stage == rolling && all:
		c.stage = over
	}
	c.clock(now, nil)
}

func (c *course) judge(m *move, now time.Time) {
	v, why := m.judge(now, m.observed)
	if m.update == lost && m.own == "" {
		m.need = putBack // ask again: the same update twice is one
	}
	if m.verdict == arrived && v == pending {
		return // it was there; only a break undoes that
	}
	if v == arrived && m.verdict != arrived {
		c.tell(m, "runs the new version")
		if m.service.DesiredCount == 0 && m.count == nil {
			c.tell(m, "has a desired count of 0: no task was started, so nothing is proven")
		}
		m.result = report.Succeeded
		m.finish(now)
	}
	m.verdict = v
	if v == broken {
		m.fail(why)
		m.finish(now)
		c.tell(m, "failed: "+why)
	}
}

func (c *course) judgeBack(m *move, now time.Time) {
	if m.verdict != pending {
		return
	}
	v, need, why := m.judgeBack(now, m.observed)
	m.need = need
	switch v {
	case arrived:
		m.verdict, m.result = arrived, report.Restored
		m.finish(now)
		c.tell(m, "runs the previous version again")
	case broken:
		c.stick(m, errors.New(why))
		m.finish(now)
	}
	c.conclude()
}

// stick notes that a service cannot be restored.
func (c *course) stick(m *move, why error) {
	m.verdict, m.result = broken, report.Failed
	m.stuck = fmt.Errorf("restoring %s: %w", m.name(), why)
	c.tell(m, "cannot be restored: "+why.Error())
	c.conclude()
}

// conclude ends a restore in which nothing is left to wait for.
func (c *course) conclude() {
	for _, m := range c.moves {
		if m.verdict == pending {
			return
		}
	}
	if c.stage == restoring {
		c.stage = over
	}
}

// clock ends what took too long.
func (c *course) clock(now time.Time, unreadable error) {
	switch {
	case c.stage == rolling && now.Sub(c.since) > c.timeout:
		for _, m := range c.moves {
			if m.verdict == pending {
				m.fail(m.withTrouble(fmt.Sprintf("%s of %s", errTimeout, c.timeout)))
				m.finish(now)
				c.tell(m, "failed: "+m.err.Error())
			}
		}
		c.turn(fmt.Errorf("%s: %w", c.slowest().name(), c.slowest().err), now)
	case c.stage == restoring && now.Sub(c.since) > c.restoreTimeout:
		for _, m := range c.moves {
			if m.verdict == pending {
				m.finish(now)
				c.stick(m, errors.Join(errors.New(m.withTrouble(fmt.Sprintf("not restored within the time limit of %s", c.restoreTimeout))), unreadable))
			}
		}
	}
}

// slowest is the first service that did not arrive.
func (c *course) slowest() *move {
	for _, m := range c.moves {
		if m.err != nil {
			return m
		}
	}
	return c.moves[0]
}

func (c *course) tell(m *move, text string) { c.notes = append(c.notes, note{m.name(), text}) }

// told returns what there is to tell, once.
func (c *course) told() []note {
	notes := c.notes
	c.notes = nil
	return notes
}
