package infra_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/infra"
)

// isolated runs steps as containers do: each has only the parts of the tree, the
// outputs and the environment that it declares.
type isolated struct {
	source string
	room   string // stands for the root of every container
}

func (i isolated) Run(ctx context.Context, s step.Step, dir string) (step.Result, error) {
	src, out := filepath.Join(i.room, "src"), filepath.Join(i.room, "out")
	for _, folder := range []string{src, out} {
		if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o755)); err != nil {
			return step.Result{}, err
		}
	}
	for _, part := range s.Include {
		if err := copyTree(filepath.Join(src, part), filepath.Join(i.source, part)); err != nil {
			return step.Result{}, err
		}
	}
	for _, input := range s.Inputs {
		err := copyTree(filepath.Join(out, input), filepath.Join(dir, input))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return step.Result{}, err
		}
	}
	s = s.Expand(out)
	cmd := exec.CommandContext(ctx, s.Args[0], s.Args[1:]...)
	cmd.Dir = filepath.Join(src, s.Dir)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + i.room}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		for _, pattern := range s.PassEnv {
			prefix, open := strings.CutSuffix(pattern, "*")
			if name == pattern || (open && strings.HasPrefix(name, prefix)) {
				cmd.Env = append(cmd.Env, entry)
			}
		}
	}
	for name, value := range s.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return step.Result{}, err
	}
	if err := os.WriteFile(filepath.Join(out, s.Stdout), stdout.Bytes(), 0o600); err != nil {
		return step.Result{}, err
	}
	return step.Result{ExitCode: cmd.ProcessState.ExitCode(), Stderr: stderr.String()}, copyTree(dir, out)
}

// copyTree copies a file, or a folder over another.
func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(name string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, data, 0o600))
	})
}

func TestStepsDeclareInputs(t *testing.T) {
	tr := platformTree(t)
	tr.write(t, "tests/platform.tftest.hcl", wellTested)
	tr.Exec = isolated{tr.dir, t.TempDir()}

	found, err := tr.Validate(t.Context())
	require.NoError(t, err)
	require.Empty(t, found.Findings)
	require.Equal(t, 1, found.Roots[0].Passed)
	tr.mustPlan(t)
	require.Len(t, tr.mustApply(t).Applied, 3)
	require.False(t, tr.mustPlan(t, func(o *infra.PlanOptions) { o.NoLock = true }).Summary.Changes())
}
