package source

import (
	"context"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// TopLevel returns the root of the repository that contains the tree.
func (t Tree) TopLevel(ctx context.Context) (string, error) {
	top, err := t.Git(ctx, "rev-parse", "--show-toplevel")
	return filepath.FromSlash(strings.TrimSuffix(top, "\n")), err
}

// Prefix returns the tree's folder in the repository, "" for its root, and the path from
// there to the root, such as "../..". Both are slash-separated.
func (t Tree) Prefix(ctx context.Context) (folder, top string, err error) {
	prefix, err := t.Git(ctx, "rev-parse", "--show-prefix")
	folder = strings.TrimSuffix(strings.TrimSuffix(prefix, "\n"), "/")
	if folder == "" {
		return "", "", err
	}
	return folder, strings.Repeat("../", strings.Count(folder, "/")) + "..", err
}

// Modified reports whether a file differs from the commit at HEAD; see
// [Tree.CommittedFiles]. The names are slash-separated and relative to the tree's folder.
func (t Tree) Modified(ctx context.Context, names []string) (bool, error) {
	folders := map[string]bool{}
	for _, name := range names {
		folders[path.Dir(name)] = true
	}
	h, err := t.CommittedFiles(ctx, slices.Sorted(maps.Keys(folders))...)
	if err != nil {
		return false, err
	}
	differences, err := h.differences(ctx, names, true)
	return len(differences) > 0, err
}
