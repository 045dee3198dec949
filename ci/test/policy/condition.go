package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Condition is an operator with one key of the request context.
type Condition struct {
	Operator string // as written, such as ForAnyValue:StringLikeIfExists
	Key      string
	Values   []string

	test func(wanted, value string) bool
	// not negates the operator: no value may match, as in StringNotEquals.
	not bool
	// ifExists makes the condition hold if the request has no such key.
	ifExists bool
	// set is ForAnyValue or ForAllValues, or "" for a single-valued key.
	set string
	// null tests whether the key exists.
	null bool
}

const (
	anyValue  = "ForAnyValue"
	allValues = "ForAllValues"
)

// operators are the supported operators, without Not and IfExists.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
var operators = map[string]func(wanted, value string) bool{
	"StringEquals":           func(wanted, value string) bool { return wanted == value },
	"StringEqualsIgnoreCase": strings.EqualFold,
	"StringLike":             matches,
	"ArnEquals":              matchesARN, // ArnEquals and ArnLike are the same
	"ArnLike":                matchesARN,
	"Bool":                   strings.EqualFold,
}

// negated maps operators with Not in their names to their positive form.
var negated = map[string]string{
	"StringNotEquals": "StringEquals", "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase", "StringNotLike": "StringLike",
	"ArnNotEquals": "ArnEquals", "ArnNotLike": "ArnLike",
}

// conditions parses a Condition element, sorted by operator and key.
func conditions(written map[string]map[string]element) ([]Condition, error) {
	var all []Condition
	for _, operator := range slices.Sorted(maps.Keys(written)) {
		for _, key := range slices.Sorted(maps.Keys(written[operator])) {
			c := Condition{Operator: operator, Key: key, Values: written[operator][key]}
			if err := c.read(); err != nil {
				return nil, err
			}
			all = append(all, c)
		}
	}
	return all, nil
}

// read parses the operator.
func (c *Condition) read() error {
	name := c.Operator
	if set, rest, ok := strings.Cut(name, ":"); ok {
		if set != anyValue && set != allValues {
			return fmt.Errorf("condition operator %s is not evaluated here", c.Operator)
		}
		c.set, name = set, rest
	}
	for _, value := range c.Values {
		if strings.Contains(value, "${") {
			return fmt.Errorf("%s has a policy variable, which is not evaluated here", value)
		}
	}
	if c.Operator == "Null" {
		c.null = true
		return c.parseBools()
	}
	name, c.ifExists = strings.CutSuffix(name, "IfExists")
	if positive, ok := negated[name]; ok {
		c.not, name = true, positive
	}
	if c.test = operators[name]; c.test == nil {
		return fmt.Errorf("condition operator %s is not evaluated here", c.Operator)
	}
	if name == "Bool" {
		return c.parseBools()
	}
	return nil
}

func (c *Condition) parseBools() error {
	for _, value := range c.Values {
		if _, err := strconv.ParseBool(value); err != nil {
			return fmt.Errorf("%s of %s takes true or false, and has %q", c.Operator, c.Key, value)
		}
	}
	return nil
}

// holds evaluates the condition. The values of a key are alternatives. A missing key
// satisfies only negated operators, IfExists and ForAllValues.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_multi-value-conditions.html
func (c Condition) holds(context map[string][]string) (bool, error) {
	values, there := lookUp(context, c.Key)
	switch {
	case c.null:
		return slices.Contains(c.Values, strconv.FormatBool(!there)), nil
	case !there:
		return c.not && c.set != anyValue || c.ifExists || c.set == allValues, nil
	case c.set == "" && len(values) != 1:
		return false, fmt.Errorf("%s compares one value, and %s has %d: write %s:%[1]s", c.Operator, c.Key, len(values), anyValue)
	case c.set == anyValue:
		return slices.ContainsFunc(values, c.fits), nil
	default:
		return !slices.ContainsFunc(values, func(value string) bool { return !c.fits(value) }), nil
	}
}

// fits reports whether a value of the request matches.
func (c Condition) fits(value string) bool {
	return c.not != slices.ContainsFunc(c.Values, func(wanted string) bool { return c.test(wanted, value) })
}

// lookUp finds a key without regard to case. A key without values counts as missing.
func lookUp(context map[string][]string, key string) ([]string, bool) {
	for name, values := range context {
		if strings.EqualFold(name, key) {
			return values, len(values) > 0
		}
	}
	return nil, false
}
