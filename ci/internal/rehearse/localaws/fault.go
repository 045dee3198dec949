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
	Lost         FaultKind = "lost"          // done, but the connection is cut before the answer
	Stale        FaultKind = "stale"         // a read is answered as things were Delay ago; with a Rate, out of order
	Denied       FaultKind = "denied"        // AccessDeniedException: the caller's policies do not allow the action
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
	left int
}

// Inject makes calls go wrong from now on, until remove is called. Several
// faults may be active; a call is hit by the first that applies.
func (s *Server) Inject(f Fault) (remove func()) {
	active := &activeFault{Fault: f, left: f.Times}
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
func (s *Server) disturb(c Call) wire.Disturbance {
	d := s.choose(c)
	d.Delay += s.options.Latency
	return d
}

// choose picks what a fault, an expired token or a quota does to a call.
func (s *Server) choose(c Call) wire.Disturbance {
	if s.tokens.Expired(c.AccessKey) {
		return wire.Disturbance{Err: expired(c)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var d wire.Disturbance
	for _, f := range s.faults {
		if !f.concerns(c) {
			continue
		}
		d.Remember = d.Remember || f.Kind == Stale // from now on, also when this call is not hit
		if f.Times > 0 && f.left == 0 || f.Rate > 0 && rand.Float64() >= f.Rate {
			continue
		}
		f.left--
		remember := d.Remember
		d = f.disturbance(c, s.tokens.Who(c.AccessKey))
		d.Remember = remember
		return d
	}
	if s.quotas != nil && !s.quotas.allow(c.Service, c.Action, c.At) {
		d.Err = throttled(c)
	}
	return d
}

// concerns says whether a fault is about a call.
func (f *activeFault) concerns(c Call) bool {
	if f.Kind == Stale && !strings.HasPrefix(c.Action, "Describe") && !strings.HasPrefix(c.Action, "List") {
		return false
	}
	return (f.Service == "" || f.Service == c.Service) && (f.Action == "" || f.Action == c.Action)
}

// disturbance is what a fault does to the call of somebody with an ARN.
func (f *activeFault) disturbance(c Call, caller string) wire.Disturbance {
	d := wire.Disturbance{Delay: f.Delay, After: f.After}
	switch f.Kind {
	case Throttle:
		d.Err = throttled(c)
	case ServerError:
		d.Err = &wire.Error{Code: "InternalFailure", Message: "The request processing has failed because of an unknown error, exception or failure.", Status: http.StatusInternalServerError}
	case Reset:
		d.Reset = true
	case Lost:
		d.Reset, d.Effect = true, true
	case ExpiredToken:
		d.Err = expired(c)
	case Denied:
		d.Err = accessDenied(c, caller)
	case Stale:
		d.Delay, d.Stale = 0, f.Delay
	case Slow: // the delay is all
	}
	return d
}

// asQuery says whether a call is of a service with the older Query protocol,
// which has codes and statuses of its own for what goes wrong everywhere.
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
func asQuery(c Call) bool {
	return slices.Contains([]string{"elasticloadbalancing", "iam", "sts"}, c.Service)
}

func throttled(c Call) *wire.Error {
	if asQuery(c) {
		return wire.Errorf("Throttling", "Rate exceeded")
	}
	return wire.Errorf("ThrottlingException", "Rate exceeded")
}

func expired(c Call) *wire.Error {
	const text = "The security token included in the request is expired"
	if asQuery(c) {
		return wire.Errorf("ExpiredToken", text).AsStatus(http.StatusForbidden)
	}
	return wire.Errorf("ExpiredTokenException", text)
}

func accessDenied(c Call, caller string) *wire.Error {
	action := c.Service + ":" + c.Action
	text := fmt.Sprintf("User: %s is not authorized to perform: %s because no identity-based policy allows the %s action", caller, action, action)
	if asQuery(c) {
		return wire.Errorf("AccessDenied", "%s", text).AsStatus(http.StatusForbidden)
	}
	return wire.Errorf("AccessDeniedException", "%s", text)
}
