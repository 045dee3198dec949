package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// history parses the deployments of a service, a day apart, each of ten minutes: "2=r1:ok" is
// one of revision 2, which release r1 has registered, and "2" repeats a revision with its
// release.
func history(text string) (all []taggedDeployment) {
	statuses := map[string]types.ServiceDeploymentStatus{
		"ok": types.ServiceDeploymentStatusSuccessful, "back": types.ServiceDeploymentStatusRollbackSuccessful, "stopped": types.ServiceDeploymentStatusStopped,
		"stuck": types.ServiceDeploymentStatusRollbackFailed, "runs": types.ServiceDeploymentStatusInProgress,
	}
	released := map[string]string{}
	for n, field := range strings.Fields(text) {
		what, status, _ := strings.Cut(field, ":")
		revision, release, named := strings.Cut(what, "=")
		if named {
			released[revision] = release
		}
		d := taggedDeployment{
			at: time.Unix(1e9, 0).Add(time.Duration(n) * 24 * time.Hour), status: statuses[status], revision: "arn:aws:ecs:x:1:task-definition/f:" + revision,
			tags: releaseTags{release: released[revision], sha: "commit of " + released[revision]},
		}
		if d.finished = d.at.Add(10 * time.Minute); status == "runs" {
			d.finished = time.Time{}
		}
		all = append(all, d)
	}
	return all
}

// describe lists the releases of services, oldest first: "r1 failed 600" was restored after
// 600 s.
func describe(histories map[string]string) (all []string, other int) {
	attempts := map[attemptKey]*attempt{}
	for service, text := range histories {
		other += addAttempts(attempts, service, history(text))
	}
	for key, a := range attempts {
		r := a.release(key.release)
		line := fmt.Sprintf("%s %s", r.At.Format("0102"), r.Release)
		if key.again > 0 {
			line += "'"
		}
		if line += " " + string(r.Result); r.Restore != nil {
			line += fmt.Sprintf(" %d", *r.Restore)
		}
		all = append(all, line)
	}
	slices.Sort(all)
	for n, line := range all {
		_, all[n], _ = strings.Cut(line, " ")
	}
	return all, other
}

func TestAttempts(t *testing.T) {
	const day = 24 * 60 * 60
	both := func(a, b string) map[string]string { return map[string]string{"a": a, "b": b} }
	one := func(a string) map[string]string { return map[string]string{"a": a} }
	for name, tt := range map[string]struct {
		histories map[string]string
		want      []string
		other     int
	}{
		"two releases":                           {one("1=r1:ok 2=r2:ok"), []string{"r1 succeeded", "r2 succeeded"}, 0},
		"one of two services":                    {both("1=r1:ok 2=r2:ok", "1=r1:ok"), []string{"r1 succeeded", "r2 succeeded"}, 0},
		"ECS rolls back":                         {one("1=r1:ok 2=r2:back"), []string{"r1 succeeded", "r2 failed 600"}, 0},
		"one fails, all are restored":            {both("1=r1:ok 2=r2:back", "1=r1:ok 2=r2:ok 1:ok"), []string{"r1 succeeded", fmt.Sprintf("r2 failed %d", day+600)}, 0},
		"stopped, and restored":                  {one("1=r1:ok 2=r2:stopped 1:ok"), []string{"r1 succeeded", fmt.Sprintf("r2 failed %d", day+600)}, 0},
		"rolled back later":                      {one("1=r1:ok 2=r2:ok 1:ok"), []string{"r1 succeeded", fmt.Sprintf("r2 failed %d", day+600)}, 0},
		"fixed forward":                          {one("1=r1:ok 2=r2:stuck 3=r3:ok"), []string{"r1 succeeded", fmt.Sprintf("r2 failed %d", day+600), "r3 succeeded"}, 0},
		"two fail, then a fix":                   {one("1=r1:ok 2=r2:stuck 3=r3:stuck 4=r4:ok"), []string{"r1 succeeded", fmt.Sprintf("r2 failed %d", 2*day+600), fmt.Sprintf("r3 failed %d", day+600), "r4 succeeded"}, 0},
		"not restored":                           {both("1=r1:ok 2=r2:back", "1=r1:ok 2=r2:stuck"), []string{"r1 succeeded", "r2 failed"}, 0},
		"the restore fails":                      {one("1=r1:ok 2=r2:stopped 1:stuck"), []string{"r1 succeeded", "r2 failed"}, 0},
		"tried again":                            {one("1=r1:ok 2=r2:back 2:ok"), []string{"r1 succeeded", "r2 failed 600", "r2' succeeded"}, 0},
		"in progress":                            {both("1=r1:ok 2=r2:runs", "1=r1:ok 2=r2:ok"), []string{"r1 succeeded", "r2 started"}, 0},
		"in progress, and failed":                {both("1=r1:ok 2=r2:runs", "1=r1:ok 2=r2:back"), []string{"r1 succeeded", "r2 failed 600"}, 0},
		"Terraform's":                            {one("1:ok 2=r2:ok 3:ok 4=r4:ok"), []string{"r2 succeeded", "r4 succeeded"}, 2},
		"a release, then Terraform's, back":      {one("1=r1:ok 2=r2:ok 3:ok 2:ok"), []string{"r1 succeeded", "r2 succeeded"}, 1},
		"rolled back twice, as far as on record": {one("3=r3:ok 1=r1:ok"), []string{fmt.Sprintf("r3 failed %d", day+600)}, 0},
		"none":                                   {one(""), nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, other := describe(tt.histories)
			require.Equal(t, tt.want, got)
			require.Equal(t, tt.other, other)
		})
	}
}

// TestAttemptsAreComplete: every deployment of a release's revision counts once, and what
// failed without a later success is not restored.
func TestAttemptsAreComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var fields []string
		for n := range rapid.IntRange(0, 12).Draw(t, "deployments") {
			revision := rapid.IntRange(1, n+1).Draw(t, "revision")
			status := rapid.SampledFrom([]string{"ok", "back", "stopped", "stuck", "runs"}).Draw(t, "status")
			fields = append(fields, fmt.Sprintf("%d=r%d:%s", revision, revision, status))
		}
		attempts := map[attemptKey]*attempt{}
		deployments := history(strings.Join(fields, " "))
		addAttempts(attempts, "a", deployments)
		forward, highest := 0, 0
		for _, d := range deployments {
			if n := revisionNumber(d.revision); n >= highest {
				forward, highest = forward+1, n
			}
		}
		require.Len(t, attempts, forward)
		for key, a := range attempts {
			r := a.release(key.release)
			if r.Restore != nil {
				require.Equal(t, report.Failed, r.Result)
				require.GreaterOrEqual(t, *r.Restore, int64(600))
			}
		}
	})
}
