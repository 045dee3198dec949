package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// TestLogLines hides secrets, also those of several lines.
func TestLogLines(t *testing.T) {
	source := logSource{service: "api", container: "api", main: true}
	var stream []report.LogLine
	for n, text := range []string{"first\nsecond\n", "-----BEGIN RSA PRIVATE KEY-----", "abc", "-----END RSA PRIVATE KEY-----", "DB_PASSWORD=hunter2"} {
		stream = append(stream, source.lines(logstypes.FilteredLogEvent{
			Message: &text, Timestamp: aws.Int64(int64(n)), LogStreamName: aws.String("ecs/api/0123456789abcdef"),
		})...)
	}
	var shown []string
	for _, line := range redactLog(stream) {
		require.Equal(t, "0123456789abcdef", line.Task)
		shown = append(shown, line.String())
	}
	require.Equal(t, []string{"api/01234567  first", "api/01234567  second", "api/01234567  (hidden)", "api/01234567  DB_PASSWORD=(hidden)"}, shown)
	require.Empty(t, redactLog(nil))
}

// filterResponses is the HTTP client of a CloudWatch that has events in pages, and no
// streams but those that they are in.
type filterResponses struct {
	pages  [][]string // times and streams of events, as "7 ecs/api/a"
	inputs []struct {
		LogStreamNames []string
		NextToken      string
	}
}

func (f *filterResponses) Do(request *http.Request) (*http.Response, error) {
	input := struct {
		LogStreamNames []string
		NextToken      string
	}{}
	if err := json.NewDecoder(request.Body).Decode(&input); err != nil {
		return nil, err
	}
	f.inputs = append(f.inputs, input)
	status, out := 200, map[string]any{}
	for _, name := range input.LogStreamNames {
		if !strings.Contains(fmt.Sprint(f.pages), " "+name) {
			status, out = 400, map[string]any{"__type": "ResourceNotFoundException", "message": "The specified log stream does not exist."}
		}
	}
	page := 0
	_, _ = fmt.Sscan(input.NextToken, &page)
	if status == 200 {
		var events []map[string]any
		for n, event := range f.pages[page] {
			at, stream := 0, ""
			_, _ = fmt.Sscan(event, &at, &stream)
			if len(input.LogStreamNames) == 0 || slices.Contains(input.LogStreamNames, stream) {
				events = append(events, map[string]any{"eventId": fmt.Sprint(page, n), "timestamp": at, "logStreamName": stream, "message": event})
			}
		}
		if out["events"] = events; page+1 < len(f.pages) {
			out["nextToken"] = fmt.Sprint(page + 1)
		}
	}
	body, err := json.Marshal(out)
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(body)))}, err
}

func newLogReader(f *filterResponses, most int) *logReader {
	client := cloudwatchlogs.New(cloudwatchlogs.Options{Region: "us-east-1", HTTPClient: f, Credentials: aws.AnonymousCredentials{}})
	return &logReader{Delivery: Delivery{Account: Account{logs: client}, Clock: testClock{}}, most: most, seen: map[string]int64{}, missing: map[string]bool{}}
}

// testClock does not wait.
type testClock struct{ clock.Real }

func (testClock) Sleep(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) }

func textsOf(lines []report.LogLine) []string {
	var texts []string
	for _, line := range lines {
		texts = append(texts, line.Text)
	}
	return texts
}

// TestLastLogLines keeps the last lines of many, and remembers only what it may read again.
func TestLastLogLines(t *testing.T) {
	f := &filterResponses{pages: [][]string{{"1 ecs/api/a", "2 ecs/api/a"}, {"3 ecs/api/a", "4 ecs/api/b"}, {"5 ecs/api/b"}}}
	r := newLogReader(f, 2)
	source := []logSource{{service: "api", container: "api", group: "/ecs/api", prefix: "ecs/api/"}}
	lines, err := r.read(t.Context(), source, time.UnixMilli(0))
	require.NoError(t, err)
	require.Equal(t, []string{"3 ecs/api/a", "4 ecs/api/b", "5 ecs/api/b"}, textsOf(lines), "one more than two, so that a note says so")
	require.Len(t, f.inputs, 3)
	require.Len(t, r.seen, 3)

	f.pages = [][]string{{}, {}, {"5 ecs/api/b", "6 ecs/api/b"}}
	lines, err = r.read(t.Context(), source, time.UnixMilli(5))
	require.NoError(t, err)
	require.Equal(t, []string{"6 ecs/api/b"}, textsOf(lines))
	require.Len(t, r.seen, 2, "of the last 15 s")
}

// TestLogsOfTasksWithoutLog shows the logs of tasks, of which some have not started.
func TestLogsOfTasksWithoutLog(t *testing.T) {
	f := &filterResponses{pages: [][]string{{"1 ecs/api/a", "2 ecs/api/c"}}}
	r := newLogReader(f, 10)
	source := logSource{service: "api", container: "api", group: "/ecs/api", prefix: "ecs/api/", tasks: []string{"a", "b", "c"}}
	lines, err := r.read(t.Context(), []logSource{source}, time.UnixMilli(0))
	require.NoError(t, err)
	require.Equal(t, []string{"1 ecs/api/a", "2 ecs/api/c"}, textsOf(lines))
	require.True(t, r.found)
}

// TestFollowEnds when lines cannot be shown any longer.
func TestFollowEnds(t *testing.T) {
	f := &filterResponses{pages: [][]string{{"1 ecs/api/a"}}}
	source := []logSource{{service: "api", container: "api", group: "/ecs/api", prefix: "ecs/api/"}}
	shown := 0
	require.NoError(t, newLogReader(f, 10).follow(t.Context(), source, time.UnixMilli(0), func([]report.LogLine) bool { shown++; return shown < 2 }))
	require.Equal(t, 2, shown)
}

func TestTaskID(t *testing.T) {
	const id = "0f9d5e2b8c6a4d1f9e7b3a5c2d8f6e4a"
	for given, want := range map[string]string{
		id: id, "arn:aws:ecs:us-east-1:123456789012:task/ecs-cluster/" + id: id, "arn:aws-cn:ecs:cn-north-1:123456789012:task/" + id: id,
		"": "", "a b": "", "arn:aws:ecs:us-east-1:123456789012:service/" + id: "", "../" + id: "",
	} {
		match := taskID.FindStringSubmatch(given)
		if want == "" {
			require.Nil(t, match, given)
			continue
		}
		require.Equal(t, want, match[1], given)
	}
}

func TestParseEnvironment(t *testing.T) {
	got, err := ParseEnvironment([]string{"A=1", "B=", "C=x=y"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"A": "1", "B": "", "C": "x=y"}, got)
	for _, bad := range []string{"A", "=1", "1A=secret", "A B=secret"} {
		_, err := ParseEnvironment([]string{bad})
		require.ErrorContains(t, err, "want NAME=VALUE")
		require.NotContains(t, err.Error(), "secret")
	}
}
