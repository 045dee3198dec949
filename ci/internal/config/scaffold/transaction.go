package scaffold

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// change is the new content of a file. The name is slash-separated and relative to the
// root of the tree.
type change struct {
	name string
	data []byte
}

// write writes a new folder and changes to files, all or nothing: after an error it rolls
// back. It writes the folder under a temporary name, and the first of the changes, the
// reference to the folder, last: a killed process leaves at most an unused folder.
func write(ctx context.Context, tree source.Tree, folder string, files []file, changes []change) (err error) {
	var done undo
	defer done.after(&err)
	if len(files) > 0 {
		target := filepath.Join(tree.Dir, filepath.FromSlash(folder))
		if err := done.makeParent(target); err != nil {
			return err
		}
		staged, err := writeTemp(filepath.Dir(target), files)
		done = append(done, func() error { return os.RemoveAll(staged) })
		if err != nil {
			return err
		}
		if err := os.Rename(staged, target); err != nil {
			return err
		}
		done = append(done, func() error { return os.RemoveAll(target) })
		if err := intendToAdd(ctx, tree, folder); err != nil {
			return err
		}
		done = append(done, func() error { return removeFromIndex(ctx, tree, folder) })
	}
	for _, c := range slices.Backward(changes) {
		if err := done.replace(filepath.Join(tree.Dir, filepath.FromSlash(c.name)), c.data); err != nil {
			return err
		}
	}
	return nil
}

// undo are functions that undo what was done, in the order in which it was done.
type undo []func() error

// after undoes everything if *err is an error, the last first, and adds the errors of that.
func (u *undo) after(err *error) {
	if *err == nil {
		return
	}
	for _, step := range slices.Backward(*u) {
		*err = errors.Join(*err, step())
	}
}

// makeParent creates the folders above target.
func (u *undo) makeParent(target string) error {
	var created []string // the outermost first
	for dir := filepath.Dir(target); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		created = append(created, dir)
	}
	slices.Reverse(created)
	*u = append(*u, func() error { removeEmpty(created); return nil })
	return os.MkdirAll(filepath.Dir(target), 0o755)
}

// removeEmpty removes folders, the last one first, and stops at one that is not empty.
func removeEmpty(folders []string) {
	for _, dir := range slices.Backward(folders) {
		if os.Remove(dir) != nil {
			return
		}
	}
}

// writeTemp writes files to a new temporary folder in parent and returns its name. After
// an error the folder may exist; the name is "" if it could not be created.
func writeTemp(parent string, files []file) (string, error) {
	dir, err := os.MkdirTemp(parent, ".new-service-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return dir, err
	}
	for _, f := range files {
		name := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return dir, err
		}
		if err := os.WriteFile(name, f.data, 0o644); err != nil {
			return dir, err
		}
	}
	return dir, nil
}

// replace writes a file that exists, atomically. If the file is a symbolic link, it replaces
// the target.
func (u *undo) replace(name string, data []byte) error {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	swap := func(data []byte) error { return source.WriteFileAtomic(name, data, info.Mode().Perm()) }
	if err := swap(data); err != nil {
		return err
	}
	*u = append(*u, func() error { return swap(before) })
	return nil
}

// intendToAdd runs git add --intent-to-add for the folder, because images contain only
// files that git knows. A folder that git ignores is a usage error.
func intendToAdd(ctx context.Context, tree source.Tree, folder string) error {
	_, err := tree.Git(ctx, "add", "--intent-to-add", "--", folder)
	if err != nil && strings.Contains(err.Error(), "ignored by one of your .gitignore files") {
		return outcome.Usagef("git ignores %s because of a .gitignore file: choose another folder with --path", folder)
	}
	return err
}

// removeFromIndex undoes intendToAdd.
func removeFromIndex(ctx context.Context, tree source.Tree, folder string) error {
	_, err := tree.Git(context.WithoutCancel(ctx), "rm", "--cached", "-r", "-f", "-q", "--ignore-unmatch", "--", folder)
	return err
}
