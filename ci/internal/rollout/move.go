package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/report"
)

// move is one service's part of a release: what ran, what shall run, and what
// has become of it.
type move struct {
	target  Target
	service types.Service // as it was planned
	from    report.Version
	to      report.Version

	// definition is to be registered; nil when the revision to.TaskDefinition
	// exists already or when there is nothing to do.
	definition *ecs.RegisterTaskDefinitionInput
	// runs and wants are what runs and what shall run, for comparing.
	runs, wants *ecs.RegisterTaskDefinitionInput
	// origin is what ran before, whole, should somebody deregister it; nil where its
	// revision is deleted.
	origin     *types.TaskDefinition
	originTags []types.Tag
	// templateTags are the tags of the revision that the new one is made from.
	templateTags []types.Tag
	// copies is the revision that the new one is a copy of, because it was
	// deregistered; "" otherwise.
	copies    string
	remarks   []string // what there is to tell of the plan
	marks     marks    // tags of the revision that runs
	newest    marks    // tags of the revision that the new one is made from
	current   bool     // what runs is what shall run
	unchanged bool     // nothing is to be done

	// before has the ids of the deployments that were there before ours.
	// Ours is told from others by its id alone: clocks may differ.
	before []string
	// settled tells whether what ran before was complete. If it never was, there
	// is no more to restore than the revision.
	settled bool
	// count is nil where the move leaves the desired count alone.
	count *count
	// oneWay is a move that cannot be undone: what was there was in progress.
	oneWay bool

	update       asked  // UpdateService to the new version
	tries        int    // how often that was asked and not throttled
	waits        bool   // that was throttled, and told
	own          string // id of our deployment, ecs-svc/…
	ownARN       string // ARN of its service deployment, once known
	noAPI        bool   // this endpoint has no service deployments, or keeps them from us
	triedCurrent bool   // what the service calls its current deployment was asked about
	ownSeen      bool   // our deployment was seen in the service
	stop         asked  // StopServiceDeployment of our deployment
	stops        int    // how often that was asked
	putBack      asked  // UpdateService to what ran before
	denied       int    // how often putting back was not allowed
	back         string // id of the deployment that leads back, once known
	need         need
	doubtful     time.Time // since when what is read contradicts what was done
	superseded   string    // what took the place of our deployment, "" if nothing did
	verdict      verdict
	observed     observation
	started      time.Time     // when the service was asked to change
	took         time.Duration // from then until its end was seen
	result       report.Result
	causes       []report.Cause
	err          error  // why the service did not arrive
	stuck        error  // why it could not be restored
	onTheWay     string // ECS's trouble with the new version, if it told of any
	told         teller
}

// count is a change of a service's desired count. Terraform makes services without
// tasks, because there is no image yet that they could run: the first release asks
// for tasks, and whoever puts it back asks for none again.
type count struct{ from, to int32 }

// after is the desired count to ask for with the new version; nil leaves it.
func (c *count) after() *int32 {
	if c == nil {
		return nil
	}
	return &c.to
}

// before is the desired count to ask for with what ran before; nil leaves it.
func (c *count) before() *int32 {
	if c == nil {
		return nil
	}
	return &c.from
}

// asked is how far a change of ours has come.
type asked int

const (
	unasked   asked = iota
	taken           // ECS has taken it
	lost            // no answer came, or one that does not tell: it may have been taken
	refused         // ECS has refused it: nothing was changed
	throttled       // ECS had no time for it: nothing was changed, and it may be asked again
)

// need is what a service wants done on its way back.
type need int

const (
	nothing need = iota
	stopOwn
	putBack
)

func (m *move) name() string { return m.target.Service.Name }

func (m *move) remark(format string, args ...any) {
	m.remarks = append(m.remarks, fmt.Sprintf(format, args...))
}

// ran tells whether what runs is a revision, or a copy of it.
func (m *move) ran(revision string) bool {
	return revision != "" && (revision == m.from.TaskDefinition || revision == m.marks.copyOf)
}

// touched tells whether the service may run something else than before.
func (m *move) touched() bool { return m.update == taken || m.update == lost }

// recognise finds our deployment where the answer to UpdateService was lost,
// and follows it where somebody else has deployed the same revision again: the
// new primary one that runs our revision.
// A release on its way back follows nobody.
func (m *move) recognise(o observation, follow bool) {
	if !m.touched() {
		return
	}
	if own := o.deployment(m.own); m.own != "" && own != nil {
		m.ownSeen = true
	}
	primary := o.primary()
	if primary == nil || aws.ToString(primary.TaskDefinition) != m.to.TaskDefinition || slices.Contains(m.before, aws.ToString(primary.Id)) {
		return
	}
	known := m.own != "" && (!follow || m.own == aws.ToString(primary.Id) || m.to.TaskDefinition == m.from.TaskDefinition || rolledBack(o.status))
	if !known {
		m.own, m.ownARN, m.ownSeen, m.update = aws.ToString(primary.Id), "", true, taken
	}
}

// fail ends the service's way to the new version.
func (m *move) fail(why string) { m.verdict, m.err = broken, errors.New(why) }

// finish notes how long the service took.
func (m *move) finish(now time.Time) {
	if !m.started.IsZero() {
		m.took = now.Sub(m.started)
	}
}

// doubt tells whether readings have contradicted what was done for so long that
// they cannot be late any more.
func (m *move) doubt(now time.Time) bool {
	if m.doubtful.IsZero() {
		m.doubtful = now
	}
	return now.Sub(m.doubtful) >= staleLimit
}

// staleLimit is how long a reading of ECS may lag behind what was done. Its
// reads are eventually consistent; a few seconds are usual.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
const staleLimit = 30 * time.Second

// describeDeployments lists deployments for people.
func describeDeployments(deployments []types.Deployment) string {
	var list []string
	for _, d := range deployments {
		list = append(list, fmt.Sprintf("%s %s of %s", aws.ToString(d.Status), aws.ToString(d.Id), afterSlash(aws.ToString(d.TaskDefinition))))
	}
	return strings.Join(list, ", ")
}

func afterSlash(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }
