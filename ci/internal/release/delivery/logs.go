package delivery

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// LogOptions select lines of logs.
type LogOptions struct {
	// Since is how far to look back; 0 means [DefaultLogSince].
	Since time.Duration
	// Task is the id or ARN of the only task; of an id, the beginning is enough.
	Task string
	// SHA is the full id of the commit whose tasks are shown.
	SHA string
	// Follow, if set, is called with new lines until ctx ends or it returns false.
	Follow func([]report.LogLine) (more bool)
}

// DefaultLogSince is how far logs look back by default.
const DefaultLogSince = 10 * time.Minute

// Limits on reads of logs. A release may run meanwhile and use the same quotas.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html
const (
	maxLogLines   = 100_000
	logPause      = 2 * time.Second
	followOverlap = 15 * time.Second // lines may appear late
)

// logSource is the log of a container in all of a service's tasks.
type logSource struct {
	service, container string
	main               bool
	group, prefix      string
	tasks              []string // ids; nil means all
	task               string   // what the ids of all tasks begin with
}

// taskIDLength is the length of a task's id.
const taskIDLength = 32

// taskID matches a task's id or ARN.
var taskID = regexp.MustCompile(`^(?:arn:aws[a-z-]*:ecs:[a-z0-9-]+:\d+:task/(?:[\w-]+/)?)?([0-9A-Za-z-]+)$`)

// Logs returns the lines of the services' containers.
func (d Delivery) Logs(ctx context.Context, o LogOptions) (report.Logs, error) {
	if o.Since < 0 {
		return report.Logs{}, outcome.Usagef("invalid --since %s: want a duration such as %s", o.Since, DefaultLogSince)
	}
	sources, notes, err := d.logSources(ctx, o)
	if err != nil {
		return report.Logs{}, awsauth.Explain(err)
	}
	since := d.clock().Now().Add(-cmp.Or(o.Since, DefaultLogSince))
	reader := logReader{Delivery: d, most: maxLogLines, seen: map[string]int64{}, missing: map[string]bool{}}
	lines, err := reader.read(ctx, sources, since)
	if err != nil {
		return report.Logs{}, awsauth.Explain(err)
	}
	if o.Task != "" && len(lines) == 0 && !reader.found {
		if err := d.checkTask(ctx, o); err != nil {
			return report.Logs{}, awsauth.Explain(err)
		}
	}
	for _, s := range sources {
		if s.tasks != nil && reader.found { // a task's log is in one group only
			continue
		}
		if note := "log group " + s.group + " does not exist, or has no stream of the task"; reader.missing[s.group] && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	if len(lines) == 0 && len(notes) == 0 && o.Follow == nil {
		notes = append(notes, fmt.Sprintf("no lines in the last %s: choose a longer --since", cmp.Or(o.Since, DefaultLogSince)))
	}
	logs := report.Logs{Lines: lines, Notes: notes}
	if len(lines) > maxLogLines {
		logs.Lines, logs.Notes = lines[len(lines)-maxLogLines:], slices.Concat(notes, []string{fmt.Sprintf("only the last %d lines are shown: name a service, or choose a shorter --since", maxLogLines)})
	}
	for _, note := range logs.Notes {
		d.Recorder.Event("", note)
	}
	if o.Follow == nil {
		return logs, nil
	}
	if !o.Follow(logs.Lines) {
		return logs, nil
	}
	return logs, awsauth.Explain(reader.follow(ctx, sources, since, o.Follow))
}

// checkTask returns an error if ECS lists no task that o selects.
func (d Delivery) checkTask(ctx context.Context, o LogOptions) error {
	id := taskID.FindStringSubmatch(o.Task)[1]
	var names []string
	for _, s := range d.Services {
		if known, err := d.engine().HasTask(ctx, s, id); known || err != nil {
			return err
		}
		names = append(names, s.Name)
	}
	return fmt.Errorf("no task %q of %s: ECS lists none, and CloudWatch has no lines of it in the last %s: check the id, or choose a longer --since",
		o.Task, strings.Join(names, ", "), cmp.Or(o.Since, DefaultLogSince))
}

// logSources returns the logs of the selected services.
func (d Delivery) logSources(ctx context.Context, o LogOptions) (sources []logSource, notes []string, err error) {
	var tasks []string
	begin := ""
	if o.Task != "" {
		match := taskID.FindStringSubmatch(o.Task)
		if match == nil {
			return nil, nil, outcome.Usagef("invalid --task %q: want the id or ARN of a task", o.Task)
		}
		if begin = match[1]; len(begin) >= taskIDLength {
			tasks, begin = []string{begin}, ""
		}
	}
	sha := ""
	if o.SHA != "" {
		if sha, err = d.Source.Resolve(ctx, o.SHA); err != nil {
			return nil, nil, err
		}
	}
	var without []string
	var failed error
	for _, s := range d.Services {
		definition, _, err := d.runningTask(ctx, s)
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if err != nil { // the logs of the others are shown
			failed = cmp.Or(failed, err)
			notes = append(notes, fmt.Sprintf("no log of %s: %s", s.Name, leak.Redact(awsauth.Explain(err).Error())))
			continue
		}
		of := tasks
		if sha != "" {
			known, err := d.engine().TasksOf(ctx, s, sha)
			if err != nil {
				return nil, nil, err
			}
			if of = slices.DeleteFunc(known, func(id string) bool {
				return tasks != nil && !slices.Contains(tasks, id) || !strings.HasPrefix(id, begin)
			}); len(of) == 0 {
				notes = append(notes, fmt.Sprintf("%s: ECS knows no task of commit %s: it shows stopped tasks for about an hour", s.Name, sha))
				continue
			}
		}
		found := false
		for _, c := range definition.ContainerDefinitions {
			if group, prefix := rollout.LogGroup(c); group != "" {
				found = true
				name := aws.ToString(c.Name)
				sources = append(sources, logSource{service: s.Name, container: name, main: name == s.ContainerName(), group: group, prefix: prefix, tasks: of, task: begin})
			}
		}
		if !found {
			without = append(without, s.Name)
		}
	}
	if len(sources) == 0 && failed != nil {
		return nil, nil, failed
	}
	if len(without) == 0 {
		return sources, notes, nil
	}
	note := fmt.Sprintf("no log of %s: no container uses the awslogs driver, so CloudWatch does not have it", strings.Join(without, ", "))
	if len(sources) == 0 && len(notes) == 0 {
		return nil, nil, fmt.Errorf("%s", note)
	}
	return sources, append(notes, note), nil
}

// logReader reads each line of a log once.
type logReader struct {
	Delivery
	most    int              // events of a source that are kept, plus one
	seen    map[string]int64 // times of the events that may be read again, by id
	missing map[string]bool  // log groups without a stream
	found   bool             // the stream of a selected task was read
	last    time.Time        // of the newest line
}

// read returns the new lines of all sources since a time, by time.
func (r *logReader) read(ctx context.Context, sources []logSource, since time.Time) ([]report.LogLine, error) {
	maps.DeleteFunc(r.seen, func(_ string, at int64) bool { return at < since.UnixMilli() })
	var lines []report.LogLine
	for _, s := range sources {
		found, err := r.readOne(ctx, s, since)
		if err != nil {
			return nil, err
		}
		lines = append(lines, found...)
	}
	slices.SortStableFunc(lines, func(a, b report.LogLine) int { return a.At.Compare(b.At) })
	if len(lines) > 0 && lines[len(lines)-1].At.After(r.last) {
		r.last = lines[len(lines)-1].At
	}
	return lines, nil
}

// maxStreams is how many streams FilterLogEvents takes.
const maxStreams = 100

// readOne returns the new lines of a source, by stream.
func (r *logReader) readOne(ctx context.Context, s logSource, since time.Time) ([]report.LogLine, error) {
	input := &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &s.group, StartTime: aws.Int64(max(0, since.UnixMilli()))}
	if s.tasks == nil {
		input.LogStreamNamePrefix = aws.String(s.prefix + s.task)
	}
	for _, id := range s.tasks[:min(len(s.tasks), maxStreams)] {
		input.LogStreamNames = append(input.LogStreamNames, s.prefix+id)
	}
	events, err := r.events(ctx, input)
	if err != nil {
		return nil, fmt.Errorf("reading log group %s: %w", s.group, err)
	}
	streams := map[string][]report.LogLine{}
	for _, event := range events {
		stream := aws.ToString(event.LogStreamName)
		streams[stream] = append(streams[stream], s.lines(event)...)
	}
	var lines []report.LogLine
	for _, stream := range streams {
		lines = append(lines, redactLog(stream)...)
	}
	return lines, nil
}

// events returns the new events, of many the last ones. CloudWatch refuses a call that
// names a stream which does not exist, such as that of a task which did not start: the
// others are then read one by one.
func (r *logReader) events(ctx context.Context, input *cloudwatchlogs.FilterLogEventsInput) (events []logstypes.FilteredLogEvent, err error) {
	for {
		out, err := r.filter(ctx, input)
		switch {
		case rollout.IsCode(err, "ResourceNotFoundException") && len(input.LogStreamNames) > 1:
			for _, name := range input.LogStreamNames {
				one := *input
				one.LogStreamNames = []string{name}
				more, err := r.events(ctx, &one)
				if err != nil {
					return nil, err
				}
				events = append(events, more...)
			}
			return events, nil
		case rollout.IsCode(err, "ResourceNotFoundException"):
			r.missing[*input.LogGroupName] = true
			return events, nil
		case err != nil:
			return nil, err
		}
		r.found = r.found || len(input.LogStreamNames) > 0
		for _, event := range out.Events {
			id := aws.ToString(event.EventId)
			if _, seen := r.seen[id]; !seen {
				r.seen[id] = aws.ToInt64(event.Timestamp)
				events = append(events, event)
			}
		}
		if excess := len(events) - r.most - 1; excess > 0 { // one more than is shown, so that a note says so
			for _, event := range events[:excess] {
				delete(r.seen, aws.ToString(event.EventId))
			}
			events = slices.Delete(events, 0, excess)
		}
		if input.NextToken = out.NextToken; out.NextToken == nil {
			return events, nil
		}
	}
}

func (s logSource) lines(event logstypes.FilteredLogEvent) []report.LogLine {
	var lines []report.LogLine
	for line := range strings.SplitSeq(strings.TrimRight(aws.ToString(event.Message), "\r\n"), "\n") {
		lines = append(lines, report.LogLine{
			At: time.UnixMilli(aws.ToInt64(event.Timestamp)).UTC(), Service: s.service, Container: s.container, Main: s.main,
			Task: machine.ShortARN(aws.ToString(event.LogStreamName)), Text: line,
		})
	}
	return lines
}

// redactLog redacts the lines of one stream: a secret may span several, which become one.
func redactLog(lines []report.LogLine) []report.LogLine {
	var texts []string
	for _, line := range lines {
		texts = append(texts, line.Text)
	}
	var redacted []report.LogLine
	for n, text := range leak.RedactLines(texts) {
		line := lines[min(n, len(lines)-1)]
		line.Text = text
		redacted = append(redacted, line)
	}
	return redacted
}

// filter makes one call, and repeats it if it was throttled or had no response.
func (r *logReader) filter(ctx context.Context, input *cloudwatchlogs.FilterLogEventsInput) (out *cloudwatchlogs.FilterLogEventsOutput, err error) {
	err = rollout.Retry(ctx, r.clock(), r.Account.renew, func(ctx context.Context) (err error) {
		out, err = r.Account.logs.FilterLogEvents(ctx, input)
		return err
	})
	return out, err
}

// follow shows new lines until ctx ends or show returns false.
func (r *logReader) follow(ctx context.Context, sources []logSource, since time.Time, show func([]report.LogLine) bool) error {
	pause := max(logPause, time.Duration(len(sources))*500*time.Millisecond)
	for {
		if err := r.clock().Sleep(ctx, pause); err != nil {
			return err
		}
		if from := r.last.Add(-followOverlap); from.After(since) {
			since = from
		}
		lines, err := r.read(ctx, sources, since)
		if err != nil {
			return err
		}
		if !show(lines) {
			return nil
		}
	}
}
