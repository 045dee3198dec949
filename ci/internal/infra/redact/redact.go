// Package redact takes the sensitive values out of a Terraform plan in JSON.
//
// `terraform show -json` writes every value in clear, and beside it which ones
// are sensitive. What this package returns has the same shape without them.
// https://developer.hashicorp.com/terraform/internals/json-format
package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// What stands for a sensitive value. The second one stands for a value that
// differs from the one before: that it changes is no secret.
const (
	Value   = "(sensitive value)"
	Changed = "(sensitive value, changes)"
)

// minSecretLength is the least length, in bytes, of a sensitive text that is looked
// for everywhere else in the plan: shorter ones occur by chance.
const minSecretLength = 6

// terraform-json's own sanitize package is not enough: it leaves drift,
// defaults and literals of the configuration, and whatever section it does not
// know yet, as they are.

// Plan returns the plan without its sensitive values: those that Terraform
// marks in values, changes, drift, outputs and variables; defaults and
// literals of the configuration that go into them; and any text elsewhere in
// the document that contains one.
func Plan(document []byte) ([]byte, error) {
	redacted, _, err := PlanWithRedactor(document)
	return redacted, err
}

// PlanWithRedactor is [Plan] that also returns what takes the same values, and other
// secrets, out of any text about the plan: the whole text goes. The plan is not
// looked through for the others.
func PlanWithRedactor(document []byte, secrets ...string) (redacted []byte, redactText func(string) string, err error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber() // a number stays as it is written
	var plan map[string]any
	if err := decoder.Decode(&plan); err != nil {
		return nil, nil, fmt.Errorf("reading the plan as JSON: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, nil, fmt.Errorf("reading the plan as JSON: there is more than one document")
	}
	if plan == nil {
		return nil, nil, fmt.Errorf("reading the plan as JSON: it is null")
	}
	r := &redactor{}
	r.variables(plan)
	r.configuration(plan)
	r.walk(plan)
	r.scrubber().object(plan, false)
	for _, secret := range secrets {
		r.remember(secret)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(plan); err != nil {
		return nil, nil, fmt.Errorf("writing the plan as JSON: %w", err)
	}
	return out.Bytes(), r.scrubber().text, nil
}

// redactor keeps the sensitive texts that it has met.
type redactor struct {
	secrets map[string]bool
}

// variables redacts the values of sensitive variables of the root module. The
// plan marks them in the configuration alone.
func (r *redactor) variables(plan map[string]any) {
	declared := object(object(plan, "configuration"), "root_module")
	values := object(plan, "variables")
	for name, variable := range object(declared, "variables") {
		if v, ok := variable.(map[string]any); !ok || !isTrue(v["sensitive"]) {
			continue
		}
		if value, ok := values[name].(map[string]any); ok {
			r.maskKey(value, "value")
		}
	}
}

// secretSetting is what the settings of providers are called that are secret.
var secretSetting = regexp.MustCompile(`(?i)secret|token|passw|key|credential|auth|cert`)

// configuration redacts what the configuration says in clear about things
// that are sensitive.
func (r *redactor) configuration(plan map[string]any) {
	config := object(plan, "configuration")
	for _, provider := range object(config, "provider_config") {
		// The schema of a provider, which says what is sensitive, is not in
		// the plan: all of its literals go. A region is no secret, though, and
		// must not be looked for in every ARN.
		p, _ := provider.(map[string]any)
		for name, expression := range object(p, "expressions") {
			if secretSetting.MatchString(name) {
				r.literals(expression)
			} else {
				new(redactor).literals(expression)
			}
		}
	}
	r.module(object(config, "root_module"), sensitiveAttributes(plan))
}

// module redacts the configuration of one module and of those that it calls.
func (r *redactor) module(module map[string]any, sensitive map[string]map[string]bool) {
	r.defaults(module)
	for _, resource := range list(module["resources"]) {
		res, ok := resource.(map[string]any)
		if !ok {
			continue
		}
		kind, _ := res["type"].(string)
		for name, expression := range object(res, "expressions") {
			if sensitive[kind][name] {
				r.literals(expression)
			}
		}
		for _, provisioner := range list(res["provisioners"]) {
			r.literals(provisioner)
		}
	}
	for _, output := range object(module, "outputs") {
		if o, ok := output.(map[string]any); ok && isTrue(o["sensitive"]) {
			r.literals(o["expression"])
		}
	}
	for _, call := range object(module, "module_calls") {
		c, ok := call.(map[string]any)
		if !ok {
			continue
		}
		called := object(c, "module")
		expressions := object(c, "expressions")
		for name, variable := range object(called, "variables") {
			if v, ok := variable.(map[string]any); ok && isTrue(v["sensitive"]) {
				r.literals(expressions[name])
			}
		}
		r.module(called, sensitive)
	}
}

// defaults redacts the defaults of a module's sensitive variables.
func (r *redactor) defaults(module map[string]any) {
	for _, variable := range object(module, "variables") {
		if v, ok := variable.(map[string]any); ok && isTrue(v["sensitive"]) {
			r.maskKey(v, "default")
		}
	}
}

// literals redacts every literal of an expression, which may be nested blocks.
func (r *redactor) literals(expression any) {
	switch e := expression.(type) {
	case map[string]any:
		r.maskKey(e, "constant_value")
		for _, inner := range e {
			r.literals(inner)
		}
	case []any:
		for _, inner := range e {
			r.literals(inner)
		}
	}
}

// sensitiveAttributes are the attributes, by type of resource, that any change
// or value of the plan marks, as a whole or in part.
func sensitiveAttributes(node any) map[string]map[string]bool {
	found := map[string]map[string]bool{}
	var visit func(any)
	visit = func(node any) {
		switch n := node.(type) {
		case map[string]any:
			kind, _ := n["type"].(string)
			change := object(n, "change")
			for _, marks := range []any{n["sensitive_values"], change["before_sensitive"], change["after_sensitive"]} {
				if m, ok := marks.(map[string]any); ok && kind != "" {
					for name, mark := range m {
						if IsMarked(mark) {
							if found[kind] == nil {
								found[kind] = map[string]bool{}
							}
							found[kind][name] = true
						}
					}
				}
			}
			for _, inner := range n {
				visit(inner)
			}
		case []any:
			for _, inner := range n {
				visit(inner)
			}
		}
	}
	visit(node)
	return found
}

// walk redacts, wherever in the document, values that stand beside their
// marks. It knows the marks and not the sections, so that a section which a
// later Terraform adds is redacted, too.
func (r *redactor) walk(node any) {
	switch n := node.(type) {
	case map[string]any:
		r.change(n)
		if marks, ok := n["sensitive_values"]; ok {
			n["values"] = r.mask(n["values"], marks, Value)
		}
		if marks, ok := n["config_sensitive"]; ok {
			n["config_values"] = r.mask(n["config_values"], marks, Value)
		}
		if isTrue(n["sensitive"]) {
			r.maskKey(n, "value")
		}
		for _, inner := range n {
			r.walk(inner)
		}
	case []any:
		for _, inner := range n {
			r.walk(inner)
		}
	}
}

// change redacts a change: what is sensitive before or after is hidden on both
// sides, since one that becomes public was a secret, and the other way about.
func (r *redactor) change(n map[string]any) {
	before, marked := n["before_sensitive"]
	after, alsoMarked := n["after_sensitive"]
	if !marked && !alsoMarked {
		return
	}
	// First what is new: it is compared with the old, which is in clear yet.
	n["after"] = r.maskChanged(n["before"], n["after"], after)
	n["before"] = r.mask(n["before"], before, Value)
	// The other side's marks, where the values still have the same place.
	n["before"] = r.mask(n["before"], after, Value)
	n["after"] = r.mask(n["after"], before, Value)
	if IsMarked(before) || IsMarked(after) {
		if config, ok := n["generated_config"].(string); ok {
			r.remember(config)
			n["generated_config"] = Value
		}
	}
}

// mask replaces what marks marks in value by text. Marks are true for a whole
// value, or have its shape.
func (r *redactor) mask(value, marks any, text string) any {
	if isTrue(marks) {
		if value == nil || value == Value || value == Changed {
			return value
		}
		r.remember(value)
		return text
	}
	switch v := value.(type) {
	case map[string]any:
		if m, ok := marks.(map[string]any); ok {
			for name, mark := range m {
				if inner, ok := v[name]; ok {
					v[name] = r.mask(inner, mark, text)
				}
			}
		}
	case []any:
		if m, ok := marks.([]any); ok {
			for i := range min(len(m), len(v)) {
				v[i] = r.mask(v[i], m[i], text)
			}
		}
	}
	return value
}

// maskChanged is mask for the value after a change.
func (r *redactor) maskChanged(before, after, marks any) any {
	if isTrue(marks) {
		if after == nil {
			return nil
		}
		text := Value
		if before != nil && !equal(before, after) {
			text = Changed
		}
		return r.mask(after, true, text)
	}
	switch a := after.(type) {
	case map[string]any:
		m, _ := marks.(map[string]any)
		b, _ := before.(map[string]any)
		for name, mark := range m {
			if inner, ok := a[name]; ok {
				a[name] = r.maskChanged(b[name], inner, mark)
			}
		}
	case []any:
		m, _ := marks.([]any)
		b, _ := before.([]any)
		for i := range min(len(m), len(a)) {
			var was any
			if i < len(b) {
				was = b[i]
			}
			a[i] = r.maskChanged(was, a[i], m[i])
		}
	}
	return after
}

// maskKey redacts one key of n, if it is there.
func (r *redactor) maskKey(n map[string]any, key string) {
	if value, ok := n[key]; ok && value != nil {
		n[key] = r.mask(value, true, Value)
	}
}

// remember remembers the texts in a sensitive value, to look for them elsewhere.
func (r *redactor) remember(value any) {
	switch v := value.(type) {
	case string:
		if len(v) >= minSecretLength && v != Value && v != Changed {
			if r.secrets == nil {
				r.secrets = map[string]bool{}
			}
			r.secrets[v] = true
		}
	case json.Number:
		r.remember(v.String())
	case map[string]any:
		for _, inner := range v {
			r.remember(inner)
		}
	case []any:
		for _, inner := range v {
			r.remember(inner)
		}
	}
}

// scrubber is what replaces every text that contains a sensitive one. What the
// text says besides is lost: half a secret's neighbourhood is no good either.
func (r *redactor) scrubber() scrubber {
	pairs := make([]string, 0, 2*len(r.secrets))
	for secret := range r.secrets {
		pairs = append(pairs, secret, "")
	}
	return scrubber{secrets: r.secrets, finder: strings.NewReplacer(pairs...)}
}

type scrubber struct {
	secrets map[string]bool
	finder  *strings.Replacer
}

// structuralKeys are the keys whose values say what the plan does and to what. They
// come from Terraform and the source, and are never made of a value; a secret
// that is the word "create" must not turn a creation into nothing.
var structuralKeys = map[string]bool{
	"actions": true, "action_reason": true, "address": true, "previous_address": true, "module_address": true,
	"mode": true, "type": true, "name": true, "index": true, "provider_name": true, "provider_config_key": true,
	"full_name": true, "references": true, "replace_paths": true, "resource": true, "attribute": true,
	"format_version": true, "terraform_version": true, "kind": true, "status": true, "source": true,
	"version_constraint": true, "to_display": true, "module": true, "depends_on": true, "timestamp": true,
}

// valueKeys are the keys below which everything is a value.
var valueKeys = map[string]bool{
	"before": true, "after": true, "values": true, "value": true, "constant_value": true, "default": true,
	"config_values": true, "before_identity": true, "after_identity": true, "importing": true,
}

// object scrubs the values of n; inData tells that n is itself a value, where
// a key that looks like grammar is an attribute.
func (s scrubber) object(n map[string]any, inData bool) {
	for key, inner := range n {
		if !inData && structuralKeys[key] {
			if _, nested := inner.(map[string]any); !nested {
				continue
			}
		}
		n[key] = s.node(inner, inData || valueKeys[key])
	}
}

// text is a text, or what stands for it.
func (s scrubber) text(text string) string {
	if len(s.secrets) > 0 && text != Value && text != Changed && s.finder.Replace(text) != text {
		return Value
	}
	return text
}

func (s scrubber) node(node any, inData bool) any {
	switch n := node.(type) {
	case string:
		return s.text(n)
	case json.Number:
		if s.secrets[n.String()] {
			return Value
		}
	case map[string]any:
		s.object(n, inData)
	case []any:
		for i, inner := range n {
			n[i] = s.node(inner, inData)
		}
	}
	return node
}

func object(n map[string]any, key string) map[string]any {
	inner, _ := n[key].(map[string]any)
	return inner
}

func list(node any) []any {
	inner, _ := node.([]any)
	return inner
}

func isTrue(node any) bool {
	yes, ok := node.(bool)
	return ok && yes
}

// IsMarked tells whether the marks of a value, true or trees of true, mark anything.
func IsMarked(marks any) bool {
	switch m := marks.(type) {
	case bool:
		return m
	case map[string]any:
		for _, inner := range m {
			if IsMarked(inner) {
				return true
			}
		}
	case []any:
		for _, inner := range m {
			if IsMarked(inner) {
				return true
			}
		}
	}
	return false
}

func equal(a, b any) bool {
	left, errLeft := json.Marshal(a)
	right, errRight := json.Marshal(b)
	return errLeft == nil && errRight == nil && bytes.Equal(left, right)
}
