package preflight

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
)

// stringOrList is a policy element that is a string or a list of strings.
type stringOrList []string

func (t *stringOrList) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*t = stringOrList{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

// principal is "*", or lists of principals by type.
type principal map[string]stringOrList

func (p *principal) UnmarshalJSON(raw []byte) error {
	var all string
	if json.Unmarshal(raw, &all) == nil {
		*p = principal{"Service": {all}}
		return nil
	}
	return json.Unmarshal(raw, (*map[string]stringOrList)(p))
}

type statement struct {
	Effect    string                             `json:"Effect"`
	Principal principal                          `json:"Principal"`
	Action    stringOrList                       `json:"Action"`
	Condition map[string]map[string]stringOrList `json:"Condition"`
}

// statementOrList is a policy element that is a statement or a list of statements.
type statementOrList []statement

func (s *statementOrList) UnmarshalJSON(raw []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(raw)), "{") {
		*s = make(statementOrList, 1)
		return json.Unmarshal(raw, &(*s)[0])
	}
	return json.Unmarshal(raw, (*[]statement)(s))
}

// allowsAssume reports whether a trust policy lets a service assume the role for an
// account. It evaluates the condition that AWS recommends, aws:SourceAccount, and assumes
// that others are met.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
func allowsAssume(document, account, service string) (bool, error) {
	var policy struct {
		Statement statementOrList `json:"Statement"`
	}
	if err := json.Unmarshal([]byte(document), &policy); err != nil {
		return false, fmt.Errorf("reading the policy: %w", err)
	}
	allowed := false
	for _, s := range policy.Statement {
		if !s.matches(service, "sts:AssumeRole") {
			continue
		}
		switch {
		case s.Effect == "Deny" && len(s.Condition) == 0:
			return false, nil
		case s.Effect == "Allow" && s.matchesAccount(account):
			allowed = true
		}
	}
	return allowed, nil
}

func (s statement) matches(service, action string) bool {
	return slices.ContainsFunc(s.Principal["Service"], func(p string) bool { return p == service || p == "*" }) &&
		slices.ContainsFunc(s.Action, func(pattern string) bool {
			hit, _ := path.Match(strings.ToLower(pattern), strings.ToLower(action))
			return hit
		})
}

func (s statement) matchesAccount(account string) bool {
	for operator, keys := range s.Condition {
		for key, values := range keys {
			if operator == "StringEquals" && strings.EqualFold(key, "aws:SourceAccount") && account != "" && !slices.Contains(values, account) {
				return false
			}
		}
	}
	return true
}
