package delivery

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

func TestUnfit(t *testing.T) {
	job := &report.Job{}
	for name, tt := range map[string]struct {
		status report.ServiceStatus
		want   []string
	}{
		"steady":          {report.ServiceStatus{State: report.Steady, Release: "r"}, nil},
		"deploying":       {report.ServiceStatus{State: report.Deploying, Detail: "in progress", Release: "r"}, []string{"api is deploying (in progress): wait until it is steady (slipway status)"}},
		"degraded":        {report.ServiceStatus{State: report.Degraded, Release: "r"}, []string{"api is degraded: wait until it is steady (slipway status)"}},
		"never released":  {report.ServiceStatus{State: report.Steady, Version: report.Version{TaskDefinition: "arn:aws:ecs:x:1:task-definition/api:3"}}, []string{"api runs api:3, which slipway never released: deploy a commit there first"}},
		"modified":        {report.ServiceStatus{State: report.Steady, Release: "r", Modified: []string{"image: x"}}, []string{"api has drifted: image: x: deploy a commit there again (slipway deploy --force)"}},
		"a job failed":    {report.ServiceStatus{State: report.Degraded, Job: job, Release: "r"}, nil},
		"an unknown job":  {report.ServiceStatus{State: report.Steady, Job: job, Version: report.Version{TaskDefinition: "api:1"}}, []string{"api runs api:1, which slipway never released: deploy a commit there first"}},
		"drift elsewhere": {report.ServiceStatus{State: report.Steady, Release: "r", Drift: []string{"cpu"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tt.status.Name = "api"
			require.Equal(t, tt.want, promotionProblems(tt.status))
		})
	}
}

// TestCompletedAt: a deployment that ECS has replaced and brought back counts from when it
// began again.
func TestCompletedAt(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }
	past := func(revision, status string, minute int) report.PastRelease {
		return report.PastRelease{Version: report.Version{TaskDefinition: revision}, Status: status, FinishedAt: at(minute)}
	}
	status := report.ServiceStatus{Since: at(1), Version: report.Version{TaskDefinition: "api:2"}}
	require.Equal(t, at(1), completedAt(status), "without a history")
	status.Releases = []report.PastRelease{past("api:2", "SUCCESSFUL", 4), past("api:1", "SUCCESSFUL", 0)}
	require.Equal(t, at(4), completedAt(status))
	status.Since = at(9)
	status.Releases = append([]report.PastRelease{past("api:3", "ROLLBACK_SUCCESSFUL", 9)}, status.Releases...)
	require.Equal(t, at(9), completedAt(status))
}
