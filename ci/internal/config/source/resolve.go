package source

import (
	"context"
	"regexp"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

var (
	// fullID matches a full commit id, with which images are tagged.
	fullID = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)
	// shortID matches an abbreviated commit id; git accepts four digits or more.
	shortID = regexp.MustCompile(`^[0-9a-fA-F]{4,39}$`)
)

// IsShortSHA reports whether sha looks like an abbreviated commit id.
func IsShortSHA(sha string) bool { return shortID.MatchString(sha) }

// Resolve returns the full id of the commit that sha names; empty means HEAD. It
// returns a full id as it is, without git: a shallow clone may lack the commit whose
// images are deployed. An abbreviated id, a branch or a tag may name another commit
// tomorrow, so it is a usage error that contains the full id.
func (t Tree) Resolve(ctx context.Context, sha string) (string, error) {
	switch {
	case sha == "":
		return t.head(ctx)
	case fullID.MatchString(sha):
		return strings.ToLower(sha), nil
	}
	full, err := t.Git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", sha+"^{commit}")
	if err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		return "", t.unknownCommitError(ctx, sha)
	}
	full = strings.TrimSpace(full)
	// A ref takes precedence over an abbreviated id, as in git.
	name, _ := t.Git(ctx, "rev-parse", "--verify", "--quiet", "--symbolic-full-name", "--end-of-options", sha)
	if shortID.MatchString(sha) && strings.TrimSpace(name) == "" {
		return "", outcome.Usagef("%s is an abbreviated commit id: use the full id %s", sha, full)
	}
	return "", outcome.Usagef("%q is not a commit id: use the id of the commit that it names now, %s", sha, full)
}

// unknownCommitError returns the error for a name that matches no commit, or several.
func (t Tree) unknownCommitError(ctx context.Context, sha string) error {
	if err := t.checkReadable(ctx); err != nil {
		return outcome.Usagef("%q is not a full commit id (40 hexadecimal digits), and git cannot resolve it: %w", sha, err)
	}
	if !shortID.MatchString(sha) {
		return outcome.Usagef("unknown commit %q: use its full id, 40 hexadecimal digits", sha)
	}
	if list, _ := t.Git(ctx, "rev-parse", "--disambiguate="+sha); strings.Count(list, "\n") > 1 {
		return outcome.Usagef("commit id %s is ambiguous: use all 40 digits", sha)
	}
	return outcome.Usagef("unknown commit %s (a shallow clone lacks older commits): use all 40 digits", sha)
}
