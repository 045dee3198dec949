package source

import (
	"context"
	"net/url"
	"regexp"
	"strings"
)

// Origin is where a tree comes from. Its fields are empty where git does not know.
type Origin struct {
	// Repository is the address of the remote "origin", without credentials, such
	// as "https://github.com/owner/name".
	Repository string
	// Ref is the branch, such as "refs/heads/main".
	Ref string
}

// Origin tells where the tree comes from. A tree without a remote, or one that is
// at no branch, is no error.
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

// scpURL is the short form of an address: [user@]host:path.
// https://git-scm.com/docs/git-clone#_git_urls
var scpURL = regexp.MustCompile(`^(?:[^/@:]+@)?([^/@:]{2,}):([^/].*)$`)

// publicURL is what of a remote's address others may see: credentials are taken out,
// and of a folder of this machine nothing is left.
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
