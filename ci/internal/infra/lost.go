package infra

import (
	"fmt"
	"os"
	"path/filepath"

	"dagger/slipway/internal/report/outcome"
)

// saveState moves the state that Terraform could not hand to the backend to the
// plan directory, out, and tells how to push it. Without it nobody would know what
// was made.
func (w *work) saveState(a *Applied, out, root string) {
	data, err := os.ReadFile(w.file(LostState))
	if err != nil {
		return // the backend has it
	}
	lost, err := filepath.Abs(filepath.Join(out, LostState))
	if err == nil {
		err = os.WriteFile(lost, data, 0o600) //nolint:gosec // the plan directory is the user's to name
	}
	if err != nil {
		lost, w.keep = w.file(LostState), true
	}
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	a.Next = fmt.Sprintf("the state could not be saved, and is in %s with all its secrets: when the backend answers again, "+
		"run terraform state push %[1]s in %s (after terraform init), delete the file, and plan again", lost, root)
}

// nothingLost refuses to go on while the state of an earlier apply waits to be
// pushed, in the plan directory or, after an apply by hand, beside the
// configuration: the backend's knows nothing of what that apply has made.
func (s Stage) nothingLost(out string) error {
	for _, dir := range []string{out, s.folder()} {
		lost := filepath.Join(dir, LostState)
		if _, err := os.Stat(lost); err == nil {
			return outcome.Refusedf("%s is the state of an apply that could not be saved: run terraform state push with it, then delete it", lost)
		}
	}
	return nil
}
