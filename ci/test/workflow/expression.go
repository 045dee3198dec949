package workflow

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/rhysd/actionlint"
)

// scope has the contexts of an expression. Values are nil, bool, string, []any and
// map[string]any.
type scope struct {
	contexts map[string]any
	status   *status // nil if status functions are not allowed
}

// status is the result so far, for the status functions.
type status struct{ success, failure, cancelled bool }

// with returns the scope with one more context.
func (s scope) with(name string, context map[string]any) scope {
	contexts := maps.Clone(s.contexts)
	contexts[name] = context
	return scope{contexts, s.status}
}

// condition evaluates an "if", with or without ${{ }}. Without a status function it
// holds only if nothing has failed so far.
func (s scope) condition(source string) (bool, error) {
	source = strings.TrimSpace(source)
	inner := strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(source, "${{"), "}}"))
	switch {
	case source == "":
		return s.status.success, nil
	case strings.Contains(inner, "${{") || strings.HasPrefix(source, "${{") != strings.HasSuffix(source, "}}"):
		return false, fmt.Errorf("the condition %q is a text with an expression in it, which always holds", source)
	}
	asks := false
	value, err := s.evaluate(inner, func(string) { asks = true })
	return truth(value) && (asks || s.status.success), err
}

// interpolate replaces the expressions in a text with their values.
func (s scope) interpolate(source string) (string, error) {
	before, rest, found := strings.Cut(source, "${{")
	if !found {
		return source, nil
	}
	inner, after, _ := strings.Cut(rest, "}}")
	value, err := scope{contexts: s.contexts}.evaluate(inner, nil)
	if err != nil {
		return "", err
	}
	after, err = s.interpolate(after)
	return before + toString(value) + after, err
}

// evaluate evaluates an expression by GitHub's rules, as far as the workflows need
// them; anything else is an error. It calls asks with each status function.
func (s scope) evaluate(source string, asks func(function string)) (any, error) {
	tree, err := parseOnce(&expressions, source, parseExpression)
	if err != nil {
		return nil, err
	}
	value, err := s.value(tree, asks)
	if err != nil {
		return nil, fmt.Errorf("evaluating %q: %w", source, err)
	}
	return value, nil
}

// expressions has the parsed expressions, by their text.
var expressions sync.Map

func parseExpression(source string) (actionlint.ExprNode, error) {
	tree, problem := actionlint.NewExprParser().Parse(actionlint.NewExprLexer(source + "}}"))
	if problem != nil {
		return nil, fmt.Errorf("parsing %q: %s", source, problem.Message)
	}
	return tree, nil
}

func (s scope) value(node actionlint.ExprNode, asks func(string)) (any, error) {
	switch n := node.(type) {
	case *actionlint.BoolNode:
		return n.Value, nil
	case *actionlint.StringNode:
		return n.Value, nil
	case *actionlint.VariableNode:
		if value, ok := s.contexts[strings.ToLower(n.Name)]; ok {
			return value, nil
		}
		return nil, fmt.Errorf("there is no context %q here", n.Name)
	case *actionlint.ObjectDerefNode:
		of, err := s.value(n.Receiver, asks)
		return member(of, n.Property), err
	case *actionlint.IndexAccessNode:
		of, err := s.value(n.Operand, asks)
		if err != nil {
			return nil, err
		}
		name, err := s.value(n.Index, asks)
		return member(of, toString(name)), err
	case *actionlint.NotOpNode:
		value, err := s.value(n.Operand, asks)
		return !truth(value), err
	case *actionlint.LogicalOpNode:
		left, err := s.value(n.Left, asks)
		if err != nil || truth(left) == (n.Kind == actionlint.LogicalOpNodeKindOr) {
			return left, err
		}
		return s.value(n.Right, asks)
	case *actionlint.CompareOpNode:
		return s.compare(n, asks)
	case *actionlint.FuncCallNode:
		if strings.EqualFold(n.Callee, "fromJSON") {
			text, err := s.value(n.Args[0], asks)
			if err != nil {
				return nil, err
			}
			var value any
			return value, json.Unmarshal([]byte(toString(text)), &value)
		}
		if strings.EqualFold(n.Callee, "format") && len(n.Args) == 2 {
			text, err := s.value(n.Args[0], asks)
			if err != nil {
				return nil, err
			}
			value, err := s.value(n.Args[1], asks)
			return strings.ReplaceAll(toString(text), "{0}", toString(value)), err
		}
		results := map[string]bool{"always": true}
		if s.status != nil {
			results["success"], results["failure"], results["cancelled"] = s.status.success, s.status.failure, s.status.cancelled
		}
		if value, ok := results[strings.ToLower(n.Callee)]; ok && asks != nil {
			asks(n.Callee)
			return value, nil
		}
		return nil, fmt.Errorf("%s() is more than this package understands here", n.Callee)
	}
	return nil, fmt.Errorf("%T is more than this package understands", node)
}

// member returns the value of an object's property; that of a misspelled one is null, as
// on GitHub.
func member(of any, property string) any {
	object, _ := of.(map[string]any)
	for name, value := range object {
		if strings.EqualFold(name, property) {
			return value
		}
	}
	return nil
}

// compare compares strings without regard to case. Other types are an error, because
// GitHub's conversions are surprising: a string never equals true.
func (s scope) compare(n *actionlint.CompareOpNode, asks func(string)) (any, error) {
	left, err := s.value(n.Left, asks)
	if err != nil {
		return nil, err
	}
	right, err := s.value(n.Right, asks)
	if err != nil {
		return nil, err
	}
	for _, value := range []any{left, right} {
		if _, isText := value.(string); !isText && value != nil {
			return nil, fmt.Errorf("%v is compared, which is no text", value)
		}
	}
	equal := strings.EqualFold(toString(left), toString(right))
	switch n.Kind {
	case actionlint.CompareOpNodeKindEq:
		return equal, nil
	case actionlint.CompareOpNodeKindNotEq:
		return !equal, nil
	}
	return nil, fmt.Errorf("an order is more than this package understands")
}

// truth reports whether a value counts as true: everything except false, "" and null.
func truth(value any) bool { return value != nil && value != false && value != "" }

func toString(value any) string {
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}
