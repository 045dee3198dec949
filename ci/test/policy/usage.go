package policy

import (
	"fmt"
	"maps"
	"slices"
)

// Usage records which grants of an identity's policies requests use.
type Usage struct {
	policies Policies
	used     map[Grant]int // number of requests
	requests int
	refused  map[string]bool
}

// Grant is an action or a resource of an Allow statement.
type Grant struct{ Sid, Text string }

// NewUsage returns a Usage without requests.
func NewUsage(policies Policies) *Usage {
	return &Usage{policies: policies, used: map[Grant]int{}, refused: map[string]bool{}}
}

// Add evaluates a request. It counts for the first statement that allows it: a second
// one is not needed.
func (u *Usage) Add(r Request) error {
	verdict, err := u.policies.Decide(r)
	if err != nil {
		return err
	}
	u.requests++
	if verdict.Decision != Allowed {
		u.refused[fmt.Sprintf("%s on %s with %v is %s", r.Action, r.Resource, r.Context, verdict.Decision)] = true
		return nil
	}
	by := verdict.By[0]
	u.used[Grant{by.Sid, by.Action}]++
	u.used[Grant{by.Sid, by.Resource}]++
	return nil
}

// Requests returns the number of requests.
func (u *Usage) Requests() int { return u.requests }

// Denied returns the distinct requests that were not allowed.
func (u *Usage) Denied() []string { return slices.Sorted(maps.Keys(u.refused)) }

// Granted returns the actions and resources of all Allow statements.
func (u *Usage) Granted() (actions, resources []Grant) {
	for _, document := range u.policies {
		for _, s := range document.Statements {
			if s.Deny {
				continue
			}
			for _, text := range s.Actions.Values {
				actions = append(actions, Grant{s.Sid, text})
			}
			for _, text := range s.Resources.Values {
				resources = append(resources, Grant{s.Sid, text})
			}
		}
	}
	return actions, resources
}

// Unused returns the grants that no request has used.
func (u *Usage) Unused() (actions, resources []Grant) {
	actions, resources = u.Granted()
	unused := func(g Grant) bool { return u.used[g] > 0 }
	return slices.DeleteFunc(actions, unused), slices.DeleteFunc(resources, unused)
}
