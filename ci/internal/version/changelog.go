package version

import (
	"cmp"
	"context"
	_ "embed"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Repository is the repository of slipway, of which its module paths and references are
// made.
const Repository = "github.com/slipway-cd/slipway"

// release is the version of a release, such as v1.2.3. A release's build sets it with
// -ldflags=-X; go install PATH@VERSION records it by itself.
var release string

// Release returns the version of this build; "" if it is not a release.
func Release() string {
	if release != "" {
		return release
	}
	build, ok := debug.ReadBuildInfo()
	if !ok || module.IsPseudoVersion(build.Main.Version) || semver.Build(build.Main.Version) != "" {
		return ""
	}
	return semver.Canonical(build.Main.Version)
}

// changelog is a copy of CHANGELOG.md: Go embeds no file of a parent folder. It is not
// named .md, because its links are those of the root.
//
//go:embed changelog.txt
var changelog string

// Changelog returns the changes of all releases that this build knows.
func Changelog() Releases { return parseChangelog(changelog) }

// Releases are the sections of a changelog, the newest first.
type Releases []Changes

// Changes are what changed in a release.
type Changes struct {
	// Version is the release, such as v1.2.3.
	Version string `json:"version"`
	// Notes is its section of the changelog, as Markdown without its heading.
	Notes string `json:"notes"`
}

// heading matches the heading of a release: ## [1.2.3] - 2026-01-31
var heading = regexp.MustCompile(`(?m)^## \[?v?([0-9]+\.[0-9]+\.[0-9]+[^\]\s]*)\]?.*$`)

func parseChangelog(text string) Releases {
	var all Releases
	found := heading.FindAllStringSubmatchIndex(text, -1)
	for _, at := range found {
		notes := text[at[1]:]
		if next := strings.Index(notes, "\n## "); next >= 0 {
			notes = notes[:next]
		}
		all = append(all, Changes{Version: "v" + text[at[2]:at[3]], Notes: strings.TrimSpace(notes)})
	}
	slices.SortStableFunc(all, func(a, b Changes) int { return semver.Compare(b.Version, a.Version) })
	return all
}

// Between returns the releases after one and up to another.
func (r Releases) Between(after, to string) Releases {
	return slices.DeleteFunc(slices.Clone(r), func(c Changes) bool {
		return semver.Compare(c.Version, after) <= 0 || semver.Compare(c.Version, to) > 0
	})
}

// Newest returns the newest release; "" if there is none.
func (r Releases) Newest() string {
	if len(r) == 0 {
		return ""
	}
	return r[0].Version
}

// Resolver finds the release to pin.
type Resolver struct {
	// Own is the version of this build, or "".
	Own string
	// Known are the releases that this build knows.
	Known Releases
	// Exists asks the repository whether a version exists.
	Exists func(ctx context.Context, version string) (bool, error)
}

// NewResolver returns the resolver of this build.
func NewResolver() Resolver {
	return Resolver{Own: Release(), Known: Changelog(), Exists: tagExists}
}

// Resolve returns the version to pin: the named one, if it exists, or else that of this
// build or the newest that it knows. flag is the flag that names one.
func (r Resolver) Resolve(ctx context.Context, flag, named string) (string, error) {
	if named == "" {
		if version := cmp.Or(r.Own, r.Known.Newest()); version != "" {
			return version, nil
		}
		return "", outcome.Usagef("this build of slipway is no release and knows none: name a version with %s, or go install %s/ci/cmd/slipway@latest", flag, Repository)
	}
	if semver.Canonical(named) != named {
		return "", outcome.Usagef("invalid %s %q: want a version like v1.2.3", flag, named)
	}
	if named == r.Own || slices.ContainsFunc(r.Known, func(c Changes) bool { return c.Version == named }) {
		return named, nil
	}
	exists, err := r.Exists(ctx, named)
	switch {
	case err != nil:
		return "", outcome.Usagef("version %s is not in the changelog of this slipway (newest: %s), and %s cannot be asked for it: %s: go install %[3]s/ci/cmd/slipway@%[1]s, and run that one", named, cmp.Or(r.Known.Newest(), "none"), Repository, outcome.OneLine(err.Error()))
	case !exists:
		return "", outcome.Usagef("version %s does not exist in %s: leave out %s for %s", named, Repository, flag, cmp.Or(r.Own, r.Known.Newest(), "the newest"))
	}
	return named, nil
}

// tagExists asks the repository for the tag of a version.
func tagExists(ctx context.Context, version string) (bool, error) {
	list, err := source.Tree{Dir: "."}.Git(ctx, "ls-remote", "--tags", "https://"+Repository+".git", "refs/tags/"+version)
	return list != "", err
}
