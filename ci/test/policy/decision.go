package policy

import (
	"fmt"
	"slices"
)

// Request is what somebody asks for.
type Request struct {
	Action string // ecs:UpdateService
	// Resource is the ARN of what the action acts upon, "*" for an action that
	// knows no resource.
	Resource string
	// Principal is who asks, by its kind; for policies that name principals.
	Principal struct{ Kind, Name string }
	// Context are the values of condition keys. What is not in it the request does
	// not have.
	Context map[string][]string
}

// Decision is what policies say of a request.
type Decision int

// The decisions. Nothing that allows is a denial, too.
const (
	NotAllowed Decision = iota
	Denied
	Allowed
)

func (d Decision) String() string {
	return [...]string{"not allowed", "denied", "allowed"}[d]
}

// Verdict is a decision and where it comes from.
type Verdict struct {
	Decision Decision
	// By are the statements that allow or deny, none if it is NotAllowed.
	By []Reason
}

// Reason is a statement that is about a request, and the action and resource in
// it that say so; those are empty for NotAction and NotResource.
type Reason struct {
	Document, Statement int // in the order of the policies
	Sid                 string
	Action, Resource    string
}

// Policies are all the policies of one identity.
type Policies []Document

// Decide evaluates: what any statement denies is denied, and only what one allows
// is allowed.
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

// Within is Decide for an identity with a permissions boundary: the boundary has
// to allow, too, and allows nothing by itself.
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

// applies says whether a statement is about a request.
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

// matches says whether a statement is about whoever asks.
func (s Statement) matches(r Request) bool {
	if s.Principals == nil {
		return true // it is attached to them
	}
	if _, everybody := s.Principals["*"]; everybody {
		return true
	}
	return slices.Contains(s.Principals[r.Principal.Kind], r.Principal.Name)
}

// first is the first pattern that matches; "" for patterns that are negated.
func (p Patterns) first(value string, matches func(pattern, value string) bool) string {
	for _, pattern := range p.Values {
		if !p.Not && matches(pattern, value) {
			return pattern
		}
	}
	return ""
}
