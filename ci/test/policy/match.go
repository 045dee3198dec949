package policy

import "strings"

// matches compares with a pattern in which * stands for any text and ? for any
// one character.
func matches(pattern, text string) bool {
	// The place in text that the last * stands for, from which to go on when what
	// follows it does not fit.
	star, from := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchesAction compares actions, in which the case does not matter.
func matchesAction(pattern, action string) bool {
	return matches(strings.ToLower(pattern), strings.ToLower(action))
}

// segments is how many parts an ARN has; the last one may itself have colons.
const segments = 6

// matchesARN compares ARNs part by part: a wildcard does not reach over a colon
// before the last part.
func matchesARN(pattern, arn string) bool {
	wanted, parts := strings.SplitN(pattern, ":", segments), strings.SplitN(arn, ":", segments)
	if len(wanted) != segments || len(parts) != segments {
		return false
	}
	for n := range wanted {
		if !matches(wanted[n], parts[n]) {
			return false
		}
	}
	return true
}

// matchesResource compares what a request acts upon, "*" for nothing in particular.
func matchesResource(pattern, resource string) bool {
	return pattern == "*" || matchesARN(pattern, resource)
}

// match says whether a value is meant.
func (p Patterns) match(value string, matches func(pattern, value string) bool) bool {
	for _, pattern := range p.Values {
		if matches(pattern, value) {
			return !p.Not
		}
	}
	return p.Not
}
