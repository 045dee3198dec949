package source

import (
	"context"
	"strings"
)

// Changed lists the files that differ between the commit since and HEAD, sorted,
// slash-separated and relative to the root of the repository; a file that was
// moved is there under both names. It compares what the commits hold, not how one
// came from the other: after a merge that is what the merge brought, after a force
// push what became of the branch.
//
// known is false if there is nothing to compare with: since is empty or all zeros,
// which is what a branch's first push says, or names a commit that this clone
// lacks, as after a force push or in a shallow one, or lacks in part, as one that was
// made with --filter=tree:0 where its origin cannot be reached.
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
