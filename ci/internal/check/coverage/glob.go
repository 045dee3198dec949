package coverage

import (
	"fmt"
	"path"
	"strings"
)

// Globs are patterns of slash-separated paths relative to the root of the source tree, in
// the syntax of [path.Match]. In addition, the element "**" matches zero or more
// directories. A pattern that begins with "!" excludes matches of earlier patterns.
type Globs []string

// Check returns an error that names the first malformed pattern.
func (g Globs) Check() error {
	for _, pattern := range g {
		for element := range strings.SplitSeq(strings.TrimPrefix(pattern, "!"), "/") {
			if _, err := path.Match(element, ""); err != nil {
				return fmt.Errorf("pattern %q: %w", pattern, err)
			}
		}
	}
	return nil
}

// Match reports whether the last pattern that matches name does not begin with "!". A
// malformed pattern matches nothing.
func (g Globs) Match(name string) bool {
	elements, matched := strings.Split(name, "/"), false
	for _, pattern := range g {
		pattern, negated := strings.CutPrefix(pattern, "!")
		if matchElements(strings.Split(pattern, "/"), elements) {
			matched = !negated
		}
	}
	return matched
}

func matchElements(pattern, name []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for i := range len(name) + 1 {
				if matchElements(pattern[1:], name[i:]) {
					return true
				}
			}
			return false
		}
		if len(name) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], name[0]); !ok || err != nil {
			return false
		}
		pattern, name = pattern[1:], name[1:]
	}
	return len(name) == 0
}
