package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// releaseVariable makes this program run a single release in a process of its own, so
// that the memory of the embedded AWS is not counted.
const releaseVariable = "SLIPWAY_BENCH_RELEASE"

// errand is the release that such a process runs.
type errand struct {
	Endpoint string
	Images   map[string]string // by service
}

// runErrand runs the release and returns its exit code.
func runErrand(text string) int {
	var e errand
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		panic(err)
	}
	config := aws.Config{
		Region: platform.DefaultRegion, BaseEndpoint: &e.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""), RetryMaxAttempts: 8,
	}
	engine := rollout.Engine{
		ECS: ecs.NewFromConfig(config), Logs: cloudwatchlogs.NewFromConfig(config), Clock: clock.Real{}, Event: func(string, string) {},
	}
	request := rollout.Request{Version: "new"}
	for name, image := range e.Images {
		request.Targets = append(request.Targets, rollout.Target{Service: platform.Service{Name: name}, Image: image})
	}
	got := engine.Release(context.Background(), request)
	fmt.Println(got.Error)
	return int(got.ExitCode)
}

// BenchmarkMemory measures the peak resident memory of a process that releases 200
// services.
func BenchmarkMemory(b *testing.B) {
	f, images := fleet(b, localaws.Options{}, 200, "hang")
	text, err := json.Marshal(errand{Endpoint: f.Server.Endpoint(), Images: images})
	require.NoError(b, err)
	for b.Loop() {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), releaseVariable+"="+string(text))
		out, err := cmd.CombinedOutput()
		require.NoError(b, err, string(out))
		require.Equal(b, int(outcome.Done), cmd.ProcessState.ExitCode())
		b.ReportMetric(float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/1024, "peak-MiB")
	}
}
