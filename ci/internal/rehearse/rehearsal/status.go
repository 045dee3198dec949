package rehearsal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// statusInterval is how often the status is shown.
const statusInterval = 250 * time.Millisecond

// reportStatus shows tasks and requests until stop is called.
func (r *rehearsal) reportStatus(ctx context.Context, load *traffic) (stop func()) {
	if !r.options.Live {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var recent shares
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(statusInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				r.recorder.Status(nil)
				return
			case <-ticker.C:
				r.recorder.Status(append(r.taskLines(ctx), trafficLine(load)+recent.add(r.requestsByVersion())))
			}
		}
	}()
	return func() { cancel(); <-done }
}

func trafficLine(load *traffic) string {
	count := load.count()
	return fmt.Sprintf("  %d requests served, %d failed", count.Served, count.Failed)
}

// shares are the requests by version of the last moments, the oldest first.
type shares []map[string]versionRequests

// recentShares is how many of them are kept: those of two seconds.
const recentShares = int(2 * time.Second / statusInterval)

// add adds the requests so far and returns each new version's share of the recent ones.
func (s *shares) add(now map[string]versionRequests) (text string) {
	*s = append(*s, now)
	*s = (*s)[max(0, len(*s)-recentShares):]
	for _, name := range slices.Sorted(maps.Keys(now)) {
		next := now[name].next - (*s)[0][name].next
		if all := next + now[name].previous - (*s)[0][name].previous; all > 0 {
			text += fmt.Sprintf(", %s %.0f %%", name, 100*float64(next)/float64(all))
		}
	}
	if text != "" {
		text = "; to the new version:" + text[1:]
	}
	return text
}

// taskLines returns one line for each service with the tasks of its deployments. It
// omits a service that cannot be read: the release reports errors.
func (r *rehearsal) taskLines(ctx context.Context) []string {
	var lines []string
	for _, s := range r.options.Platform.Services {
		if s.IsJob() {
			continue
		}
		out, err := r.environment.ecs.DescribeServices(ctx, &ecs.DescribeServicesInput{
			Cluster: aws.String(s.ClusterName()), Services: []string{s.ServiceName()},
		})
		if err != nil || len(out.Services) == 0 {
			continue
		}
		line := fmt.Sprintf("  %-12s", s.Name)
		for _, d := range out.Services[0].Deployments {
			line += "  " + describeDeployment(d)
		}
		lines = append(lines, line)
	}
	return lines
}

// describeDeployment returns a deployment's revision with a symbol for each running and
// each missing task.
func describeDeployment(d ecstypes.Deployment) string {
	definition := aws.ToString(d.TaskDefinition)
	missing := max(0, d.DesiredCount-d.RunningCount)
	return fmt.Sprintf("%s %s%s", definition[strings.LastIndex(definition, "/")+1:],
		strings.Repeat("●", int(d.RunningCount)), strings.Repeat("○", int(missing)))
}
