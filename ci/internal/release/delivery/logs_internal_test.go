package delivery

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/report"
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
