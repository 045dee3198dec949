package machine

import (
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/report"
)

// Plan is what a release does with one service. It never changes once the
// machine has it.
type Plan struct {
	Name    string // in the services file
	ECSName string // of the ECS service
	// From is what ran before, To what shall run. Both revisions are registered.
	From, To report.Version
	// PreviousDeployments has the ids of the deployments that existed before ours. Ours is
	// distinguished by its id alone, because clocks may differ.
	PreviousDeployments []string
	// WasComplete reports whether what ran before was complete. If it never was,
	// there is no more to restore than the revision.
	WasComplete bool
	// DesiredCount is that of the service before the release.
	DesiredCount int32
	// Count is nil if the release leaves the desired count alone.
	Count *CountChange
	// Irreversible is set if what ran before was itself in progress, so that
	// nothing known to work can be restored.
	Irreversible bool
	// Joined is the id of a deployment in progress to To, which an earlier process
	// or somebody else began; "" if the service has to be updated.
	Joined   string
	JoinedAt time.Time
}

// CountChange is a change of a service's desired count. Terraform creates services
// without tasks, because no image exists yet: the first release asks for tasks,
// and restoring asks for none again.
type CountChange struct{ From, To int32 }

// Progress is what has become of a service so far. Only the machine changes it.
type Progress struct {
	Update          CallStatus // of UpdateService to the new version
	OwnDeployment   string     // id of our deployment, ecs-svc/…
	Verdict         Verdict
	Observed        Observation
	Superseded      string // what replaced our deployment, "" if nothing did
	RestoreRevision string // ARN of the revision to restore: From's, or a copy of it
	Started         time.Time
	Duration        time.Duration // from Started until the end was seen
	Result          report.Result
	Err             error  // why the service did not reach the new version
	RestoreErr      error  // why it could not be restored
	Problem         string // the latest event of ECS that says what keeps it from going on
	UpdateProblem   string // the same, from before the release began to restore

	updates           int  // calls of UpdateService that were not throttled
	throttled         bool // throttling was reported
	ownSeen           bool // our deployment was seen in the service
	stop              CallStatus
	stops             int
	restore           CallStatus // of UpdateService to what ran before
	denied            int        // how often restoring was not allowed
	restoreID         string     // id of the deployment that restores, once known
	action            Action     // wanted by the last judgement
	contradictedSince time.Time  // since when readings contradict what was done
}

// Touched reports whether the service may run something else than before.
func (p Progress) Touched() bool { return p.Update == Accepted || p.Update == Unknown }

// service is one service in a release.
type service struct {
	plan Plan
	Progress
}

func newService(plan Plan) *service {
	s := &service{plan: plan, Progress: Progress{
		RestoreRevision: plan.From.TaskDefinition, Result: report.Unchanged, OwnDeployment: plan.Joined, Started: plan.JoinedAt,
	}}
	if plan.Joined != "" {
		s.Update = Accepted
	}
	return s
}

// redeploys reports whether the release deploys the revision that ran before.
func (s *service) redeploys() bool { return s.plan.To.TaskDefinition == s.RestoreRevision }

// findOwn finds our deployment if the answer to UpdateService was lost, and
// follows it if somebody else has deployed the same revision again: the new
// primary deployment of our revision.
func (s *service) findOwn(o Observation, follow bool) {
	if !s.Touched() {
		return
	}
	if own := o.deployment(s.OwnDeployment); s.OwnDeployment != "" && own != nil {
		s.ownSeen = true
	}
	primary := o.Primary()
	if primary == nil || aws.ToString(primary.TaskDefinition) != s.plan.To.TaskDefinition || slices.Contains(s.plan.PreviousDeployments, aws.ToString(primary.Id)) {
		return
	}
	known := s.OwnDeployment != "" && (!follow || s.OwnDeployment == aws.ToString(primary.Id) || s.redeploys() || rolledBack(o.Status))
	if !known {
		s.OwnDeployment, s.ownSeen, s.Update = aws.ToString(primary.Id), true, Accepted
	}
}

// findOwnUnchanged takes the primary deployment for ours if it runs our
// revision, whichever it is.
func (s *service) findOwnUnchanged(deployments []types.Deployment) {
	primary := Primary(deployments)
	if primary != nil && aws.ToString(primary.TaskDefinition) == s.plan.To.TaskDefinition {
		s.OwnDeployment, s.ownSeen = aws.ToString(primary.Id), true
	}
}

// fail ends the service's way to the new version.
func (s *service) fail(why string) { s.Verdict, s.Err = Failed, errors.New(why) }

// finish records how long the service took.
func (s *service) finish(now time.Time) {
	if !s.Started.IsZero() {
		s.Duration = now.Sub(s.Started)
	}
}

// contradicted reports whether readings have contradicted what was done for so
// long that they cannot be stale any more.
func (s *service) contradicted(now time.Time) bool {
	if s.contradictedSince.IsZero() {
		s.contradictedSince = now
	}
	return now.Sub(s.contradictedSince) >= staleLimit
}

// withProblem appends the latest trouble that ECS reported to a message.
func (s *service) withProblem(message string) string {
	if s.Problem == "" {
		return message
	}
	return message + ": " + s.Problem
}

// staleLimit is how long a reading of ECS may lag behind what was done. Its
// reads are eventually consistent; a few seconds are usual.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
const staleLimit = 30 * time.Second
