package workflow

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/rhysd/actionlint"
)

// Values in expressions are nil, bool, float64, string, map[string]any and []any.

// status is what the status functions tell: how all went until now.
type status struct{ success, failure, cancelled bool }

// scope is what an expression sees.
type scope struct {
	contexts map[string]any
	status   *status // nil where the status functions are not allowed
}

// evaluate computes an expression, by the rules of
// https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
func evaluate(source string, s scope) (any, error) {
	tree, err := parse(source)
	if err != nil {
		return nil, err
	}
	value, err := s.value(tree)
	if err != nil {
		return nil, fmt.Errorf("evaluating %q: %w", source, err)
	}
	return value, nil
}

func parse(source string) (actionlint.ExprNode, error) {
	tree, problem := actionlint.NewExprParser().Parse(actionlint.NewExprLexer(source + "}}"))
	if problem != nil {
		return nil, fmt.Errorf("parsing %q: %s", source, problem.Message)
	}
	return tree, nil
}

// condition computes an "if". One that asks for no status holds only while all
// has gone well.
func condition(source string, s scope) (bool, error) {
	source, err := bare(source)
	if err != nil {
		return false, err
	}
	if source == "" {
		return s.status.success, nil
	}
	tree, err := parse(source)
	if err != nil {
		return false, err
	}
	asks := false
	actionlint.VisitExprNode(tree, func(node, _ actionlint.ExprNode, _ bool) {
		if call, ok := node.(*actionlint.FuncCallNode); ok {
			switch strings.ToLower(call.Callee) {
			case "success", "failure", "cancelled", "always":
				asks = true
			}
		}
	})
	value, err := s.value(tree)
	if err != nil {
		return false, fmt.Errorf("evaluating %q: %w", source, err)
	}
	return truth(value) && (asks || s.status.success), nil
}

// bare takes the ${{ }} from around an expression. Anything beside it makes a
// text, which always holds: an error.
func bare(source string) (string, error) {
	source = strings.TrimSpace(source)
	inner, ok := strings.CutPrefix(source, "${{")
	if ok {
		inner, ok = strings.CutSuffix(inner, "}}")
	} else {
		inner = source
	}
	if strings.Contains(inner, "${{") || (!ok && inner != source) {
		return "", fmt.Errorf("the condition %q is a text with an expression in it, which always holds", source)
	}
	return strings.TrimSpace(inner), nil
}

// interpolate puts the values of the expressions into a text.
func interpolate(source string, s scope) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(source, "${{")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		inner, after, found := strings.Cut(rest, "}}")
		if !found {
			return "", fmt.Errorf("%q has a ${{ without a }}", source)
		}
		value, err := evaluate(strings.TrimSpace(inner), s)
		if err != nil {
			return "", err
		}
		b.WriteString(asText(value))
		source = after
	}
}

func (s scope) value(node actionlint.ExprNode) (any, error) {
	switch n := node.(type) {
	case *actionlint.NullNode:
		return nil, nil
	case *actionlint.BoolNode:
		return n.Value, nil
	case *actionlint.IntNode:
		return float64(n.Value), nil
	case *actionlint.FloatNode:
		return n.Value, nil
	case *actionlint.StringNode:
		return n.Value, nil
	case *actionlint.VariableNode:
		value, ok := s.contexts[strings.ToLower(n.Name)]
		if !ok {
			return nil, fmt.Errorf("there is no context %q here", n.Name)
		}
		return value, nil
	case *actionlint.ObjectDerefNode:
		of, err := s.value(n.Receiver)
		return property(of, n.Property), err
	case *actionlint.IndexAccessNode:
		of, err := s.value(n.Operand)
		if err != nil {
			return nil, err
		}
		index, err := s.value(n.Index)
		return property(of, asText(index)), err
	case *actionlint.NotOpNode:
		value, err := s.value(n.Operand)
		return !truth(value), err
	case *actionlint.LogicalOpNode:
		left, err := s.value(n.Left)
		if err != nil || truth(left) == (n.Kind == actionlint.LogicalOpNodeKindOr) {
			return left, err
		}
		return s.value(n.Right)
	case *actionlint.CompareOpNode:
		left, err := s.value(n.Left)
		if err != nil {
			return nil, err
		}
		right, err := s.value(n.Right)
		return compare(n.Kind, left, right), err
	case *actionlint.FuncCallNode:
		return s.call(n)
	}
	return nil, fmt.Errorf("%T is more than this package understands", node)
}

// property is null where there is none, as at GitHub: a name that is written wrong
// is no error there.
func property(of any, name string) any {
	object, _ := of.(map[string]any)
	for key, value := range object {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return nil
}

func (s scope) call(n *actionlint.FuncCallNode) (any, error) {
	var args []any
	for _, node := range n.Args {
		value, err := s.value(node)
		if err != nil {
			return nil, err
		}
		args = append(args, value)
	}
	name := strings.ToLower(n.Callee)
	switch {
	case name == "contains" && len(args) == 2:
		if list, ok := args[0].([]any); ok {
			for _, item := range list {
				if compare(actionlint.CompareOpNodeKindEq, item, args[1]) {
					return true, nil
				}
			}
			return false, nil
		}
		return strings.Contains(folded(args[0]), folded(args[1])), nil
	case name == "startswith" && len(args) == 2:
		return strings.HasPrefix(folded(args[0]), folded(args[1])), nil
	case name == "endswith" && len(args) == 2:
		return strings.HasSuffix(folded(args[0]), folded(args[1])), nil
	case name == "always":
		return true, nil
	case s.status == nil:
	case name == "success":
		return s.status.success, nil
	case name == "failure":
		return s.status.failure, nil
	case name == "cancelled":
		return s.status.cancelled, nil
	}
	return nil, fmt.Errorf("%s() is more than this package understands here", n.Callee)
}

func folded(value any) string { return strings.ToLower(asText(value)) }

// truth is what counts as true: all but false, 0, "" and null.
func truth(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case float64:
		return v != 0 && !math.IsNaN(v)
	case string:
		return v != ""
	}
	return true
}

// compare compares texts without case, and values of different types as numbers:
// 'true' == true is false, for the text is no number.
func compare(kind actionlint.CompareOpNodeKind, left, right any) bool {
	l, isText := left.(string)
	r, both := right.(string)
	if isText && both {
		return ordered(kind, strings.Compare(strings.ToLower(l), strings.ToLower(r)))
	}
	a, b := number(left), number(right)
	switch {
	case math.IsNaN(a) || math.IsNaN(b):
		return kind == actionlint.CompareOpNodeKindNotEq
	case a < b:
		return ordered(kind, -1)
	case a > b:
		return ordered(kind, 1)
	}
	return ordered(kind, 0)
}

func ordered(kind actionlint.CompareOpNodeKind, sign int) bool {
	switch kind {
	case actionlint.CompareOpNodeKindLess:
		return sign < 0
	case actionlint.CompareOpNodeKindLessEq:
		return sign <= 0
	case actionlint.CompareOpNodeKindGreater:
		return sign > 0
	case actionlint.CompareOpNodeKindGreaterEq:
		return sign >= 0
	case actionlint.CompareOpNodeKindNotEq:
		return sign != 0
	}
	return sign == 0
}

func number(value any) float64 {
	switch v := value.(type) {
	case nil:
		return 0
	case bool:
		if v {
			return 1
		}
		return 0
	case float64:
		return v
	case string:
		v = strings.TrimSpace(v)
		if v == "" {
			return 0
		}
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f
		}
	}
	return math.NaN()
}

func asText(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "Array"
	}
	return "Object"
}
