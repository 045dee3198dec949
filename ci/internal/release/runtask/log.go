package runtask

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// Limits on reads of a log.
const (
	pageLimit  = 20 // pages of one read, of up to 1 MB each
	drainPause = 500 * time.Millisecond
	drainTries = 10 // until the log of a container that has ended has appeared
	drainReads = 30 // reads of it
	logTimeout = 15 * time.Second
)

// tail reads the log of one container while it is written.
type tail struct {
	Runner
	group, stream string
	next          *string
	received      bool // a line was read
	unreadable    bool
	last          []string
}

func (r Runner) newTail(s Spec, container, task string) tail {
	t := tail{Runner: r}
	t.group, t.stream = s.containers().LogStream(container, task)
	if t.unreadable = t.group == ""; t.unreadable {
		r.Event(fmt.Sprintf("no log: container %s does not use the awslogs driver", container))
	}
	return t
}

// read reads what is new. CloudWatch returns the same token at the end of the stream.
func (t *tail) read(ctx context.Context) (read bool) {
	for range pageLimit {
		if t.unreadable {
			return read
		}
		var out *cloudwatchlogs.GetLogEventsOutput
		err := withTimeout(ctx, logTimeout, func(ctx context.Context) (err error) {
			out, err = t.Logs.GetLogEvents(ctx, &cloudwatchlogs.GetLogEventsInput{
				LogGroupName: &t.group, LogStreamName: &t.stream, StartFromHead: aws.Bool(true), NextToken: t.next,
			})
			return err
		})
		t.renew(err)
		switch {
		case err == nil:
		case rollout.IsCode(err, "ResourceNotFoundException"): // not yet written to
			return read
		case rollout.CallStatus(err) == machine.Rejected && ctx.Err() == nil:
			t.unreadable = true
			t.Event(fmt.Sprintf("no log: cannot read stream %s of log group %s: %s", t.stream, t.group, t.explain(err)))
			return read
		default: // read again with the next poll
			return read
		}
		if len(out.Events) > 0 {
			read = true
			t.add(rollout.LogLines(out.Events))
		}
		end := aws.ToString(out.NextForwardToken) == aws.ToString(t.next)
		if t.next = out.NextForwardToken; end || t.next == nil {
			return read
		}
	}
	return read
}

func (t *tail) add(lines []string) {
	t.received = true
	if t.Output != nil {
		t.Output(lines)
	}
	t.last = append(t.last, lines...)
	t.last = t.last[max(0, len(t.last)-rollout.LogTailLines):]
}

// drain reads the rest of the log of a container that has ended: it may appear a little
// later.
func (t *tail) drain(ctx context.Context) {
	t.read(ctx)
	for try := 1; !t.unreadable; try++ {
		if err := t.Clock.Sleep(ctx, drainPause); err != nil {
			return
		}
		if read := t.read(ctx); !read && (t.received || try >= drainTries) || try == drainReads {
			return
		}
	}
}

// readLast returns the last lines of the log, or nil: the cause is known without them.
func (t *tail) readLast(ctx context.Context) (lines []string) {
	if t.unreadable {
		return nil
	}
	_ = withTimeout(ctx, logTimeout, func(ctx context.Context) (err error) {
		lines, err = rollout.LogTail(ctx, t.Logs, t.group, t.stream)
		return err
	})
	return lines
}
