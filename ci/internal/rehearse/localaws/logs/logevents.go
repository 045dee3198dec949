package logs

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// maxEvents is the maximum number of events in one response.
const maxEvents = 10_000

func (s *Store) getLogEvents(ctx context.Context, in *cwl.GetLogEventsInput) (*cwl.GetLogEventsOutput, error) {
	group := s.groupName(in.LogGroupName, in.LogGroupIdentifier)
	wire.AddResources(ctx, s.arn(group)+":log-stream:"+aws.ToString(in.LogStreamName))
	st, err := s.stream(group, aws.ToString(in.LogStreamName))
	if err != nil {
		return nil, err
	}
	events := st.between(in.StartTime, in.EndTime)
	limit := int(cmp.Or(aws.ToInt32(in.Limit), maxEvents))
	from, to := max(0, len(events)-limit), len(events)
	if aws.ToBool(in.StartFromHead) {
		from, to = 0, min(limit, len(events))
	}
	if in.NextToken != nil {
		direction, text, _ := strings.Cut(*in.NextToken, "/")
		at, err := strconv.Atoi(text)
		if err != nil {
			return nil, wire.Errorf("InvalidParameterException", "The specified nextToken is invalid.")
		}
		at = min(max(0, at-st.dropped), len(events))
		from, to = at, min(at+limit, len(events))
		if direction == "b" {
			from, to = max(0, at-limit), at
		}
	}
	out := &cwl.GetLogEventsOutput{
		Events: []types.OutputLogEvent{},
		// At either end the token repeats, by which clients recognise the end.
		NextForwardToken:  new(fmt.Sprintf("f/%056d", to+st.dropped)),
		NextBackwardToken: new(fmt.Sprintf("b/%056d", from+st.dropped)),
	}
	for _, e := range events[from:to] {
		out.Events = append(out.Events, types.OutputLogEvent{Timestamp: new(e.timestamp), Message: new(e.text), IngestionTime: new(e.ingested)})
	}
	return out, nil
}

func (s *Store) filterLogEvents(ctx context.Context, in *cwl.FilterLogEventsInput) (*cwl.FilterLogEventsOutput, error) {
	group := s.groupName(in.LogGroupName, in.LogGroupIdentifier)
	// IAM decides about all streams of the group.
	// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/iam-access-control-overview-cwl.html
	wire.AddResources(ctx, s.arn(group)+":*")
	match, err := compileFilterPattern(aws.ToString(in.FilterPattern))
	if err != nil {
		return nil, err
	}
	g, err := s.group(group)
	if err != nil {
		return nil, err
	}
	for _, name := range in.LogStreamNames {
		if _, err := s.stream(group, name); err != nil {
			return nil, err
		}
	}
	all := []types.FilteredLogEvent{}
	for _, st := range g.sortedStreams() {
		if !strings.HasPrefix(st.name, aws.ToString(in.LogStreamNamePrefix)) ||
			len(in.LogStreamNames) > 0 && !slices.Contains(in.LogStreamNames, st.name) {
			continue
		}
		for _, e := range st.between(in.StartTime, in.EndTime) {
			if match(e.text) {
				all = append(all, types.FilteredLogEvent{
					EventId: new(fmt.Sprintf("%056d", e.id)), LogStreamName: &st.name, Timestamp: new(e.timestamp),
					IngestionTime: new(e.ingested), Message: new(e.text),
				})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b types.FilteredLogEvent) int { return cmp.Compare(*a.Timestamp, *b.Timestamp) })
	page, next, err := wire.Paginate(all, in.NextToken, in.Limit, maxEvents)
	return &cwl.FilterLogEventsOutput{Events: page, NextToken: next, SearchedLogStreams: []types.SearchedLogStream{}}, err
}

var filterTerm = regexp.MustCompile(`([?-]?)("[^"]*"|\S+)`)

// compileFilterPattern compiles an unstructured filter pattern: words and "phrases" that
// must all occur, ?words of which one must, and -words that must not.
func compileFilterPattern(text string) (func(string) bool, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") || strings.HasPrefix(text, "%") {
		return nil, wire.Errorf("InvalidParameterException", "Invalid filter pattern: the embedded AWS supports only words and phrases")
	}
	var must, some, not []string
	for _, m := range filterTerm.FindAllStringSubmatch(text, -1) {
		word := strings.Trim(m[2], `"`)
		switch m[1] {
		case "?":
			some = append(some, word)
		case "-":
			not = append(not, word)
		default:
			must = append(must, word)
		}
	}
	return func(line string) bool {
		has := func(word string) bool { return strings.Contains(line, word) }
		lacks := func(word string) bool { return !has(word) }
		return !slices.ContainsFunc(must, lacks) && !slices.ContainsFunc(not, has) && (len(some) == 0 || slices.ContainsFunc(some, has))
	}, nil
}
