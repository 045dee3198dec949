package infra

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// saveErroredState saves a state that Terraform could not write to the backend in
// the plan directory, out, and sets the next step: how to push it. It is the only
// record of the changes.
func (w *workDir) saveErroredState(a *ApplyReport, out, root string) {
	data, err := os.ReadFile(w.file(ErroredState))
	if err != nil {
		return // the backend has the state
	}
	file, err := filepath.Abs(filepath.Join(out, ErroredState))
	if err == nil {
		err = os.WriteFile(file, data, 0o600) //nolint:gosec // the user chooses the plan directory
	}
	if err != nil {
		file, w.keep = w.file(ErroredState), true
	}
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	a.Next = fmt.Sprintf("the state could not be written to the backend and is in %s, secrets included: when the backend is available again, "+
		"run terraform state push %[1]s in %s (after terraform init), delete the file, and plan again", file, root)
}

// checkErroredState refuses to continue while an errored state is to be pushed, in
// the plan directory or, after a manual apply, in the root module: the backend's
// state lacks the changes of that apply.
func (s Stage) checkErroredState(out string) error {
	for _, dir := range []string{out, s.folder()} {
		file := filepath.Join(dir, ErroredState)
		if _, err := os.Stat(file); err == nil {
			return outcome.Refusedf("%s is the state of an apply that could not be written to the backend: run terraform state push with it, then delete it", file)
		}
	}
	return nil
}
