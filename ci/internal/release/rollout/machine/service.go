package machine

import (
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Plan is what a release does with a service. It does not change after [New].
type Plan struct {
	Name    string // in the services file
	ECSName string // of the ECS service
	// From is the previous version, To the new one. Both revisions are registered.
	From, To report.Version
	// PreviousDeployments are the ids of the deployments from before the release. Our own
	// is recognized by id and not by time, because clocks may differ.
	PreviousDeployments []string
	// WasComplete reports whether the previous deployment was complete. If not, only its
	// revision is restored.
	WasComplete bool
	// DesiredCount is the service's before the release.
	DesiredCount int32
	// Count is nil if the release does not change the desired count.
	Count *CountChange
	// Irreversible is set if the previous deployment was in progress, so that no version
	// is known to work.
	Irreversible bool
	// Joined is the id of a deployment of To that an earlier process or somebody else
	// started; "" if the service has to be updated.
	Joined   string
	JoinedAt time.Time
	// Shift is how ECS shifts the service's traffic; nil if it replaces the tasks in one go.
	Shift *Shift
	// Bake is how long ECS keeps the previous tasks after all new ones serve.
	Bake time.Duration
	// Lifecycle reports whether stages of the deployment are reported.
	Lifecycle bool
}

// CountChange is a change of a service's desired count. Terraform creates services
// with a count of 0, because no image exists yet: the first release raises it, and
// restoring it sets it back to 0.
type CountChange struct{ From, To int32 }

// Progress is the progress of a service. Only the machine changes it.
type Progress struct {
	Update          CallStatus // of UpdateService to the new version
	OwnDeployment   string     // id of our own deployment, ecs-svc/…
	Verdict         Verdict
	Observed        Observation
	Superseded      string // the deployment that replaced our own, or ""
	RestoreRevision string // ARN of From's revision, or of a copy
	Started         time.Time
	Duration        time.Duration // from Started until the end was observed
	Result          report.Result
	Err             error  // why the update failed
	RestoreErr      error  // why the restore failed
	Problem         string // the latest service event about a blocked deployment
	UpdateProblem   string // Problem at the end of the update

	updates           int  // UpdateService calls that were not throttled
	throttled         bool // throttling was reported
	ownSeen           bool // our own deployment was observed
	stop              CallStatus
	stops             int
	restore           CallStatus // of UpdateService to the previous version
	denied            int        // number of denied restores
	restoreID         string     // id of the restoring deployment, once known
	action            Action     // due since the last observation
	contradictedSince time.Time  // first observation that contradicts a response

	continued   position  // where the deployment was last continued
	continuedAt time.Time // and when
	tried       position  // where it was last tried
	continues   int       // calls there that were not accepted
	shift       string    // last reported
	warned      Hook      // whose expiry was reported
}

// Touched reports whether the release may have changed the service.
func (p Progress) Touched() bool { return p.Update == Accepted || p.Update == Unknown }

// service is a service in a release.
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

// redeploys reports whether the release deploys the previous revision again.
func (s *service) redeploys() bool { return s.plan.To.TaskDefinition == s.RestoreRevision }

// findOwn finds our own deployment if the response to UpdateService was lost, and
// follows it if somebody deploys the same revision again: it is the new primary
// deployment of our revision.
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
	known := s.OwnDeployment != "" && (!follow || s.OwnDeployment == aws.ToString(primary.Id) || s.redeploys() || o.RolledBack())
	if !known {
		s.OwnDeployment, s.ownSeen, s.Update = aws.ToString(primary.Id), true, Accepted
	}
}

// findOwnUnchanged takes any primary deployment of our revision as our own.
func (s *service) findOwnUnchanged(deployments []types.Deployment) {
	primary := Primary(deployments)
	if primary != nil && aws.ToString(primary.TaskDefinition) == s.plan.To.TaskDefinition {
		s.OwnDeployment, s.ownSeen = aws.ToString(primary.Id), true
	}
}

// fail ends the update with an error.
func (s *service) fail(why string) { s.Verdict, s.Err = Failed, errors.New(why) }

// finish records how long the service took.
func (s *service) finish(now time.Time) {
	if !s.Started.IsZero() {
		s.Duration = now.Sub(s.Started)
	}
}

// contradicted reports whether observations have contradicted a response for so long that
// they cannot be stale.
func (s *service) contradicted(now time.Time) bool {
	if s.contradictedSince.IsZero() {
		s.contradictedSince = now
	}
	return now.Sub(s.contradictedSince) >= staleLimit
}

// withProblem appends the service's problem to a message.
func (s *service) withProblem(message string) string {
	if s.Problem == "" {
		return message
	}
	return message + ": " + s.Problem
}

// staleLimit is how long an observation may be stale. ECS reads are eventually
// consistent, usually within a few seconds.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/Welcome.html
const staleLimit = 30 * time.Second
