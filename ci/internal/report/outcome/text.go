package outcome

import (
	"fmt"
	"strings"
)

// OneLine returns text as one line.
func OneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// JoinLines returns a message of several lines, such as that of joined errors, on one line.
func JoinLines(text string) string { return strings.ReplaceAll(text, "\n", "; ") }

// Count formats a number with a noun whose plural ends in s.
func Count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// Nearest returns the known name to suggest for a misspelled one: within two edits, or
// with name as its prefix; "" if none is.
func Nearest(name string, known []string) string {
	best, distance := "", 3
	for _, candidate := range known {
		d := editDistance(name, candidate)
		if name != "" && strings.HasPrefix(candidate, name) {
			d = min(d, 1)
		}
		if d < distance {
			best, distance = candidate, d
		}
	}
	return best
}

// Suggestion returns what to write instead of an unknown name: the nearest known one, or
// else any of them.
func Suggestion(name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return "did you mean " + near + "?"
	}
	return "want one of " + strings.Join(known, ", ")
}

// editDistance returns the Levenshtein distance of a and b.
func editDistance(a, b string) int {
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
