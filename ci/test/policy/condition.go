package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Condition is one operator on one key of a request's context.
type Condition struct {
	Operator string // as it is written: ForAnyValue:StringLikeIfExists
	Key      string
	Values   []string

	test func(wanted, value string) bool
	// not is an operator such as StringNotEquals, which wants none of the values.
	not bool
	// ifExists holds where the request does not have the key.
	ifExists bool
	// set is ForAnyValue or ForAllValues, "" for a key with one value.
	set string
	// null asks whether the key is there.
	null bool
}

const (
	anyValue  = "ForAnyValue"
	allValues = "ForAllValues"
)

// operators are the tests that are known, without Not and IfExists.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
var operators = map[string]func(wanted, value string) bool{
	"StringEquals":           func(wanted, value string) bool { return wanted == value },
	"StringEqualsIgnoreCase": strings.EqualFold,
	"StringLike":             matches,
	"ArnEquals":              matchesARN, // the two are the same
	"ArnLike":                matchesARN,
	"Bool":                   strings.EqualFold,
}

// negated are operators with Not in their names.
var negated = map[string]string{
	"StringNotEquals": "StringEquals", "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase", "StringNotLike": "StringLike",
	"ArnNotEquals": "ArnEquals", "ArnNotLike": "ArnLike",
}

// conditions reads a Condition element, in the order of operators and keys.
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

// read finds out what the operator means.
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

// holds evaluates the condition. The values of one key are alternatives, and a key
// that a request does not have fulfils only what is negated, IfExists or
// ForAllValues.
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

// fits compares one value of the request.
func (c Condition) fits(value string) bool {
	return c.not != slices.ContainsFunc(c.Values, func(wanted string) bool { return c.test(wanted, value) })
}

// lookUp finds a key, whose case does not matter. A key with no value is not there.
func lookUp(context map[string][]string, key string) ([]string, bool) {
	for name, values := range context {
		if strings.EqualFold(name, key) {
			return values, len(values) > 0
		}
	}
	return nil, false
}
