package source

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
)

// Top is the root of the repository that the tree is in.
func (t Tree) Top(ctx context.Context) (string, error) {
	top, err := t.Git(ctx, "rev-parse", "--show-toplevel")
	return filepath.FromSlash(strings.TrimSuffix(top, "\n")), err
}

// Differs tells whether any file is not as the commit at HEAD has it: changed, also
// where git was told not to look; not added; ignored; or in a submodule that is at
// another commit. The names are slash-separated and relative to the tree's folder, in
// the same repository.
func (t Tree) Differs(ctx context.Context, names []string) (bool, error) {
	for some := range slices.Chunk(names, 500) {
		status, err := t.Git(ctx, append([]string{"--literal-pathspecs", "status", "--porcelain", "--untracked-files=normal", "--ignored=matching", "--ignore-submodules=none", "--"}, some...)...)
		if err != nil || status != "" {
			return status != "", err
		}
		listed, err := t.Git(ctx, append([]string{"--literal-pathspecs", "ls-files", "-v", "-z", "--"}, some...)...)
		if err != nil {
			return false, err
		}
		for entry := range strings.SplitSeq(listed, "\x00") {
			tag, name, _ := strings.Cut(entry, " ")
			if tag == "H" || name == "" {
				continue
			}
			here, err := t.Git(ctx, "hash-object", "--", name)
			if err != nil {
				return false, err
			}
			if committed, err := t.Git(ctx, "rev-parse", "HEAD:./"+name); err != nil || here != committed {
				return true, err
			}
		}
	}
	return false, nil
}
