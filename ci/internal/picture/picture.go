// Package picture makes the pictures of the README from real runs: docs/images has
// the terminal while a rehearsal releases, and the page while the old version gives
// way to the new one. What is committed is what is shown:
//
//	go generate ./ci/internal/picture
//
// It needs git, Go and Chromium (apt-get install -y chromium), and takes a minute.
package picture

//go:generate go run ./generate

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"dagger/slipway/internal/source"
)

// Dir is where the pictures are in the source tree.
const Dir = "docs/images"

// The pictures.
const (
	TerminalFile = "rehearse.svg"
	PageFile     = "rollout.png"
)

// Write makes the pictures of the source tree at root.
func Write(ctx context.Context, root string) error {
	work, err := os.MkdirTemp("", "slipway-picture-")
	if err != nil {
		return fmt.Errorf("making room for the rehearsals: %w", err)
	}
	defer os.RemoveAll(work)
	tree, err := checkout(ctx, root, work)
	if err != nil {
		return err
	}
	dir := filepath.Join(root, filepath.FromSlash(Dir))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making room for the pictures: %w", err)
	}
	for name, draw := range map[string]func(context.Context) ([]byte, error){TerminalFile: tree.terminal, PageFile: tree.page} {
		data, err := draw(ctx)
		if err != nil {
			return fmt.Errorf("making %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

// tree is a checkout to rehearse in, and the command built from it.
type tree struct{ dir, slipway string }

// checkout clones what is committed: a tree with changes would show a version that
// nobody has, and one with a name of this machine's.
func checkout(ctx context.Context, root, work string) (tree, error) {
	t := tree{dir: filepath.Join(work, "slipway"), slipway: filepath.Join(work, "bin", "slipway")}
	if _, err := (source.Tree{Dir: root}).Git(ctx, "clone", "--quiet", root, t.dir); err != nil {
		return t, err
	}
	return t, t.run(ctx, t.dir, "go", "build", "-o", t.slipway, "./ci/cmd/slipway")
}

// run runs a command to its end.
func (t tree) run(ctx context.Context, dir, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	said, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running %s %s: %w: %s", name, args[0], err, strings.TrimSpace(string(said)))
	}
	return nil
}
