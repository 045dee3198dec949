package rehearsal

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

func TestStoppedReason(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		_, _ = io.WriteString(w, map[string]string{
			"ListTasks":     `{"taskArns": ["arn:aws:ecs:us-east-1:000000000000:task/ecs-cluster/1"]}`,
			"DescribeTasks": `{"tasks": [{"stoppedReason": "Task failed container health checks", "containers": [{"name": "api", "exitCode": 2}]}]}`,
			"GetLogEvents":  `{"events": [{"message": "listening"}]}`,
		}[action])
	}))
	defer server.Close()
	at := newPlace(platform.Environment{}, "000000000000")
	e := newEnvironment(at, 1, at.awsConfig(server.URL, otherAccessKey, http.DefaultTransport))
	reason := e.stoppedReason(t.Context(), platform.Service{Name: "api", Port: 8000, Build: platform.Build{Kind: platform.Go}})
	require.Equal(t, `Task failed container health checks (exit code 2); its log ends with: listening; `+
		`the container health check "/server healthcheck" fails: add this subcommand to the program, or give the entry a health_check, with the command ["NONE"] for none`, reason)
}
