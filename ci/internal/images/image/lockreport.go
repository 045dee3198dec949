package image

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

// LockReport is the result of the lock command.
type LockReport struct {
	Images []LockedImage `json:"images"`
}

// LockedImage is one image of a [LockReport].
type LockedImage struct {
	Resolved
	State LockState `json:"state"`
}

// LockState is the state of an image of the lock file.
type LockState string

// The states. A check returns the second and third, an update the last.
const (
	UpToDate  LockState = "up to date"
	NotLocked LockState = "not locked"
	Stale     LockState = "stale"
	Locked    LockState = "locked" // to the registry's current digest
)

// NewLockReport returns the report of an update, or of a check that changed
// nothing.
func NewLockReport(renewals []Resolved, check bool) LockReport {
	all := LockReport{Images: []LockedImage{}}
	for _, r := range renewals {
		state := Locked
		switch {
		case !r.Stale():
			state = UpToDate
		case check && r.Locked == "":
			state = NotLocked
		case check:
			state = Stale
		}
		all.Images = append(all.Images, LockedImage{r, state})
	}
	return all
}

// Stale reports whether a locked digest was out of date.
func (r LockReport) Stale() bool {
	return slices.ContainsFunc(r.Images, func(one LockedImage) bool { return one.Stale() })
}

// JSON writes the report for programs.
func (r LockReport) JSON(w io.Writer) error { return report.WriteJSON(w, r) }

// Text writes the report for a terminal.
func (r LockReport) Text(w io.Writer) error {
	var b strings.Builder
	for _, one := range r.Images {
		fmt.Fprintf(&b, "%-12s %-10s  %s@%s  %s\n", one.Image, one.State, one.Reference, one.Digest, strings.Join(one.Platforms, ","))
		if one.Stale() && one.Locked != "" {
			fmt.Fprintf(&b, "%-12s %-10s  %s\n", "", "before", one.Locked)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the report for a job summary.
func (r LockReport) Markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| image | state | before | now | platforms |\n|---|---|---|---|---|\n")
	for _, one := range r.Images {
		fmt.Fprintf(&b, "| %s | %s | `%s` | `%s` | %s |\n", one.Reference, one.State, cmp.Or(one.Locked, "none"), one.Digest, strings.Join(one.Platforms, ", "))
	}
	return report.WriteMarkdown(w, b.String())
}
