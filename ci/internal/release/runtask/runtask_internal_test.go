package runtask

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestVerdict(t *testing.T) {
	task := func(code types.TaskStopCode, exit *int32) types.Task {
		return types.Task{
			LastStatus: aws.String("STOPPED"), StopCode: code, StoppedReason: aws.String("because"),
			Containers: []types.Container{{Name: aws.String("agent"), ExitCode: aws.Int32(0)}, {Name: aws.String("app"), ExitCode: exit}},
		}
	}
	tests := map[string]struct {
		task types.Task
		want string // "" for success
	}{
		"exits with 0":                  {task(types.TaskStopCodeEssentialContainerExited, aws.Int32(0)), ""},
		"exits with 0, no stop code":    {task("", aws.Int32(0)), ""},
		"exits with 3":                  {task(types.TaskStopCodeEssentialContainerExited, aws.Int32(3)), "container app exited with code 3"},
		"no exit code":                  {task(types.TaskStopCodeEssentialContainerExited, nil), "container app ended without an exit code: because"},
		"failed to start":               {task(types.TaskStopCodeTaskFailedToStart, nil), "the task failed to start: because"},
		"failed to start, exits with 0": {task(types.TaskStopCodeTaskFailedToStart, aws.Int32(0)), "the task failed to start: because"},
		"stopped, exits with 0":         {task(types.TaskStopCodeUserInitiated, aws.Int32(0)), "the task was stopped before it had ended: because (UserInitiated)"},
		"reclaimed, exits with 0":       {task(types.TaskStopCodeSpotInterruption, aws.Int32(0)), "the task was stopped before it had ended: because (SpotInterruption)"},
		"another container":             {types.Task{LastStatus: aws.String("STOPPED"), Containers: []types.Container{{Name: aws.String("agent"), ExitCode: aws.Int32(0)}}}, "container app ended without an exit code: no reason given"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := failure(tt.task, "app")
			require.Equal(t, tt.want == "", Succeeded(tt.task, "app"))
			if tt.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, tt.want)
			}
		})
	}
	running := task("", aws.Int32(0))
	running.LastStatus = aws.String("DEPROVISIONING")
	require.False(t, Succeeded(running, "app"), "not yet stopped")
}

func TestInput(t *testing.T) {
	spec := Spec{
		Service: platform.Service{Name: "app"}, Command: []string{"migrate"}, Environment: map[string]string{"B": "2", "A": "1"}, CPU: 1024, Memory: 4096,
		StartedBy: "release", ClientToken: "token",
		Definition: types.TaskDefinition{
			TaskDefinitionArn: aws.String("family:7"), Cpu: aws.String("256"), Memory: aws.String("512"),
			ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("app"), Memory: aws.Int32(384)}, {Name: aws.String("agent"), Memory: aws.Int32(128)}},
		},
		Placement: PlacementOf(types.Service{
			LaunchType: types.LaunchTypeFargate, PlatformVersion: aws.String("1.4.0"), PropagateTags: types.PropagateTagsService, EnableECSManagedTags: true,
			CapacityProviderStrategy: []types.CapacityProviderStrategyItem{{CapacityProvider: aws.String("FARGATE_SPOT"), Weight: 1}},
		}),
	}
	in := spec.input()
	require.Equal(t, &ecs.RunTaskInput{
		Cluster: aws.String("ecs-cluster"), TaskDefinition: aws.String("family:7"), Count: aws.Int32(1), ClientToken: aws.String("token"), StartedBy: aws.String("release"),
		PlatformVersion: aws.String("1.4.0"), CapacityProviderStrategy: spec.Placement.CapacityProviders, // and no launch type
		PropagateTags: types.PropagateTagsTaskDefinition, EnableECSManagedTags: true,
		Overrides: &types.TaskOverride{Cpu: aws.String("1024"), Memory: aws.String("4096"), ContainerOverrides: []types.ContainerOverride{{
			Name: aws.String("app"), Command: []string{"migrate"}, Memory: aws.Int32(384 + 4096 - 512),
			Environment: []types.KeyValuePair{{Name: aws.String("A"), Value: aws.String("1")}, {Name: aws.String("B"), Value: aws.String("2")}},
		}}},
	}, in)
	bare := Spec{Service: platform.Service{Name: "app"}, Placement: PlacementOf(types.Service{LaunchType: types.LaunchTypeFargate})}.input()
	require.Empty(t, bare.Overrides.ContainerOverrides)
	require.Equal(t, types.LaunchTypeFargate, bare.LaunchType)
}

func TestNames(t *testing.T) {
	require.Equal(t, "012345678901-abc-def_g/h", rollout.StartedBy("012345678901.abc def_g/h"), "ECS allows neither a dot nor a space")
	require.Len(t, rollout.StartedBy(strings.Repeat("x", 200)), 128)
	require.LessOrEqual(t, len(Token("a", "b")), 64)
	require.NotEqual(t, Token("a", "b"), Token("ab"))
	name := Unique()
	require.NotEqual(t, name, Unique())
	require.Equal(t, name, rollout.StartedBy(name))
}

// pagedLogs has a page for each token. It fails the reads in errs.
type pagedLogs struct {
	pages [][]string
	reads int
	errs  map[int]error
}

func (l *pagedLogs) GetLogEvents(_ context.Context, in *cloudwatchlogs.GetLogEventsInput, _ ...func(*cloudwatchlogs.Options)) (*cloudwatchlogs.GetLogEventsOutput, error) {
	l.reads++
	if err := l.errs[l.reads]; err != nil {
		return nil, err
	}
	at := 0
	if in.NextToken != nil {
		fmt.Sscan(*in.NextToken, &at)
	}
	out := &cloudwatchlogs.GetLogEventsOutput{NextForwardToken: aws.String(fmt.Sprint(min(at+1, len(l.pages))))}
	if at < len(l.pages) {
		for _, line := range l.pages[at] {
			out.Events = append(out.Events, logstypes.OutputLogEvent{Message: &line})
		}
	}
	return out, nil
}

type instantClock struct{ now time.Time }

func (c *instantClock) Now() time.Time { return c.now }

func (c *instantClock) Sleep(ctx context.Context, d time.Duration) error {
	c.now = c.now.Add(d)
	return context.Cause(ctx)
}

// TestLog reads each line once, whatever reads fail, and hides secrets.
func TestLog(t *testing.T) {
	logs := &pagedLogs{
		pages: [][]string{{"one\n"}, {}, {"DB_PASSWORD=hunter2 failed"}},
		errs:  map[int]error{1: &logstypes.ResourceNotFoundException{}, 3: &logstypes.ServiceUnavailableException{}, 4: context.DeadlineExceeded},
	}
	var lines, events []string
	runner := Runner{
		Logs: logs, Clock: &instantClock{}, Event: func(text string) { events = append(events, text) },
		Output: func(more []string) { lines = append(lines, more...) },
	}
	definition := types.TaskDefinition{ContainerDefinitions: []types.ContainerDefinition{{
		Name:             aws.String("app"),
		LogConfiguration: &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{"awslogs-group": "/g", "awslogs-stream-prefix": "p"}},
	}, {Name: aws.String("agent")}}}
	log := runner.newTail(Spec{Definition: definition}, "app", "arn:aws:ecs:us-east-1:1:task/c/t1")
	require.Equal(t, "/g p/app/t1", log.group+" "+log.stream)
	for range 3 {
		log.read(t.Context())
	}
	log.drain(t.Context())
	require.Equal(t, []string{"one", "DB_PASSWORD=(hidden) failed"}, lines)
	require.Equal(t, lines, log.last)
	require.Empty(t, events)

	none := runner.newTail(Spec{Definition: definition}, "agent", "t1")
	none.drain(t.Context())
	require.Empty(t, none.readLast(t.Context()))
	require.Equal(t, []string{"no log: container agent does not use the awslogs driver"}, events)
}
