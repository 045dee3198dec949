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
