package scaffold

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/report/outcome"
)

// change is a file's new content, the file slash-separated and relative to the root
// of the tree.
type change struct {
	name string
	data []byte
}

// write writes a folder and some changes, all or nothing: what was done before an
// error is undone. The folder is made under another name first, and the first of
// the changes is the last to be written: before it nothing refers to the folder, so
// that a process that is killed leaves a folder at most.
func write(ctx context.Context, tree source.Tree, folder string, files []file, changes []change) (err error) {
	var undo []func() error
	defer func() {
		if err == nil {
			return
		}
		for _, step := range slices.Backward(undo) {
			err = errors.Join(err, step())
		}
	}()
	target := filepath.Join(tree.Dir, filepath.FromSlash(folder))
	made, err := makeParent(target)
	undo = append(undo, func() error { removeEmpty(made); return nil })
	if err != nil {
		return err
	}
	staged, err := writeTemp(filepath.Dir(target), files)
	undo = append(undo, func() error { return os.RemoveAll(staged) })
	if err != nil {
		return err
	}
	if err := os.Rename(staged, target); err != nil {
		return err
	}
	undo = append(undo, func() error { return os.RemoveAll(target) })
	if err := intendToAdd(ctx, tree, folder); err != nil {
		return err
	}
	undo = append(undo, func() error { return removeFromIndex(ctx, tree, folder) })
	for _, c := range slices.Backward(changes) {
		restore, err := replace(filepath.Join(tree.Dir, filepath.FromSlash(c.name)), c.data)
		if err != nil {
			return err
		}
		undo = append(undo, restore)
	}
	return nil
}

// makeParent makes the folders above target, and lists those that were not there,
// the outermost first.
func makeParent(target string) (made []string, err error) {
	for dir := filepath.Dir(target); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		made = append(made, dir)
	}
	slices.Reverse(made)
	return made, os.MkdirAll(filepath.Dir(target), 0o755)
}

// removeEmpty removes folders, the last first, as long as nothing is in them: what
// somebody has put there meanwhile is theirs.
func removeEmpty(folders []string) {
	for _, dir := range slices.Backward(folders) {
		if os.Remove(dir) != nil {
			return
		}
	}
}

// writeTemp writes files to a new folder below parent, and returns its name. There is
// a folder even after an error, "" where none could be made.
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

// replace gives a file another content at once, and returns how to undo that. A
// link stays one: what it leads to is replaced.
func replace(name string, data []byte) (undo func() error, err error) {
	name, err = filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	before, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	swap := func(data []byte) error { return source.WriteFileAtomic(name, data, info.Mode().Perm()) }
	return func() error { return swap(before) }, swap(data)
}

// intendToAdd tells git that the folder is to be added, without adding what is in it: a
// site's image is made of what git knows. A folder that git ignores is a usage
// error.
func intendToAdd(ctx context.Context, tree source.Tree, folder string) error {
	_, err := tree.Git(ctx, "add", "--intent-to-add", "--", folder)
	if err != nil && strings.Contains(err.Error(), "ignored by one of your .gitignore files") {
		return outcome.Usagef("git ignores %s, by a .gitignore: name another folder with --path", folder)
	}
	return err
}

// forget undoes that.
func removeFromIndex(ctx context.Context, tree source.Tree, folder string) error {
	_, err := tree.Git(context.WithoutCancel(ctx), "rm", "--cached", "-r", "-f", "-q", "--ignore-unmatch", "--", folder)
	return err
}
