// Package version describes this build of slipway: its commit, Go version and platform.
package version

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
)

// Devel is the version of a build with an unknown commit.
const Devel = "devel"

// Info describes a build.
type Info struct {
	// Version is that of the module, such as v1.2.3, if it was built at a tag or by go
	// install. Otherwise it is the commit in short, with "-dirty" where the tree held more
	// than the commit, or [Devel].
	Version string `json:"version"`
	// Commit is its full id, or "" if it is unknown.
	Commit string `json:"commit"`
	// Modified reports whether files differed from the commit.
	Modified bool `json:"modified"`
	// CommittedAt is the commit's time, or nil if it is unknown.
	CommittedAt *time.Time `json:"committed_at,omitempty"`
	// Go is the version of Go that built it.
	Go string `json:"go"`
	// Platform is its operating system and architecture, such as linux/amd64.
	Platform string `json:"platform"`
}

// Read returns the build information of this program. "go run" records no commit; then
// it is that of the tree at dir, if that contains slipway's source.
func Read(ctx context.Context, dir string) Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{}
	}
	info := fromBuildInfo(build)
	if info.Version = cmp.Or(release, info.Version); release == "" && info.Commit == "" && IsSlipwayTree(dir) {
		info.readGit(ctx, source.Tree{Dir: dir})
	}
	info.setVersion()
	return info
}

// fromBuildInfo returns what the go command recorded in the program.
func fromBuildInfo(build *debug.BuildInfo) Info {
	info := Info{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if v := build.Main.Version; semver.IsValid(v) && semver.Build(v) != "+dirty" { // not "(devel)"
		info.Version = v
	}
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			info.Commit = s.Value
		case "vcs.modified":
			info.Modified = s.Value == "true"
		case "vcs.time":
			if at, err := time.Parse(time.RFC3339, s.Value); err == nil {
				info.CommittedAt = &at
			}
		}
	}
	return info
}

// IsSlipwayTree reports whether the tree at dir contains slipway's source.
func IsSlipwayTree(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "ci", "cmd", "slipway", "main.go"))
	return err == nil
}

// readGit reads the commit from git. If that fails, it stays unknown.
func (i *Info) readGit(ctx context.Context, tree source.Tree) {
	revision, err := tree.Revision(ctx)
	if err != nil {
		return
	}
	i.Commit, i.Modified = revision.SHA, revision.Dirty
	if at, err := tree.CommittedAt(ctx); err == nil {
		i.CommittedAt = &at
	}
}

// setVersion sets the version from the commit, if it is not a tag.
func (i *Info) setVersion() {
	switch {
	case i.Version != "" && !module.IsPseudoVersion(i.Version):
		return // a tag
	case i.Commit == "":
		i.Version = cmp.Or(i.Version, Devel)
		return
	}
	i.Version = i.Commit[:min(12, len(i.Commit))]
	if i.Modified {
		i.Version += "-dirty"
	}
}

// Text writes the version on one line.
func (i Info) Text(w io.Writer) error {
	_, err := fmt.Fprintf(w, "slipway %s (%s)\n", i.Version, strings.Join(i.details(), ", "))
	return err
}

// JSON writes the version as one JSON document.
func (i Info) JSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(i)
}

// Markdown writes the version on one line.
func (i Info) Markdown(w io.Writer) error {
	_, err := fmt.Fprintf(w, "slipway `%s` (%s)\n", i.Version, strings.Join(i.details(), ", "))
	return err
}

// details returns the full commit, Go version and platform, for bug reports.
func (i Info) details() []string {
	var details []string
	if i.Commit != "" {
		commit := "commit " + i.Commit
		if i.CommittedAt != nil {
			commit += " of " + i.CommittedAt.UTC().Format(time.DateOnly)
		}
		details = append(details, commit)
	}
	return append(details, i.Go, i.Platform)
}
