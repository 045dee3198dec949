package platform

import (
	"slices"
	"strings"

	"dagger/slipway/internal/outcome"
)

// Select returns the services with the given names, all of them when no name
// is given. An unknown name is a usage error with a suggestion.
func (p Platform) Select(names ...string) ([]Service, error) {
	known := p.Names()
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, unknownService(name, known)
		}
	}
	if len(names) == 0 {
		return p.Services, nil
	}
	return slices.DeleteFunc(slices.Clone(p.Services), func(s Service) bool {
		return !slices.Contains(names, s.Name)
	}), nil
}

func unknownService(name string, known []string) error {
	if near := nearest(name, known); near != "" {
		return outcome.Usagef("no service %q in %s: did you mean %q?", name, ServicesFile, near)
	}
	return outcome.Usagef("no service %q in %s: it has %s", name, ServicesFile, strings.Join(known, ", "))
}

// nearest is the known name within two edits of name, or one that begins with it.
func nearest(name string, known []string) string {
	best, distance := "", 3
	for _, candidate := range known {
		d := edits(name, candidate)
		if name != "" && strings.HasPrefix(candidate, name) {
			d = min(d, 1)
		}
		if d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// edits is the Levenshtein distance between a and b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			substitution := diagonal
			if a[i] != b[j] {
				substitution++
			}
			row[j+1] = min(substitution, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(b)]
}
