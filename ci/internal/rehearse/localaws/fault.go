package localaws

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// FaultKind is the way in which a call fails.
type FaultKind string

const (
	Throttle     FaultKind = "throttle"      // ThrottlingException: Rate exceeded
	ServerError  FaultKind = "5xx"           // InternalFailure, HTTP 500
	Reset        FaultKind = "reset"         // the connection is closed and nothing is done
	Slow         FaultKind = "slow"          // the response comes after Delay
	ExpiredToken FaultKind = "expired-token" // ExpiredTokenException
	LostResponse FaultKind = "lost"          // the call takes effect, but the connection is closed before the response
	StaleRead    FaultKind = "stale"         // a read returns the state of Delay ago; with a Rate, out of order
	AccessDenied FaultKind = "denied"        // AccessDeniedException
	NoCapacity   FaultKind = "capacity"      // RunTask returns failures instead of tasks
	Hidden       FaultKind = "hidden"        // DescribeTasks and ListTasks do not show a task for Delay after its start
)

// capacityFailure is the reason of Fargate for a task that it has no capacity for.
const capacityFailure = "Capacity is unavailable at this time. Please try again later or in a different availability zone"

// Fault describes which calls fail and how.
type Fault struct {
	Kind    FaultKind
	Service string        // ecs; "" is every service
	Action  string        // UpdateService; "" is every action
	Rate    float64       // share of the calls that fail; 0 means all
	Times   int           // maximum number of calls that fail; 0 means no limit
	Delay   time.Duration // added to each affected call of every kind but StaleRead and Hidden
	// After is how many bytes of an upload are read before the fault. Only the
	// registry's protocol has uploads.
	After int64
}

// activeFault is an injected fault and how many calls it still affects.
type activeFault struct {
	Fault
	remaining int
}

// Inject makes calls fail until remove is called. Several faults may be active; the
// first that matches a call affects it.
func (s *Server) Inject(f Fault) (remove func()) {
	active := &activeFault{Fault: f, remaining: f.Times}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, active)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(other *activeFault) bool { return other == active })
	}
}

// injectionFor returns what happens to a call. It implements wire.Router.Inject.
func (s *Server) injectionFor(c Call) wire.Injection {
	d := s.chooseInjection(c)
	d.Delay += s.options.Latency
	return d
}

// chooseInjection returns what an expired token, a fault or a quota does to a call.
func (s *Server) chooseInjection(c Call) wire.Injection {
	if s.tokens.Expired(c.AccessKey) {
		return wire.Injection{Err: expiredTokenError(c)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var d wire.Injection
	for _, f := range s.faults {
		if !f.matches(c) {
			continue
		}
		d.RecordResponse = d.RecordResponse || f.Kind == StaleRead // also if this call is not affected
		if f.Times > 0 && f.remaining == 0 || f.Rate > 0 && rand.Float64() >= f.Rate {
			continue
		}
		f.remaining--
		remember := d.RecordResponse
		d = f.injection(c, s.tokens.CallerARN(c.AccessKey))
		d.RecordResponse = remember
		return d
	}
	if s.quotas != nil && !s.quotas.allow(c.Service, c.Action, c.At) {
		d.Err = throttlingError(c)
	}
	return d
}

// matches reports whether a fault applies to a call.
func (f *activeFault) matches(c Call) bool {
	if f.Kind == StaleRead && !strings.HasPrefix(c.Action, "Describe") && !strings.HasPrefix(c.Action, "List") {
		return false
	}
	if only, ok := faultActions[f.Kind]; ok && (c.Service != "ecs" || !slices.Contains(only, c.Action)) {
		return false
	}
	return (f.Service == "" || f.Service == c.Service) && (f.Action == "" || f.Action == c.Action)
}

// faultActions lists the only actions of ECS that some kinds of faults affect.
var faultActions = map[FaultKind][]string{
	NoCapacity: {"RunTask"},
	Hidden:     {"DescribeTasks", "ListTasks"},
}

// injection returns what a fault does to a call. caller is the ARN of its caller.
func (f *activeFault) injection(c Call, caller string) wire.Injection {
	d := wire.Injection{Delay: f.Delay, AfterBytes: f.After}
	switch f.Kind {
	case Throttle:
		d.Err = throttlingError(c)
	case ServerError:
		d.Err = &wire.Error{Code: "InternalFailure", Message: "The request processing has failed because of an unknown error, exception or failure.", Status: http.StatusInternalServerError}
	case Reset:
		d.Reset = true
	case LostResponse:
		d.Reset, d.Execute = true, true
	case ExpiredToken:
		d.Err = expiredTokenError(c)
	case AccessDenied:
		d.Err = accessDeniedError(c, caller)
	case StaleRead:
		d.Delay, d.StaleBy = 0, f.Delay
	case NoCapacity:
		d.Failure = capacityFailure
	case Hidden:
		d.Delay, d.HiddenFor = 0, f.Delay
	case Slow: // the delay is all that happens
	}
	return d
}

// usesQueryProtocol reports whether a call's service has the older Query protocol,
// whose common errors have other codes and statuses.
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func usesQueryProtocol(c Call) bool {
	return slices.Contains([]string{"elasticloadbalancing", "iam", "sts"}, c.Service)
}

func throttlingError(c Call) *wire.Error {
	if usesQueryProtocol(c) {
		return wire.Errorf("Throttling", "Rate exceeded")
	}
	return wire.Errorf("ThrottlingException", "Rate exceeded")
}

func expiredTokenError(c Call) *wire.Error {
	const text = "The security token included in the request is expired"
	if usesQueryProtocol(c) {
		return wire.Errorf("ExpiredToken", text).WithStatus(http.StatusForbidden)
	}
	return wire.Errorf("ExpiredTokenException", text)
}

func accessDeniedError(c Call, caller string) *wire.Error {
	action := c.Service + ":" + c.Action
	text := fmt.Sprintf("User: %s is not authorized to perform: %s because no identity-based policy allows the %s action", caller, action, action)
	if usesQueryProtocol(c) {
		return wire.Errorf("AccessDenied", "%s", text).WithStatus(http.StatusForbidden)
	}
	return wire.Errorf("AccessDeniedException", "%s", text)
}
