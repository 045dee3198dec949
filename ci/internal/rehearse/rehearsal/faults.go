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

// between stands between a delivery and the embedded AWS. It sees every call, and
// what AWS answers.
type interceptor struct {
	next http.RoundTripper
	// before, if set, may refuse a call.
	before func(apiCall) error
	// after, if set, is told of a call that AWS has carried out.
	after func(call apiCall, output []byte)
}

// call is one call of a service that speaks AWS's JSON protocol, as Amazon ECS does:
// https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html. One of any other
// service has no action.
type apiCall struct {
	action string
	input  []byte
}

// RoundTrip implements [http.RoundTripper].
func (b *interceptor) RoundTrip(request *http.Request) (*http.Response, error) {
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
	if b.before != nil {
		if err := b.before(c); err != nil {
			return nil, err
		}
	}
	response, err := b.next.RoundTrip(request)
	if err != nil || b.after == nil || response.StatusCode != http.StatusOK {
		return response, err
	}
	output, err := io.ReadAll(response.Body)
	_ = response.Body.Close() // it is read
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(output))
	b.after(c, output)
	return response, nil
}

// halfway strikes once it has seen a task of the new version run.
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

// errKilled is what a process that is no more gets of its calls.
var errKilled = outcome.Interruption("killed half-way, as the scenario has it")

// mortal dies once it has changed one service: none of its calls arrives any more.
func killAfterUpdate(to http.RoundTripper, kill func()) http.RoundTripper {
	var changed, killed atomic.Bool
	return &interceptor{
		next: to,
		before: func(c apiCall) error {
			if killed.Load() || c.action == "UpdateService" && changed.Swap(true) {
				return &aws.RequestCanceledError{Err: errKilled} // which the SDK does not repeat
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

// afterlife is the clock of a process that is killed when alive ends. Its code still
// runs, and would wait and try in vain: the time for that passes at once.
type killedClock struct {
	clock.Real
	alive   context.Context //nolint:containedctx // it is what the clock tells of
	skipped atomic.Int64
}

// Now tells the time.
func (a *killedClock) Now() time.Time { return a.Real.Now().Add(time.Duration(a.skipped.Load())) }

// Sleep waits for d, or until ctx ends, or passes at once.
func (a *killedClock) Sleep(ctx context.Context, d time.Duration) error {
	if a.alive.Err() == nil {
		return a.Real.Sleep(ctx, d)
	}
	a.skipped.Add(int64(d))
	return nil
}
