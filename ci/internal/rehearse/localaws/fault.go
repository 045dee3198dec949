package localaws

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"dagger/slipway/internal/rehearse/localaws/wire"
)

// FaultKind is a way in which a call goes wrong.
type FaultKind string

const (
	Throttle     FaultKind = "throttle"      // ThrottlingException: Rate exceeded
	ServerError  FaultKind = "5xx"           // InternalFailure, HTTP 500
	Reset        FaultKind = "reset"         // the connection is cut, nothing was done
	Slow         FaultKind = "slow"          // answered after Delay
	ExpiredToken FaultKind = "expired-token" // ExpiredTokenException
	LostResponse FaultKind = "lost"          // done, but the connection is cut before the answer
	StaleRead    FaultKind = "stale"         // a read is answered as things were Delay ago; with a Rate, out of order
	AccessDenied FaultKind = "denied"        // AccessDeniedException: the caller's policies do not allow the action
)

// Fault says which calls go wrong and how.
type Fault struct {
	Kind    FaultKind
	Service string        // ecs; "" is every service
	Action  string        // UpdateService; "" is every action
	Rate    float64       // share of the calls that are hit; 0 means all
	Times   int           // how many calls are hit at most; 0 means no limit
	Delay   time.Duration // added to every call hit, whatever the kind but Stale
	// After is how many bytes of an upload are taken in before it goes wrong. Only
	// the registry's protocol has uploads.
	After int64
}

// activeFault is a fault that was injected, with what is left of it.
type activeFault struct {
	Fault
	remaining int
}

// Inject makes calls go wrong from now on, until remove is called. Several
// faults may be active; a call is hit by the first that applies.
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

// disturb decides what happens to a call. It fits wire.Router.Disturb.
func (s *Server) injectionFor(c Call) wire.Injection {
	d := s.chooseInjection(c)
	d.Delay += s.options.Latency
	return d
}

// choose picks what a fault, an expired token or a quota does to a call.
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
		d.RecordResponse = d.RecordResponse || f.Kind == StaleRead // from now on, also when this call is not hit
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

// concerns says whether a fault is about a call.
func (f *activeFault) matches(c Call) bool {
	if f.Kind == StaleRead && !strings.HasPrefix(c.Action, "Describe") && !strings.HasPrefix(c.Action, "List") {
		return false
	}
	return (f.Service == "" || f.Service == c.Service) && (f.Action == "" || f.Action == c.Action)
}

// disturbance is what a fault does to the call of somebody with an ARN.
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
	case Slow: // the delay is all
	}
	return d
}

// asQuery says whether a call is of a service with the older Query protocol,
// which has codes and statuses of its own for what goes wrong everywhere.
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
