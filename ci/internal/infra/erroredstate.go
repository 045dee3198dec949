package infra

import (
	"fmt"
	"os"
	"path/filepath"

	"dagger/slipway/internal/report/outcome"
)

// saveErroredState moves the state that Terraform could not hand to the backend to the
// plan directory, out, and tells how to push it. Without it nobody would know what
// was made.
func (w *workDir) saveErroredState(a *ApplyReport, out, root string) {
	data, err := os.ReadFile(w.file(ErroredState))
	if err != nil {
		return // the backend has it
	}
	file, err := filepath.Abs(filepath.Join(out, ErroredState))
	if err == nil {
		err = os.WriteFile(file, data, 0o600) //nolint:gosec // the plan directory is the user's to name
	}
	if err != nil {
		file, w.keep = w.file(ErroredState), true
	}
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	a.Next = fmt.Sprintf("the state could not be saved, and is in %s with all its secrets: when the backend answers again, "+
		"run terraform state push %[1]s in %s (after terraform init), delete the file, and plan again", file, root)
}

// checkErroredState refuses to go on while the state of an earlier apply waits to be
// pushed, in the plan directory or, after an apply by hand, beside the
// configuration: the backend's knows nothing of what that apply has made.
func (s Stage) checkErroredState(out string) error {
	for _, dir := range []string{out, s.folder()} {
		file := filepath.Join(dir, ErroredState)
		if _, err := os.Stat(file); err == nil {
			return outcome.Refusedf("%s is the state of an apply that could not be saved: run terraform state push with it, then delete it", file)
		}
	}
	return nil
}
