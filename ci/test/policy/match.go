package policy

import "strings"

// matches reports whether text matches a pattern with the wildcards * (any text) and ?
// (one character).
func matches(pattern, text string) bool {
	// Position in text of the last *'s match, to resume from if the rest does not
	// match.
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

// matchesAction matches actions without regard to case.
func matchesAction(pattern, action string) bool {
	return matches(strings.ToLower(pattern), strings.ToLower(action))
}

// segments is the number of parts of an ARN. The last part may contain colons.
const segments = 6

// matchesARN matches ARNs part by part: a wildcard does not match a colon before the
// last part.
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

// matchesResource matches the resource of a request, "*" if it has none.
func matchesResource(pattern, resource string) bool {
	return pattern == "*" || matchesARN(pattern, resource)
}

// match reports whether a value matches, with regard to Not.
func (p Patterns) match(value string, matches func(pattern, value string) bool) bool {
	for _, pattern := range p.Values {
		if matches(pattern, value) {
			return !p.Not
		}
	}
	return p.Not
}
