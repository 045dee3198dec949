package logs_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/logs"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var group, stream = aws.String("/app"), aws.String("web/1")

// createStream creates a group with a stream and adds lines, a millisecond apart.
func createStream(t *testing.T, lines ...string) *localawstest.Platform {
	t.Helper()
	p := localawstest.Start(t, localaws.Options{})
	_, err := p.Logs.CreateLogGroup(t.Context(), &cwl.CreateLogGroupInput{LogGroupName: group, Tags: map[string]string{"a": "1"}})
	require.NoError(t, err)
	_, err = p.Logs.CreateLogStream(t.Context(), &cwl.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream})
	require.NoError(t, err)
	var events []types.InputLogEvent
	for i, line := range lines {
		events = append(events, types.InputLogEvent{Timestamp: aws.Int64(int64(1000 + i)), Message: &line})
	}
	if len(events) > 0 {
		_, err = p.Logs.PutLogEvents(t.Context(), &cwl.PutLogEventsInput{LogGroupName: group, LogStreamName: stream, LogEvents: events})
		require.NoError(t, err)
	}
	return p
}

func texts(events []types.OutputLogEvent) []string {
	var list []string
	for _, e := range events {
		list = append(list, *e.Message)
	}
	return list
}

func TestGetLogEvents(t *testing.T) {
	p := createStream(t, "a", "b", "c", "d", "e")
	get := func(in cwl.GetLogEventsInput) *cwl.GetLogEventsOutput {
		in.LogGroupName, in.LogStreamName = group, stream
		out, err := p.Logs.GetLogEvents(t.Context(), &in)
		require.NoError(t, err)
		return out
	}
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, texts(get(cwl.GetLogEventsInput{}).Events))
	require.Equal(t, []string{"d", "e"}, texts(get(cwl.GetLogEventsInput{Limit: aws.Int32(2)}).Events), "the tail")
	require.Equal(t, []string{"b", "c"}, texts(get(cwl.GetLogEventsInput{StartTime: aws.Int64(1001), EndTime: aws.Int64(1003)}).Events))

	head := get(cwl.GetLogEventsInput{Limit: aws.Int32(2), StartFromHead: aws.Bool(true)})
	require.Equal(t, []string{"a", "b"}, texts(head.Events))
	next := get(cwl.GetLogEventsInput{Limit: aws.Int32(2), NextToken: head.NextForwardToken})
	require.Equal(t, []string{"c", "d"}, texts(next.Events))
	require.Equal(t, []string{"a", "b"}, texts(get(cwl.GetLogEventsInput{Limit: aws.Int32(2), NextToken: next.NextBackwardToken}).Events))
	last := get(cwl.GetLogEventsInput{NextToken: next.NextForwardToken})
	require.Equal(t, []string{"e"}, texts(last.Events))
	end := get(cwl.GetLogEventsInput{NextToken: last.NextForwardToken})
	require.Empty(t, end.Events)
	require.Equal(t, *last.NextForwardToken, *end.NextForwardToken, "the token repeats at the end")

	pages := cwl.NewGetLogEventsPaginator(p.Logs, &cwl.GetLogEventsInput{LogGroupName: group, LogStreamName: stream, StartFromHead: aws.Bool(true), Limit: aws.Int32(2)},
		func(o *cwl.GetLogEventsPaginatorOptions) { o.StopOnDuplicateToken = true })
	var all []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		all = append(all, texts(page.Events)...)
	}
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, all)
	_, err := p.Logs.GetLogEvents(t.Context(), &cwl.GetLogEventsInput{LogGroupName: group, LogStreamName: stream, NextToken: aws.String("x")})
	require.ErrorContains(t, err, "The specified nextToken is invalid.")
}

func TestFilterLogEvents(t *testing.T) {
	p := createStream(t, "GET /a 200", "GET /b 500", "POST /b 500 slow", "panic: out of memory")
	tests := map[string]struct {
		pattern string
		want    int
	}{
		"everything":   {"", 4},
		"word":         {"GET", 2},
		"all words":    {"GET 500", 1},
		"any word":     {"?POST ?panic", 2},
		"but not":      {"500 -slow", 1},
		"phrase":       {`"out of memory"`, 1},
		"phrase as is": {`"memory of out"`, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := p.Logs.FilterLogEvents(t.Context(), &cwl.FilterLogEventsInput{LogGroupName: group, FilterPattern: &test.pattern})
			require.NoError(t, err)
			require.Len(t, out.Events, test.want)
		})
	}
	for _, in := range []cwl.FilterLogEventsInput{{LogStreamNamePrefix: aws.String("db/")}, {StartTime: aws.Int64(5000)}} {
		in.LogGroupName = group
		out, err := p.Logs.FilterLogEvents(t.Context(), &in)
		require.NoError(t, err)
		require.Empty(t, out.Events)
	}
	_, err := p.Logs.FilterLogEvents(t.Context(), &cwl.FilterLogEventsInput{LogGroupName: group, FilterPattern: aws.String("{ $.level = error }")})
	require.ErrorContains(t, err, "the embedded AWS supports only words and phrases")
}

func TestGroupsAndStreams(t *testing.T) {
	p := createStream(t, "a")
	ctx := t.Context()
	_, err := p.Logs.CreateLogGroup(ctx, &cwl.CreateLogGroupInput{LogGroupName: group})
	var exists *types.ResourceAlreadyExistsException
	require.ErrorAs(t, err, &exists)
	_, err = p.Logs.CreateLogStream(ctx, &cwl.CreateLogStreamInput{LogGroupName: group, LogStreamName: stream})
	require.ErrorAs(t, err, &exists)
	_, err = p.Logs.CreateLogStream(ctx, &cwl.CreateLogStreamInput{LogGroupName: group, LogStreamName: aws.String("web/2")})
	require.NoError(t, err)
	_, err = p.Logs.PutRetentionPolicy(ctx, &cwl.PutRetentionPolicyInput{LogGroupName: group, RetentionInDays: aws.Int32(14)})
	require.NoError(t, err)
	groups, err := p.Logs.DescribeLogGroups(ctx, &cwl.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/a")})
	require.NoError(t, err)
	require.Equal(t, int32(14), *groups.LogGroups[0].RetentionInDays)
	require.Equal(t, "arn:aws:logs:us-east-1:000000000000:log-group:/app", *groups.LogGroups[0].LogGroupArn)
	none, err := p.Logs.DescribeLogGroups(ctx, &cwl.DescribeLogGroupsInput{LogGroupNamePrefix: aws.String("/b")})
	require.NoError(t, err)
	require.Empty(t, none.LogGroups)

	_, err = p.Logs.TagResource(ctx, &cwl.TagResourceInput{ResourceArn: groups.LogGroups[0].LogGroupArn, Tags: map[string]string{"b": "2"}})
	require.NoError(t, err)
	tags, err := p.Logs.ListTagsForResource(ctx, &cwl.ListTagsForResourceInput{ResourceArn: groups.LogGroups[0].LogGroupArn})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, tags.Tags)

	streams, err := p.Logs.DescribeLogStreams(ctx, &cwl.DescribeLogStreamsInput{LogGroupName: group, OrderBy: types.OrderByLastEventTime, Descending: aws.Bool(true)})
	require.NoError(t, err)
	require.Equal(t, "web/1", *streams.LogStreams[0].LogStreamName)
	require.Equal(t, int64(1000), *streams.LogStreams[0].LastEventTimestamp)
	require.Len(t, streams.LogStreams, 2)
	_, err = p.Logs.DeleteLogStream(ctx, &cwl.DeleteLogStreamInput{LogGroupName: group, LogStreamName: stream})
	require.NoError(t, err)
	_, err = p.Logs.DeleteLogGroup(ctx, &cwl.DeleteLogGroupInput{LogGroupName: group})
	require.NoError(t, err)
}

func TestNotFound(t *testing.T) {
	p := createStream(t)
	ctx, none := t.Context(), aws.String("none")
	for name, err := range map[string]error{
		"delete group":     second(p.Logs.DeleteLogGroup(ctx, &cwl.DeleteLogGroupInput{LogGroupName: none})),
		"retention":        second(p.Logs.PutRetentionPolicy(ctx, &cwl.PutRetentionPolicyInput{LogGroupName: none, RetentionInDays: aws.Int32(1)})),
		"create stream":    second(p.Logs.CreateLogStream(ctx, &cwl.CreateLogStreamInput{LogGroupName: none, LogStreamName: none})),
		"delete stream":    second(p.Logs.DeleteLogStream(ctx, &cwl.DeleteLogStreamInput{LogGroupName: group, LogStreamName: none})),
		"describe streams": second(p.Logs.DescribeLogStreams(ctx, &cwl.DescribeLogStreamsInput{LogGroupName: none})),
		"get":              second(p.Logs.GetLogEvents(ctx, &cwl.GetLogEventsInput{LogGroupName: group, LogStreamName: none})),
		"put":              second(p.Logs.PutLogEvents(ctx, &cwl.PutLogEventsInput{LogGroupName: none, LogStreamName: none, LogEvents: []types.InputLogEvent{}})),
		"filter":           second(p.Logs.FilterLogEvents(ctx, &cwl.FilterLogEventsInput{LogGroupName: none})),
		"filter a stream":  second(p.Logs.FilterLogEvents(ctx, &cwl.FilterLogEventsInput{LogGroupName: group, LogStreamNames: []string{*stream, "none"}})),
		"tag":              second(p.Logs.TagResource(ctx, &cwl.TagResourceInput{ResourceArn: none, Tags: map[string]string{}})),
		"tags":             second(p.Logs.ListTagsForResource(ctx, &cwl.ListTagsForResourceInput{ResourceArn: none})),
	} {
		var missing *types.ResourceNotFoundException
		require.ErrorAs(t, err, &missing, name)
	}
}

func second[T any](_ T, err error) error { return err }

func TestStreamSizeLimit(t *testing.T) {
	s := logs.NewStore(wire.Scope{})
	require.Error(t, s.OpenStream("g", "s", false))
	require.NoError(t, s.OpenStream("g", "s", true))
	require.NoError(t, s.OpenStream("g", "s", false), "it is there now")
	line := strings.Repeat("x", 1000)
	for range 5000 {
		s.Write("g", "s", time.Now(), line)
	}
	s.Write("g", "none", time.Now(), "lost")
	require.LessOrEqual(t, s.Size("g", "s"), 1<<20)
	require.Greater(t, s.Size("g", "s"), 1<<19)
}
