// Package policy parses IAM policy documents and evaluates requests against them. It
// supports the elements, condition operators and wildcards of the platform's policies.
// Anything else is an error, because an ignored condition is a grant.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// language is the only supported version of the policy language. In the older one,
// variables have no meaning.
const language = "2012-10-17"

// The effects of a statement.
const (
	allow = "Allow"
	deny  = "Deny"
)

// Document is a policy of an identity, a permissions boundary, a resource or a role's
// trust.
type Document struct {
	Statements []Statement
}

// Statement is one statement of a document.
type Statement struct {
	Sid  string
	Deny bool
	// Actions and Resources are patterns of Action and Resource, or with Not of
	// NotAction and NotResource.
	Actions, Resources Patterns
	// Principals are the principals of a resource or trust policy, by kind (AWS,
	// Federated, Service), nil in a policy of an identity. Any principal is {"*": nil}.
	Principals map[string][]string
	Conditions []Condition
}

// Patterns are alternatives, or with Not everything except these.
type Patterns struct {
	Not    bool
	Values []string
}

// element is a string or a list of strings.
type element []string

func (e *element) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*e = element{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(raw, &many); err != nil || len(many) == 0 {
		return fmt.Errorf("%s is neither a text nor a list of texts", raw)
	}
	*e = many
	return nil
}

// raw is a statement as it is in the JSON document.
type raw struct {
	Sid                   string
	Effect                string
	Principal             json.RawMessage
	Action, NotAction     element
	Resource, NotResource element
	Condition             map[string]map[string]element
}

// Parse reads a policy of an identity, a boundary or a resource. Its errors name the
// statement and the mistake.
func Parse(text string) (Document, error) {
	return parse(text, false)
}

// ParseTrust reads a role's trust policy, which has principals and no resource.
func ParseTrust(text string) (Document, error) {
	return parse(text, true)
}

func parse(text string, trust bool) (Document, error) {
	var written struct {
		Version   string
		ID        string `json:"Id"`
		Statement []raw
	}
	if err := rejectDuplicateKeys(json.NewDecoder(strings.NewReader(text))); err != nil {
		return Document{}, fmt.Errorf("reading a policy: %w", err)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&written); err != nil {
		return Document{}, fmt.Errorf("reading a policy: %w", err)
	}
	if written.Version != language {
		return Document{}, fmt.Errorf("reading a policy: version %q is not evaluated here: write %s", written.Version, language)
	}
	if len(written.Statement) == 0 {
		return Document{}, errors.New("reading a policy: it has no statement")
	}
	var d Document
	for n, w := range written.Statement {
		s, err := w.statement(trust)
		if err != nil {
			return Document{}, fmt.Errorf("reading a policy: statement %d (%s): %w", n+1, w.Sid, err)
		}
		d.Statements = append(d.Statements, s)
	}
	return d, nil
}

// statement validates and converts the raw statement.
func (w raw) statement(trust bool) (Statement, error) {
	s := Statement{Sid: w.Sid, Deny: w.Effect == deny}
	if w.Effect != allow && w.Effect != deny {
		return s, fmt.Errorf("effect %q: write %s or %s", w.Effect, allow, deny)
	}
	var err error
	if s.Actions, err = exclusive("Action", w.Action, w.NotAction); err != nil {
		return s, err
	}
	if trust {
		if w.Resource != nil || w.NotResource != nil {
			return s, errors.New("a trust policy has no Resource: it is the role's")
		}
		s.Resources.Values = []string{"*"}
	} else if s.Resources, err = exclusive("Resource", w.Resource, w.NotResource); err != nil {
		return s, err
	}
	for _, value := range slices.Concat(s.Actions.Values, s.Resources.Values) {
		if strings.Contains(value, "${") {
			return s, fmt.Errorf("%s has a policy variable, which is not evaluated here", value)
		}
	}
	for _, value := range s.Resources.Values {
		if err := checkResource(value); err != nil {
			return s, err
		}
	}
	if s.Principals, err = principals(w.Principal); err != nil {
		return s, err
	}
	if trust && s.Principals == nil {
		return s, errors.New("a trust policy names its Principal")
	}
	s.Conditions, err = conditions(w.Condition)
	return s, err
}

// exclusive takes an element and its negation, exactly one of which must be given.
func exclusive(name string, is, not element) (Patterns, error) {
	if (is == nil) == (not == nil) {
		return Patterns{}, fmt.Errorf("it has to have either %s or Not%s", name, name)
	}
	if not != nil {
		return Patterns{Not: true, Values: not}, nil
	}
	return Patterns{Values: is}, nil
}

// checkResource requires an ARN with wildcards in its last part only. In AWS a wildcard
// at the end of another part also matches the colon, and so more than it appears to.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html
func checkResource(value string) error {
	if value == "*" {
		return nil
	}
	parts := strings.SplitN(value, ":", segments)
	if len(parts) != segments || parts[0] != "arn" {
		return fmt.Errorf("resource %q is neither an ARN nor *", value)
	}
	if strings.ContainsAny(strings.Join(parts[:segments-1], ""), "*?") {
		return fmt.Errorf("resource %q has a wildcard before its last part, which is not evaluated here", value)
	}
	return nil
}

func principals(written json.RawMessage) (map[string][]string, error) {
	if written == nil {
		return nil, nil
	}
	if bytes.Equal(written, []byte(`"*"`)) {
		return map[string][]string{"*": nil}, nil
	}
	var kinds map[string]element
	if err := json.Unmarshal(written, &kinds); err != nil {
		return nil, fmt.Errorf("reading Principal: %w", err)
	}
	found := map[string][]string{}
	for kind, names := range kinds {
		if !slices.Contains([]string{"AWS", "Federated", "Service"}, kind) {
			return nil, fmt.Errorf("principals of the kind %q are not evaluated here", kind)
		}
		found[kind] = names
	}
	return found, nil
}

// rejectDuplicateKeys rejects objects with duplicate keys, as AWS does. encoding/json
// would use the last one and so lose a condition.
func rejectDuplicateKeys(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	if err := distinct(decoder, token); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind the document")
	}
	return nil
}

func distinct(decoder *json.Decoder, begin json.Token) error {
	if begin != json.Delim('{') && begin != json.Delim('[') {
		return nil
	}
	seen := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		if begin == json.Delim('{') {
			key := token.(string) // anything else here is a syntax error that the decoder reports
			// encoding/json matches field names in any case.
			folded := strings.ToLower(key)
			if seen[folded] {
				return fmt.Errorf("it has %q twice in one object", key)
			}
			seen[folded] = true
			if token, err = decoder.Token(); err != nil {
				return err
			}
		}
		if err := distinct(decoder, token); err != nil {
			return err
		}
	}
	_, err := decoder.Token() // end of the object or list
	return err
}
