package logs

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	cwl "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Service returns the CloudWatch Logs API.
func (s *Store) Service() wire.Service {
	return wire.Service{
		Name:   "logs",
		Target: "Logs_20140328",
		Operations: []wire.Operation{
			wire.NewLockedOperation(&s.mu, "CreateLogGroup", s.createLogGroup),
			wire.NewLockedOperation(&s.mu, "DeleteLogGroup", s.deleteLogGroup),
			wire.NewLockedOperation(&s.mu, "DescribeLogGroups", s.describeLogGroups),
			wire.NewLockedOperation(&s.mu, "PutRetentionPolicy", s.putRetentionPolicy),
			wire.NewLockedOperation(&s.mu, "TagResource", s.tagResource),
			wire.NewLockedOperation(&s.mu, "ListTagsForResource", s.listTagsForResource),
			wire.NewLockedOperation(&s.mu, "CreateLogStream", s.createLogStream),
			wire.NewLockedOperation(&s.mu, "DescribeLogStreams", s.describeLogStreams),
			wire.NewLockedOperation(&s.mu, "DeleteLogStream", s.deleteLogStream),
			wire.NewLockedOperation(&s.mu, "PutLogEvents", s.putLogEvents),
			wire.NewLockedOperation(&s.mu, "GetLogEvents", s.getLogEvents),
			wire.NewLockedOperation(&s.mu, "FilterLogEvents", s.filterLogEvents),
		},
	}
}

// requestGroup returns the name of a call's log group, which may be given as ARN.
func (s *Store) requestGroup(ctx context.Context, name, identifier *string) string {
	group := s.groupName(name, identifier)
	wire.AddResources(ctx, s.arn(group))
	return group
}

func (s *Store) groupName(name, identifier *string) string {
	if group := aws.ToString(name); group != "" {
		return group
	}
	return strings.TrimSuffix(strings.TrimPrefix(aws.ToString(identifier), s.arn("")), ":*")
}

func (s *Store) createLogGroup(ctx context.Context, in *cwl.CreateLogGroupInput) (*cwl.CreateLogGroupOutput, error) {
	name := s.requestGroup(ctx, in.LogGroupName, nil)
	if name == "" {
		return nil, wire.Errorf("InvalidParameterException", "1 validation error detected: Value '' at 'logGroupName' failed to satisfy constraint: Member must have length greater than or equal to 1")
	}
	if _, ok := s.groups[name]; ok {
		return nil, wire.Errorf("ResourceAlreadyExistsException", "The specified log group already exists")
	}
	g := newGroup(name)
	maps.Copy(g.tags, in.Tags)
	s.groups[name] = g
	return &cwl.CreateLogGroupOutput{}, nil
}

func (s *Store) deleteLogGroup(ctx context.Context, in *cwl.DeleteLogGroupInput) (*cwl.DeleteLogGroupOutput, error) {
	name := s.requestGroup(ctx, in.LogGroupName, nil)
	if _, err := s.group(name); err != nil {
		return nil, err
	}
	delete(s.groups, name)
	return &cwl.DeleteLogGroupOutput{}, nil
}

func (s *Store) describeLogGroups(ctx context.Context, in *cwl.DescribeLogGroupsInput) (*cwl.DescribeLogGroupsOutput, error) {
	wire.AddResources(ctx, s.arn("*"))
	all := []types.LogGroup{}
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		if !strings.HasPrefix(name, aws.ToString(in.LogGroupNamePrefix)) || !strings.Contains(name, aws.ToString(in.LogGroupNamePattern)) {
			continue
		}
		g, size := s.groups[name], int64(0)
		for _, st := range g.streams {
			size += int64(st.bytes)
		}
		all = append(all, types.LogGroup{
			LogGroupName: &name, Arn: new(s.arn(name) + ":*"), LogGroupArn: new(s.arn(name)), CreationTime: new(g.created.UnixMilli()),
			RetentionInDays: g.retention, StoredBytes: &size, MetricFilterCount: new(int32(0)), LogGroupClass: types.LogGroupClassStandard,
		})
	}
	page, next, err := wire.Paginate(all, in.NextToken, in.Limit, 50)
	return &cwl.DescribeLogGroupsOutput{LogGroups: page, NextToken: next}, err
}

func (s *Store) putRetentionPolicy(ctx context.Context, in *cwl.PutRetentionPolicyInput) (*cwl.PutRetentionPolicyOutput, error) {
	name := s.requestGroup(ctx, in.LogGroupName, nil)
	g, err := s.group(name)
	if err != nil {
		return nil, err
	}
	g.retention = in.RetentionInDays
	return &cwl.PutRetentionPolicyOutput{}, nil
}

func (s *Store) tagResource(ctx context.Context, in *cwl.TagResourceInput) (*cwl.TagResourceOutput, error) {
	name := s.requestGroup(ctx, nil, in.ResourceArn)
	g, err := s.group(name)
	if err != nil {
		return nil, err
	}
	maps.Copy(g.tags, in.Tags)
	return &cwl.TagResourceOutput{}, nil
}

func (s *Store) listTagsForResource(ctx context.Context, in *cwl.ListTagsForResourceInput) (*cwl.ListTagsForResourceOutput, error) {
	name := s.requestGroup(ctx, nil, in.ResourceArn)
	g, err := s.group(name)
	if err != nil {
		return nil, err
	}
	return &cwl.ListTagsForResourceOutput{Tags: maps.Clone(g.tags)}, nil
}

func (s *Store) createLogStream(ctx context.Context, in *cwl.CreateLogStreamInput) (*cwl.CreateLogStreamOutput, error) {
	group := s.requestGroup(ctx, in.LogGroupName, nil)
	g, err := s.group(group)
	if err != nil {
		return nil, err
	}
	name := aws.ToString(in.LogStreamName)
	if _, ok := g.streams[name]; ok {
		return nil, wire.Errorf("ResourceAlreadyExistsException", "The specified log stream already exists")
	}
	g.streams[name] = newStream(name)
	return &cwl.CreateLogStreamOutput{}, nil
}

func (s *Store) deleteLogStream(ctx context.Context, in *cwl.DeleteLogStreamInput) (*cwl.DeleteLogStreamOutput, error) {
	group := s.requestGroup(ctx, in.LogGroupName, nil)
	if _, err := s.stream(group, aws.ToString(in.LogStreamName)); err != nil {
		return nil, err
	}
	delete(s.groups[group].streams, aws.ToString(in.LogStreamName))
	return &cwl.DeleteLogStreamOutput{}, nil
}

func (s *Store) describeLogStreams(ctx context.Context, in *cwl.DescribeLogStreamsInput) (*cwl.DescribeLogStreamsOutput, error) {
	group := s.requestGroup(ctx, in.LogGroupName, in.LogGroupIdentifier)
	g, err := s.group(group)
	if err != nil {
		return nil, err
	}
	all := []types.LogStream{}
	for _, st := range g.sortedStreams() {
		if strings.HasPrefix(st.name, aws.ToString(in.LogStreamNamePrefix)) {
			all = append(all, s.describe(group, st))
		}
	}
	if in.OrderBy == types.OrderByLastEventTime {
		slices.SortStableFunc(all, func(a, b types.LogStream) int {
			return int(aws.ToInt64(a.LastEventTimestamp) - aws.ToInt64(b.LastEventTimestamp))
		})
	}
	if aws.ToBool(in.Descending) {
		slices.Reverse(all)
	}
	page, next, err := wire.Paginate(all, in.NextToken, in.Limit, 50)
	return &cwl.DescribeLogStreamsOutput{LogStreams: page, NextToken: next}, err
}

func (s *Store) describe(group string, st *stream) types.LogStream {
	out := types.LogStream{
		LogStreamName: &st.name, Arn: new(s.arn(group) + ":log-stream:" + st.name),
		CreationTime: new(st.created.UnixMilli()),
	}
	if n := len(st.events); n > 0 {
		// Copies: events move when older ones arrive late.
		out.FirstEventTimestamp, out.LastEventTimestamp = new(st.events[0].timestamp), new(st.events[n-1].timestamp)
		out.LastIngestionTime = new(st.events[n-1].ingested)
	}
	return out
}

func (s *Store) putLogEvents(ctx context.Context, in *cwl.PutLogEventsInput) (*cwl.PutLogEventsOutput, error) {
	group := s.requestGroup(ctx, in.LogGroupName, nil)
	st, err := s.stream(group, aws.ToString(in.LogStreamName))
	if err != nil {
		return nil, err
	}
	for _, e := range in.LogEvents {
		s.add(st, aws.ToInt64(e.Timestamp), aws.ToString(e.Message))
	}
	return &cwl.PutLogEventsOutput{}, nil
}
