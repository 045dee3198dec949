package rehearsal

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
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

// errCanceled is the error of a call of a killed process, which the SDK does not retry.
var errCanceled = &aws.RequestCanceledError{Err: errKilled}

// killAfterUpdate calls kill after the first UpdateService.
func killAfterUpdate(to http.RoundTripper, kill func()) http.RoundTripper {
	var changed atomic.Bool
	once := &interceptor{next: to, before: func(c apiCall) error {
		if c.action == "UpdateService" && changed.Swap(true) {
			return errCanceled
		}
		return nil
	}}
	return killAfter(once, func(c apiCall, _ []byte) bool { return c.action == "UpdateService" }, kill)
}

// killAfter calls kill after the first successful call for which last is true. All later
// calls fail, as if the process had been killed.
func killAfter(to http.RoundTripper, last func(c apiCall, output []byte) bool, kill func()) http.RoundTripper {
	var killed atomic.Bool
	return &interceptor{
		next: to,
		before: func(apiCall) error {
			if killed.Load() {
				return errCanceled
			}
			return nil
		},
		after: func(c apiCall, output []byte) {
			if last(c, output) && !killed.Swap(true) {
				kill()
			}
		},
	}
}

// serviceDeployment is a service deployment as ECS describes it.
type serviceDeployment struct {
	ServiceArn, LifecycleStage string
	LifecycleHookDetails       []struct{ Status string }
}

// serviceDeployments returns what a call has described.
func serviceDeployments(c apiCall, output []byte) []serviceDeployment {
	var seen struct{ ServiceDeployments []serviceDeployment }
	if c.action != "DescribeServiceDeployments" || json.Unmarshal(output, &seen) != nil {
		return nil
	}
	return seen.ServiceDeployments
}

// waiting returns the service deployments that wait until they are continued.
func waiting(c apiCall, output []byte) []serviceDeployment {
	return slices.DeleteFunc(serviceDeployments(c, output), func(d serviceDeployment) bool {
		return !slices.Contains(d.LifecycleHookDetails, struct{ Status string }{string(ecstypes.DeploymentLifecycleHookStatusAwaitingAction)})
	})
}

// onBake calls inject once, when a service bakes.
func onBake(to http.RoundTripper, s platform.Service, inject func()) http.RoundTripper {
	var once sync.Once
	return &interceptor{next: to, after: func(c apiCall, output []byte) {
		for _, d := range serviceDeployments(c, output) {
			if d.LifecycleStage == string(ecstypes.ServiceDeploymentLifecycleStageBakeTime) && strings.HasSuffix(d.ServiceArn, "/"+s.ServiceName()) {
				once.Do(inject)
			}
		}
	}}
}

// killedClock is the clock of a process that counts as killed when alive ends. Its code
// still runs: Sleep then returns at once, so that its timeouts do not delay the
// rehearsal.
type killedClock struct {
	scaledClock
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
