package preflight

import (
	"fmt"
	"slices"
	"strings"
)

// NotChecked begins the notes about what could not be checked; the others are remarks.
const NotChecked = "not checked: "

// skipKey is a reason why things of one kind could not be checked.
type skipKey struct{ kind, reason string }

// note adds a remark that fails nothing.
func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// skip notes that a thing of a kind was not checked, and why. Things that
// share kind and reason end up in one note: two hundred services make one line.
func (r *run) skip(kind, thing, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := skipKey{kind, reason}
	r.skipped[g] = append(r.skipped[g], thing)
}

// maxListed is how many things a note names; it counts the rest.
const maxListed = 5

// allNotes lists the notes, sorted.
func (r *run) allNotes() []string {
	notes := slices.Clone(r.notes)
	for g, things := range r.skipped {
		slices.Sort(things)
		things = slices.Compact(things)
		rest := ""
		if more := len(things) - maxListed; more > 0 {
			things, rest = things[:maxListed], fmt.Sprintf(" and %d more", more)
		}
		notes = append(notes, fmt.Sprintf(NotChecked+"%s %s%s: %s", g.kind, strings.Join(things, ", "), rest, g.reason))
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}
