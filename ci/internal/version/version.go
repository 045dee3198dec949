// Package version tells which slipway runs: the commit that it was made of, the
// Go that made it, and for which platform.
package version

import (
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

	"dagger/slipway/internal/config/source"
)

// Devel is the version of a program of which nobody knows the commit.
const Devel = "devel"

// Info is a version.
type Info struct {
	// Version is the commit in short, "-dirty" where the tree held more than the
	// commit, or [Devel].
	Version string `json:"version"`
	// Commit is its full id; "" where it is not known.
	Commit string `json:"commit"`
	// Modified tells whether files differed from the commit.
	Modified bool `json:"modified"`
	// CommittedAt is the commit's time; nil where it is not known.
	CommittedAt *time.Time `json:"committed_at,omitempty"`
	// Go is the version of Go that made it.
	Go string `json:"go"`
	// Platform is the operating system and architecture that it is for, such as
	// linux/amd64.
	Platform string `json:"platform"`
}

// Read tells what the go command wrote into this program. It writes no commit
// where it runs a program without keeping it (go run): then the tree at dir is
// asked, if it is one that slipway can be made of.
func Read(ctx context.Context, dir string) Info {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		build = &debug.BuildInfo{}
	}
	info := fromBuildInfo(build)
	if info.Commit == "" && isSlipwayTree(dir) {
		info.readGit(ctx, source.Tree{Dir: dir})
	}
	info.setVersion()
	return info
}

// of is what a program's build says.
func fromBuildInfo(build *debug.BuildInfo) Info {
	info := Info{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
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

// hasSlipway tells whether the tree at dir has this program's own source.
func isSlipwayTree(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "ci", "cmd", "slipway", "main.go"))
	return err == nil
}

// ask asks git. What it does not know stays unknown: a version is no reason to
// fail.
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

// name gives the version its short name.
func (i *Info) setVersion() {
	if i.Commit == "" {
		i.Version = Devel
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

// details are the whole commit and what the program was made with, for whoever
// reports a fault.
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
