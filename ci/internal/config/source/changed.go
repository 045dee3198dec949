package source

import (
	"context"
	"strings"
)

// Changed lists the files that differ between the commit since and HEAD, sorted,
// slash-separated and relative to the root of the repository; a renamed file is listed
// under both names. It compares the two trees, not the history between them.
//
// known is false if since cannot be compared with: it is empty or all zeros, as in the
// event of a branch's first push, or this clone lacks the commit, as after a force push
// or in a shallow clone, or lacks its trees, as after git clone --filter=tree:0 if the
// origin cannot be reached.
func (t Tree) Changed(ctx context.Context, since string) (files []string, known bool, err error) {
	if !fullID.MatchString(since) || strings.Trim(since, "0") == "" {
		return nil, false, nil
	}
	if _, err := t.Git(ctx, "cat-file", "-e", since+"^{commit}"); err != nil {
		return nil, false, ctx.Err()
	}
	list, err := t.Git(ctx, "diff", "--name-only", "--no-renames", "--no-ext-diff", "--no-relative", "-z", since, "HEAD", "--")
	if err != nil {
		if _, partial := t.Git(ctx, "config", "--get-regexp", `^remote\..*\.promisor$`); partial == nil {
			return nil, false, nil // what it says of the other commit is elsewhere, and cannot be had
		}
		return nil, false, err
	}
	for name := range strings.SplitSeq(list, "\x00") {
		if name != "" {
			files = append(files, name)
		}
	}
	return files, true, nil
}
