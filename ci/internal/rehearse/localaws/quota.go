package localaws

import (
	"sync"
	"time"
)

// bucket is a token bucket as AWS documents it: the calls in a burst, and the calls
// per second that refill it.
type bucket struct {
	burst, rate float64

	tokens     float64
	refilledAt time.Time
}

// take takes one token and reports whether there was one.
func (b *bucket) take(now time.Time) bool {
	if b.refilledAt.IsZero() {
		b.tokens = b.burst
	} else {
		b.tokens = min(b.burst, b.tokens+now.Sub(b.refilledAt).Seconds()*b.rate)
	}
	b.refilledAt = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// limits are the request quotas of one account and region; actions in one entry
// share a bucket.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/service-quotas.html
var limits = []struct {
	burst, rate float64
	actions     []string
}{
	{20, 1, []string{"ecs.RegisterTaskDefinition", "ecs.DeregisterTaskDefinition", "ecs.DeleteTaskDefinitions"}},
	{50, 20, []string{"ecs.DescribeTaskDefinition", "ecs.ListTaskDefinitions", "ecs.ListTaskDefinitionFamilies"}},
	{50, 5, []string{"ecs.CreateService", "ecs.UpdateService", "ecs.DeleteService"}},
	{100, 20, []string{"ecs.DescribeServices", "ecs.ListServices"}},
	{100, 20, []string{"ecs.DescribeTasks", "ecs.ListTasks"}},
	{50, 20, []string{"ecs.ListServiceDeployments", "ecs.DescribeServiceDeployments"}},
	{50, 20, []string{"ecs.DescribeServiceRevisions"}},
	{100, 40, []string{"ecs.RunTask", "ecs.StopTask"}},
	{10, 10, []string{"ecr.PutImage"}},
	{100, 100, []string{"ecr.InitiateLayerUpload"}},
	{100, 100, []string{"ecr.CompleteLayerUpload"}},
	{500, 500, []string{"ecr.UploadLayerPart"}},
	{1000, 1000, []string{"ecr.BatchCheckLayerAvailability"}},
	{500, 500, []string{"ecr.GetAuthorizationToken"}},
}

// quotas limits calls to the documented request rates.
type quotas struct {
	mu      sync.Mutex
	buckets map[string]*bucket // by "service.Action"
}

func newQuotas() *quotas {
	q := &quotas{buckets: map[string]*bucket{}}
	for _, l := range limits {
		shared := &bucket{burst: l.burst, rate: l.rate}
		for _, action := range l.actions {
			q.buckets[action] = shared
		}
	}
	return q
}

// allow counts a call and reports whether it is within its quota. Actions without a
// documented quota always are.
func (q *quotas) allow(service, action string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	b, ok := q.buckets[service+"."+action]
	return !ok || b.take(now)
}
