package source

import (
	"context"
	"net/url"
	"regexp"
	"strings"
)

// Origin is the remote and branch of a tree. Fields that git does not know are empty.
type Origin struct {
	// Repository is the URL of the remote "origin" without credentials, such as
	// "https://github.com/owner/name".
	Repository string
	// Ref is the branch, such as "refs/heads/main".
	Ref string
}

// Origin returns the origin of the tree. A tree without a remote or with a detached
// HEAD is not an error.
func (t Tree) Origin(ctx context.Context) (Origin, error) {
	remote, err := t.Git(ctx, "config", "--get", "remote.origin.url")
	if err != nil && ctx.Err() != nil {
		return Origin{}, err
	}
	ref, err := t.Git(ctx, "symbolic-ref", "--quiet", "HEAD")
	if err != nil && ctx.Err() != nil {
		return Origin{}, err
	}
	return Origin{Repository: publicURL(strings.TrimSpace(remote)), Ref: strings.TrimSpace(ref)}, nil
}

// scpURL matches the scp-like form of a git URL: [user@]host:path.
// https://git-scm.com/docs/git-clone#_git_urls
var scpURL = regexp.MustCompile(`^(?:[^/@:]+@)?([^/@:]{2,}):([^/].*)$`)

// publicURL returns a remote's URL without credentials, and "" for a local path.
func publicURL(remote string) string {
	if match := scpURL.FindStringSubmatch(remote); match != nil {
		remote = "ssh://" + match[1] + "/" + match[2]
	}
	parsed, err := url.Parse(remote)
	if err != nil || parsed.Host == "" {
		return ""
	}
	clean := url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: strings.TrimSuffix(strings.TrimSuffix(parsed.Path, "/"), ".git")}
	return clean.String()
}
