// Package bench measures releases against the embedded AWS, and other tools on the same
// timeline.
//
//	go -C ci/test test ./bench/rollout -run '^$' -bench . -benchtime 1x -timeout 30m
package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

var binary string // the compiled test service

func TestMain(m *testing.M) {
	if text := os.Getenv(releaseVariable); text != "" {
		os.Exit(runErrand(text))
	}
	testapp.RunTests(m, &binary)
}

// fleet starts count services; next are the image references of another version.
func fleet(b testing.TB, o localaws.Options, count int, next ...string) (f *localawstest.Fleet, images map[string]string) {
	b.Helper()
	old, err := testapp.ServiceImage(binary, "old", "hang")
	require.NoError(b, err)
	f = localawstest.NewFleet(b, o, count, old)
	img, err := testapp.ServiceImage(binary, "new", next...)
	require.NoError(b, err)
	return f, f.Push(img, "new")
}

// measured is the result of a release with its times.
type measured struct {
	code          outcome.Code
	failed, ended time.Time
	slowest       time.Duration // of a single service
}

// release releases images to all services.
func release(f *localawstest.Fleet, version string, images map[string]string) measured {
	var m measured
	engine := rollout.Engine{ECS: f.ECS, Logs: f.Logs, Clock: clock.Real{}, Event: func(_, text string) {
		if m.failed.IsZero() && strings.HasPrefix(text, "failed:") {
			m.failed = time.Now()
		}
	}}
	request := rollout.Request{Version: version}
	for _, s := range f.Services {
		request.Targets = append(request.Targets, rollout.Target{Service: s, Image: images[s.Name]})
	}
	got := engine.Release(context.Background(), request)
	m.code, m.ended = got.ExitCode, time.Now()
	for _, s := range got.Services {
		m.slowest = max(m.slowest, time.Duration(s.DurationMS)*time.Millisecond)
	}
	return m
}

// waiters are the command lines of other tools that wait until a service is stable.
var waiters = map[string][]string{
	"aws-cli": {"aws", "ecs", "wait", "services-stable", "--cluster", platform.Cluster, "--services", "ecs-s000-service"},
	"boto3": {"python3", "-c", `import boto3; boto3.client("ecs").get_waiter("services_stable").wait(cluster="` + platform.Cluster +
		`", services=["ecs-s000-service"])`},
}

// waitBeside starts the waiters that are installed. The function it returns reports
// when each ended; waiters are stopped at the limit.
func waitBeside(b *testing.B, endpoint string, limit time.Duration) func() map[string]time.Time {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	var mu sync.Mutex // guards ended
	ended := map[string]time.Time{}
	var group sync.WaitGroup
	for name, args := range waiters {
		if _, err := exec.LookPath(args[0]); err != nil {
			b.Logf("%s is left out: %s is not installed", name, args[0])
			continue
		}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+endpoint, "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1",
			"AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any")
		group.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil && ctx.Err() == nil {
				b.Logf("%s: %s: %s", name, err, out)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ended[name] = time.Now()
		})
	}
	return func() map[string]time.Time { group.Wait(); cancel(); return ended }
}

// BenchmarkComplete measures the time from the end of a deployment in ECS to the end of
// the wait, for the release and for the waiters. Health checks and pauses take a few
// seconds, as in production.
func BenchmarkComplete(b *testing.B) {
	const rounds = 5
	f, images := fleet(b, localaws.Options{}, 1, "hang")
	versions := []map[string]string{images, f.Push(mustImage(b, "newer"), "newer")}
	lags := map[string][]time.Duration{}
	for b.Loop() {
		for n := range rounds {
			others := waitBeside(b, f.Server.Endpoint(), time.Minute)
			got := release(f, fmt.Sprint(n), versions[n%2])
			require.Equal(b, outcome.Done, got.code)
			complete := *f.LastDeployment(f.Services[0]).FinishedAt
			lags["slipway"] = append(lags["slipway"], got.ended.Sub(complete))
			for name, at := range others() {
				lags[name] = append(lags[name], at.Sub(complete))
			}
		}
	}
	for name, list := range lags {
		slices.Sort(list)
		b.ReportMetric(list[len(list)/2].Seconds(), name+"-median-s")
		b.ReportMetric(list[len(list)-1].Seconds(), name+"-max-s")
	}
}

func mustImage(b testing.TB, version string) v1.Image {
	b.Helper()
	made, err := testapp.ServiceImage(binary, version, "hang")
	require.NoError(b, err)
	return made
}

// BenchmarkFailure measures the time from ECS's rollback until the release reports the
// failure. The waiters get one minute: they report the rolled back service as stable,
// or would wait for ten minutes.
func BenchmarkFailure(b *testing.B) {
	const rounds = 3
	f, images := fleet(b, localaws.Options{}, 1, "exit", "1")
	lags := map[string][]time.Duration{}
	for b.Loop() {
		for n := range rounds {
			others := waitBeside(b, f.Server.Endpoint(), time.Minute)
			got := release(f, fmt.Sprint(n), images)
			require.Equal(b, outcome.Restored, got.code)
			tripped := *f.RollbackStartedAt(f.Services[0])
			lags["slipway"] = append(lags["slipway"], got.failed.Sub(tripped))
			for name, at := range others() {
				lags[name+"-says-stable"] = append(lags[name+"-says-stable"], at.Sub(tripped))
			}
		}
	}
	for name, list := range lags {
		slices.Sort(list)
		b.ReportMetric(list[len(list)/2].Seconds(), name+"-median-s")
	}
}

// BenchmarkServices measures releases of many services: the total time against the
// slowest service, and calls per second against the quota of the busiest bucket.
func BenchmarkServices(b *testing.B) {
	for _, count := range []int{1, 10, 50, 200} {
		for _, throttle := range []bool{false, true} {
			name := fmt.Sprint(count)
			if throttle {
				name += "-throttled"
			}
			b.Run(name, func(b *testing.B) {
				f, images := fleet(b, localaws.Options{}, count, "hang")
				f.Server.SetThrottle(throttle)
				for b.Loop() {
					before := len(f.Server.Calls())
					began := time.Now()
					got := release(f, "new", images)
					require.Equal(b, outcome.Done, got.code)
					wall := got.ended.Sub(began)
					b.ReportMetric(wall.Seconds(), "wall-s")
					b.ReportMetric(wall.Seconds()/got.slowest.Seconds(), "wall/slowest")
					b.ReportMetric(callRate(f.Server.Calls()[before:], "DescribeServices", wall), "DescribeServices/s")
					b.ReportMetric(callRate(f.Server.Calls()[before:], "", wall), "calls/s")
				}
			})
		}
	}
}

// callRate returns the number of calls of an action per second.
func callRate(calls []localaws.Call, action string, in time.Duration) float64 {
	n := 0
	for _, c := range calls {
		if action == "" || c.Action == action {
			n++
		}
	}
	return float64(n) / in.Seconds()
}

// BenchmarkNoOp measures a release of two services that changes nothing, with a round
// trip to AWS of 50 ms.
func BenchmarkNoOp(b *testing.B) {
	f, images := fleet(b, localaws.Options{}, 2, "hang")
	require.Equal(b, outcome.Done, release(f, "new", images).code)
	remove := f.Server.Inject(localaws.Fault{Kind: localaws.Slow, Delay: 50 * time.Millisecond})
	defer remove()
	for b.Loop() {
		require.Equal(b, outcome.Done, release(f, "new", images).code)
	}
}
