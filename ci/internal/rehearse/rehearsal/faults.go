package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"dagger/slipway/internal/clock"
	"dagger/slipway/internal/report/outcome"
)

// interceptor intercepts the calls of a delivery to the embedded AWS.
type interceptor struct {
	next http.RoundTripper
	// before, if set, is called before a call, which an error prevents.
	before func(apiCall) error
	// after, if set, is called after a successful call.
	after func(call apiCall, output []byte)
}

// apiCall is a call of a service with AWS's JSON protocol, such as ECS. The action is
// empty for other services.
// https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
type apiCall struct {
	action string
	input  []byte
}

// RoundTrip implements [http.RoundTripper].
func (i *interceptor) RoundTrip(request *http.Request) (*http.Response, error) {
	_, action, _ := strings.Cut(request.Header.Get("X-Amz-Target"), ".")
	c := apiCall{action: action}
	if request.Body != nil {
		input, err := io.ReadAll(request.Body)
		_ = request.Body.Close() // it is read
		if err != nil {
			return nil, err
		}
		request = request.Clone(request.Context())
		c.input, request.Body = input, io.NopCloser(bytes.NewReader(input))
	}
	if i.before != nil {
		if err := i.before(c); err != nil {
			return nil, err
		}
	}
	response, err := i.next.RoundTrip(request)
	if err != nil || i.after == nil || response.StatusCode != http.StatusOK {
		return response, err
	}
	output, err := io.ReadAll(response.Body)
	_ = response.Body.Close() // it is read
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(output))
	i.after(c, output)
	return response, nil
}

// onFirstNewTask calls inject once, when a task of the new version is running.
func onFirstNewTask(to http.RoundTripper, inject func()) http.RoundTripper {
	var once sync.Once
	return &interceptor{next: to, after: func(c apiCall, output []byte) {
		var seen struct {
			Services []struct {
				Deployments []struct{ RunningCount int }
			}
		}
		if c.action != "DescribeServices" || json.Unmarshal(output, &seen) != nil {
			return
		}
		for _, service := range seen.Services {
			if len(service.Deployments) > 1 && service.Deployments[0].RunningCount > 0 {
				once.Do(inject)
			}
		}
	}}
}

// errKilled is the error of all calls of a killed process.
var errKilled = outcome.Interruption("killed by the rehearsal's scenario")

// killAfterUpdate calls kill after the first UpdateService. All later calls fail, as if
// the process had been killed.
func killAfterUpdate(to http.RoundTripper, kill func()) http.RoundTripper {
	var changed, killed atomic.Bool
	return &interceptor{
		next: to,
		before: func(c apiCall) error {
			if killed.Load() || c.action == "UpdateService" && changed.Swap(true) {
				return &aws.RequestCanceledError{Err: errKilled} // which the SDK does not retry
			}
			return nil
		},
		after: func(c apiCall, _ []byte) {
			if c.action == "UpdateService" {
				killed.Store(true)
				kill()
			}
		},
	}
}

// killedClock is the clock of a process that counts as killed when alive ends. Its code
// still runs: Sleep then returns at once, so that its timeouts do not delay the
// rehearsal.
type killedClock struct {
	clock.Real
	alive   context.Context //nolint:containedctx // the process's lifetime
	skipped atomic.Int64
}

// Now returns the time, including skipped waits.
func (c *killedClock) Now() time.Time { return c.Real.Now().Add(time.Duration(c.skipped.Load())) }

// Sleep waits for d or until ctx ends. After the process was killed, it returns at once.
func (c *killedClock) Sleep(ctx context.Context, d time.Duration) error {
	if c.alive.Err() == nil {
		return c.Real.Sleep(ctx, d)
	}
	c.skipped.Add(int64(d))
	return nil
}
