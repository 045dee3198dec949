package preflight

import (
	"fmt"
	"slices"
	"strings"
)

// NotChecked is the prefix of notes about what could not be checked.
const NotChecked = "not checked: "

// skipKey is a kind of resource and the reason why it could not be checked.
type skipKey struct{ kind, reason string }

// note adds a note.
func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// skip notes that a resource of a kind was not checked, and why. Resources with the same
// kind and reason share a note, so that many services make one line.
func (r *run) skip(kind, name, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := skipKey{kind, reason}
	r.skipped[key] = append(r.skipped[key], name)
}

// maxListed is how many names a note lists; it counts the others.
const maxListed = 5

// allNotes returns the notes, sorted.
func (r *run) allNotes() []string {
	notes := slices.Clone(r.notes)
	for key, names := range r.skipped {
		slices.Sort(names)
		names = slices.Compact(names)
		rest := ""
		if more := len(names) - maxListed; more > 0 {
			names, rest = names[:maxListed], fmt.Sprintf(" and %d more", more)
		}
		notes = append(notes, fmt.Sprintf(NotChecked+"%s %s%s: %s", key.kind, strings.Join(names, ", "), rest, key.reason))
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}
