// Package redact removes the sensitive values from a Terraform plan in JSON.
//
// `terraform show -json` writes every value in clear text and marks the sensitive
// ones. The redacted plan has the same structure.
// https://developer.hashicorp.com/terraform/internals/json-format
package redact

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Replacements for a sensitive value. Changed replaces a value that differs from
// the previous one, which is not secret.
const (
	Value   = "(sensitive value)"
	Changed = "(sensitive value, changes)"
)

// minSecretLength is the minimum length in bytes of a sensitive string that is
// searched for in the rest of the plan: shorter ones occur by chance.
const minSecretLength = 6

// The sanitize package of terraform-json is not enough: it does not redact drift,
// defaults and literals of the configuration, or sections that it does not know.

// Plan returns the plan without its sensitive values: those that Terraform marks in
// values, changes, drift, outputs and variables; defaults and literals of the
// configuration that set them; and any string elsewhere that contains one.
//
// It also returns a function that redacts any text that contains one of the values or
// one of secrets. The plan itself is not searched for secrets.
func Plan(document []byte, secrets ...string) (redacted []byte, redactText func(string) string, err error) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber() // keep numbers as written
	var plan map[string]any
	if err := decoder.Decode(&plan); err != nil {
		return nil, nil, fmt.Errorf("reading the plan as JSON: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, nil, fmt.Errorf("reading the plan as JSON: more than one document")
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

// redactor collects the sensitive strings of a plan.
type redactor struct {
	secrets map[string]bool
}

// variables redacts the values of the root module's sensitive variables. The plan
// marks them only in the configuration.
func (r *redactor) variables(plan map[string]any) {
	declared := object(object(plan, "configuration"), "root_module")
	values := object(plan, "variables")
	for name, variable := range object(declared, "variables") {
		if v, ok := variable.(map[string]any); !ok || v["sensitive"] != true {
			continue
		}
		if value, ok := values[name].(map[string]any); ok {
			r.maskKey(value, "value")
		}
	}
}

// secretSetting matches the names of secret provider settings.
var secretSetting = regexp.MustCompile(`(?i)secret|token|passw|key|credential|auth|cert`)

// configuration redacts sensitive literals of the configuration.
func (r *redactor) configuration(plan map[string]any) {
	config := object(plan, "configuration")
	for _, provider := range object(config, "provider_config") {
		// The plan does not have the provider's schema, which marks sensitive
		// settings: redact all literals. But only secret settings are searched for
		// elsewhere: a region occurs in every ARN.
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
		if o, ok := output.(map[string]any); ok && o["sensitive"] == true {
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
			if v, ok := variable.(map[string]any); ok && v["sensitive"] == true {
				r.literals(expressions[name])
			}
		}
		r.module(called, sensitive)
	}
}

// defaults redacts the defaults of a module's sensitive variables.
func (r *redactor) defaults(module map[string]any) {
	for _, variable := range object(module, "variables") {
		if v, ok := variable.(map[string]any); ok && v["sensitive"] == true {
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

// sensitiveAttributes returns the attributes, by resource type, that any change or
// value of the plan marks as sensitive, entirely or in part.
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

// walk redacts marked values anywhere in the document. It does not depend on
// sections, so that sections of later Terraform versions are redacted as well.
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
		if n["sensitive"] == true {
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

// change redacts a change on both sides if either is sensitive: a value that
// becomes public was a secret, and vice versa.
func (r *redactor) change(n map[string]any) {
	before, marked := n["before_sensitive"]
	after, alsoMarked := n["after_sensitive"]
	if !marked && !alsoMarked {
		return
	}
	// The new value first: it is compared with the old one, still in clear text.
	n["after"] = r.maskChanged(n["before"], n["after"], after)
	n["before"] = r.mask(n["before"], before, Value)
	// The other side's marks, for values at the same path.
	n["before"] = r.mask(n["before"], after, Value)
	n["after"] = r.mask(n["after"], before, Value)
	if IsMarked(before) || IsMarked(after) {
		if config, ok := n["generated_config"].(string); ok {
			r.remember(config)
			n["generated_config"] = Value
		}
	}
}

// mask replaces the marked parts of value by text. Marks are true for a whole
// value, or have its structure.
func (r *redactor) mask(value, marks any, text string) any {
	if marks == true {
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

// maskChanged is like mask, for the value after a change.
func (r *redactor) maskChanged(before, after, marks any) any {
	if marks == true {
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

// maskKey redacts one key of n, if present.
func (r *redactor) maskKey(n map[string]any, key string) {
	if value, ok := n[key]; ok && value != nil {
		n[key] = r.mask(value, true, Value)
	}
}

// remember collects the strings in a sensitive value.
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

// scrubber returns a scrubber that replaces every string that contains a sensitive
// one. It replaces the whole string, because the rest may reveal the secret.
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

// structuralKeys are the keys that describe the plan's actions. Their values come
// from Terraform and the source, never from a sensitive value: a secret that is the
// word "create" must not change an action.
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

// object scrubs the values of n. inData means that n is itself a value, so that
// structural keys are ordinary attributes.
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

// text returns text, or the replacement for a sensitive one.
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

// IsMarked reports whether the marks of a value, true or trees of true, mark
// anything.
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
		return slices.ContainsFunc(m, IsMarked)
	}
	return false
}

func equal(a, b any) bool {
	left, errLeft := json.Marshal(a)
	right, errRight := json.Marshal(b)
	return errLeft == nil && errRight == nil && bytes.Equal(left, right)
}
