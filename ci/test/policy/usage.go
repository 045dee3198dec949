package policy

import (
	"fmt"
	"maps"
	"slices"
)

// Usage is what requests use of an identity's policies.
type Usage struct {
	policies Policies
	used     map[Grant]int // how many requests
	requests int
	refused  map[string]bool
}

// Grant is an action or a resource of a statement that allows.
type Grant struct{ Sid, Text string }

// NewUsage is that of no request yet.
func NewUsage(policies Policies) *Usage {
	return &Usage{policies: policies, used: map[Grant]int{}, refused: map[string]bool{}}
}

// Add evaluates a request. Of statements that allow it the first one is used: what
// a second one allows again is not needed.
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

// Requests is how many there were.
func (u *Usage) Requests() int { return u.requests }

// Denied tells the requests that were not allowed, each once.
func (u *Usage) Denied() []string { return slices.Sorted(maps.Keys(u.refused)) }

// Granted lists the actions and resources of all statements that allow.
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

// Unused lists what is granted and no request has used.
func (u *Usage) Unused() (actions, resources []Grant) {
	actions, resources = u.Granted()
	unused := func(g Grant) bool { return u.used[g] > 0 }
	return slices.DeleteFunc(actions, unused), slices.DeleteFunc(resources, unused)
}
