package source

import (
	"context"
	"regexp"
	"strings"

	"dagger/slipway/internal/report/outcome"
)

var (
	// fullID is a commit's id as images are tagged with it.
	fullID = regexp.MustCompile(`^[0-9a-fA-F]{40}$`)
	// shortID is the beginning of one, of at least git's four digits.
	shortID = regexp.MustCompile(`^[0-9a-fA-F]{4,39}$`)
)

// IsShortSHA tells whether sha looks like the beginning of a commit's id.
func IsShortSHA(sha string) bool { return shortID.MatchString(sha) }

// Resolve returns the full id of the commit that sha names; empty means HEAD.
// Only a full id is taken, and without asking git about it: a shallow clone may
// lack the commit whose images are to be deployed. Whatever else git knows, such
// as a shortened id or a branch, means one commit today and maybe another
// tomorrow; it is a usage error that says the full id.
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
		return "", t.unknownCommit(ctx, sha)
	}
	full = strings.TrimSpace(full)
	// A name goes before the beginning of an id, for git as well.
	name, _ := t.Git(ctx, "rev-parse", "--verify", "--quiet", "--symbolic-full-name", "--end-of-options", sha)
	if shortID.MatchString(sha) && strings.TrimSpace(name) == "" {
		return "", outcome.Usagef("%s is short for %s: give %s", sha, full, full)
	}
	return "", outcome.Usagef("%q is no commit id but a name, of %s now: give %s", sha, full, full)
}

// unknownCommit is the error about something that names no commit, or several.
func (t Tree) unknownCommit(ctx context.Context, sha string) error {
	if err := t.checkReadable(ctx); err != nil {
		return outcome.Usagef("%q is no full commit id, 40 hexadecimal digits, and git cannot complete it: %w", sha, err)
	}
	if !shortID.MatchString(sha) {
		return outcome.Usagef("git knows no commit %q: give its full id, 40 hexadecimal digits", sha)
	}
	if list, _ := t.Git(ctx, "rev-parse", "--disambiguate="+sha); strings.Count(list, "\n") > 1 {
		return outcome.Usagef("more than one id begins with %s: give all 40 digits", sha)
	}
	return outcome.Usagef("git knows no commit that begins with %s (a shallow clone lacks the older ones): give all 40 digits", sha)
}
