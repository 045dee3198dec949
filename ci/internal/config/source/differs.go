package source

import (
	"context"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Top is the root of the repository that the tree is in.
func (t Tree) Top(ctx context.Context) (string, error) {
	top, err := t.Git(ctx, "rev-parse", "--show-toplevel")
	return filepath.FromSlash(strings.TrimSuffix(top, "\n")), err
}

// Differs tells whether any file is not what the commit at HEAD holds; see
// [Tree.Held]. The names are slash-separated and relative to the tree's folder.
func (t Tree) Differs(ctx context.Context, names []string) (bool, error) {
	folders := map[string]bool{}
	for _, name := range names {
		folders[path.Dir(name)] = true
	}
	h, err := t.Held(ctx, slices.Sorted(maps.Keys(folders))...)
	if err != nil {
		return false, err
	}
	differences, err := h.differences(ctx, names, true)
	return len(differences) > 0, err
}
