package benchmark

import (
	"bytes"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// figures are what wrk tells of a run.
type figures struct {
	perSecond float64
	p50, p99  time.Duration
}

// BenchmarkServers asks for as many seconds as -benchtime says, one server after
// the other. wrk costs less than any client in Go, which matters where client
// and server share the processors: what the client costs is taken from both.
func BenchmarkServers(b *testing.B) {
	wrk, err := exec.LookPath("wrk")
	if err != nil {
		b.Skip("needs wrk: apt-get install wrk, or brew install wrk")
	}
	for _, path := range []string{"/api/", "/health"} {
		perSecond := map[string]float64{}
		for _, name := range []string{"fasthttp", "fiber", "service"} {
			b.Run(name+path, func(b *testing.B) {
				which := name
				if name == "service" {
					which = ""
				}
				p := start(b, which, "ADMIN_ADDR=")
				runWrk(b, wrk, p.addr, path, 1) // warm
				b.ResetTimer()
				got := runWrk(b, wrk, p.addr, path, b.N)
				perSecond[name] = got.perSecond
				b.ReportMetric(got.perSecond, "requests/s")
				b.ReportMetric(float64(got.p50.Microseconds())/1000, "p50-ms")
				b.ReportMetric(float64(got.p99.Microseconds())/1000, "p99-ms")
				if fiber := perSecond["fiber"]; fiber > 0 {
					b.ReportMetric(100*got.perSecond/fiber, "%-of-fiber")
				}
			})
		}
	}
}

// runWrk lets wrk ask for so many seconds, as a load balancer would.
func runWrk(b *testing.B, wrk, addr, path string, seconds int) (got figures) {
	b.Helper()
	command := exec.CommandContext(b.Context(), wrk, "--latency", "-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%ds", seconds),
		"-H", "X-Forwarded-For: "+clientAddr, "-H", "X-Amzn-Trace-Id: "+traceOfALB, "http://"+addr+path)
	output, err := command.CombinedOutput()
	require.NoError(b, err, "%s", output)
	require.NotContains(b, string(output), "Socket errors")
	require.NotContains(b, string(output), "Non-2xx")
	for line := range bytes.Lines(output) {
		var text string
		switch {
		case scans(line, "Requests/sec: %g", &got.perSecond):
		case scans(line, " 50%% %s", &text):
			got.p50, err = time.ParseDuration(text)
		case scans(line, " 99%% %s", &text):
			got.p99, err = time.ParseDuration(text)
		}
		require.NoError(b, err, "%s", line)
	}
	require.Positive(b, got.perSecond, "%s", output)
	require.Positive(b, got.p99, "%s", output)
	return got
}

func scans(line []byte, format string, into any) bool {
	_, err := fmt.Sscanf(string(bytes.TrimRight(line, "\n")), format, into)
	return err == nil
}
