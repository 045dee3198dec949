package policy

import (
	"fmt"
	"slices"
)

// Request is an IAM request.
type Request struct {
	Action string // ecs:UpdateService
	// Resource is the ARN of the action's resource, or "*" for an action without one.
	Resource string
	// Principal is the caller and its kind, for policies with a Principal element.
	Principal struct{ Kind, Name string }
	// Context has the values of condition keys. A key that is missing here is missing
	// in the request.
	Context map[string][]string
}

// Decision is the result of evaluating policies.
type Decision int

// The decisions. NotAllowed is the implicit deny.
const (
	NotAllowed Decision = iota
	Denied
	Allowed
)

func (d Decision) String() string {
	return [...]string{"not allowed", "denied", "allowed"}[d]
}

// Verdict is a decision and its reasons.
type Verdict struct {
	Decision Decision
	// By are the statements that allow or deny, empty if it is NotAllowed.
	By []Reason
}

// Reason is a matching statement, and its matching action and resource, which are empty
// for NotAction and NotResource.
type Reason struct {
	Document, Statement int // indexes, in the order of the policies
	Sid                 string
	Action, Resource    string
}

// Policies are all policies of one identity.
type Policies []Document

// Decide evaluates the request: an explicit deny wins, then an allow, else the request
// is not allowed.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
func (p Policies) Decide(r Request) (Verdict, error) {
	var allowed, denied []Reason
	for d, document := range p {
		for n, s := range document.Statements {
			applies, err := s.applies(r)
			if err != nil {
				return Verdict{}, fmt.Errorf("deciding on %s: statement %s: %w", r.Action, s.Sid, err)
			}
			if !applies {
				continue
			}
			reason := Reason{Document: d, Statement: n, Sid: s.Sid}
			reason.Action = s.Actions.first(r.Action, matchesAction)
			reason.Resource = s.Resources.first(r.Resource, matchesResource)
			if s.Deny {
				denied = append(denied, reason)
			} else {
				allowed = append(allowed, reason)
			}
		}
	}
	switch {
	case len(denied) > 0:
		return Verdict{Denied, denied}, nil
	case len(allowed) > 0:
		return Verdict{Allowed, allowed}, nil
	}
	return Verdict{}, nil
}

// Within is Decide for an identity with a permissions boundary, which must allow the
// request, too, and grants nothing.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
func (p Policies) Within(boundary Document, r Request) (Verdict, error) {
	limit, err := Policies{boundary}.Decide(r)
	if err != nil {
		return Verdict{}, fmt.Errorf("the boundary: %w", err)
	}
	own, err := p.Decide(r)
	if err != nil || own.Decision == Denied || limit.Decision == Allowed {
		return own, err
	}
	return limit, nil
}

// applies reports whether a statement applies to the request.
func (s Statement) applies(r Request) (bool, error) {
	if !s.Actions.match(r.Action, matchesAction) || !s.Resources.match(r.Resource, matchesResource) || !s.matches(r) {
		return false, nil
	}
	for _, c := range s.Conditions {
		if ok, err := c.holds(r.Context); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// matches reports whether a statement applies to the caller.
func (s Statement) matches(r Request) bool {
	if s.Principals == nil {
		return true // a policy of an identity applies to it
	}
	if _, everybody := s.Principals["*"]; everybody {
		return true
	}
	return slices.Contains(s.Principals[r.Principal.Kind], r.Principal.Name)
}

// first returns the first matching pattern, or "" for negated patterns.
func (p Patterns) first(value string, matches func(pattern, value string) bool) string {
	for _, pattern := range p.Values {
		if !p.Not && matches(pattern, value) {
			return pattern
		}
	}
	return ""
}
