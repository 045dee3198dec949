package scaffold

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/version"
)

// Upgraded is where the release that files name was moved.
type Upgraded struct {
	// From is the oldest release that a file named.
	From string `json:"from"`
	To   string `json:"to"`
	// Pins are the places that name a release.
	Pins []Pin `json:"pins"`
	// Changes are the changelog's notes of the releases after From up to To.
	Changes version.Releases `json:"changes"`
	// Check reports whether nothing was written.
	Check bool `json:"check"`
}

// Pin is a place that names a release.
type Pin struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Version string `json:"version"`
}

// Stale reports whether a file names another release than To.
func (u Upgraded) Stale() bool {
	return slices.ContainsFunc(u.Pins, func(p Pin) bool { return p.Version != u.To })
}

var (
	// reference matches a reference to slipway with its version: a Dagger module, an action or
	// workflow, or a Terraform module.
	reference = regexp.MustCompile(regexp.QuoteMeta(strings.TrimPrefix(version.Repository, "github.com/")) +
		`[A-Za-z0-9_./-]*(?:@|\?(?:[a-z]+=[^"&\s]*&)*ref=)(?:refs/tags/)?([A-Za-z0-9_./+-]+)`)
	// lockedCommit matches the commit that dagger install writes beside a version.
	lockedCommit = regexp.MustCompile(`,\s*"pin":\s*"[0-9a-f]*"`)
	commitID     = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// isReferenceFile reports whether a file may refer to slipway by its version.
func isReferenceFile(name string) bool {
	switch path.Ext(name) {
	case ".tf":
		return true
	case ".yml", ".yaml":
		return strings.HasPrefix(name, ".github/")
	}
	return path.Base(name) == daggerModule
}

// UpgradeOptions are the options of [Upgrade].
type UpgradeOptions struct {
	// Known are the releases whose notes are returned.
	Known version.Releases
	// Check writes nothing.
	Check bool
	// Forward refuses to move a file back to an older release.
	Forward bool
}

// Upgrade moves the release that the files of a tree name, all or nothing.
func Upgrade(ctx context.Context, tree source.Tree, to string, o UpgradeOptions) (Upgraded, error) {
	u := Upgraded{To: to, Check: o.Check, Changes: version.Releases{}}
	files, err := referenceFiles(ctx, tree)
	if err != nil {
		return u, err
	}
	if err := checkInside(tree.Dir, platformRoot, bootstrapRoot); err != nil {
		return u, err
	}
	var changes []change
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(tree.Dir, filepath.FromSlash(name)))
		if err != nil {
			continue // deleted, or a link to nowhere
		}
		moved, pins, err := movePins(name, data, to)
		if err != nil {
			return u, err
		}
		u.Pins = append(u.Pins, pins...)
		if !bytes.Equal(moved, data) {
			changes = append(changes, change{name, moved})
		}
	}
	if len(u.Pins) == 0 {
		return u, outcome.Usagef("no file in %s refers to %s by a version: run slipway init, or name another tree with --source", tree.Dir, version.Repository)
	}
	u.From = slices.MinFunc(u.Pins, func(a, b Pin) int { return semver.Compare(a.Version, b.Version) }).Version
	u.Changes = append(u.Changes, o.Known.Between(u.From, to)...)
	if n := slices.IndexFunc(u.Pins, func(pin Pin) bool { return semver.Compare(pin.Version, to) > 0 }); o.Forward && n >= 0 {
		return u, outcome.Usagef("%s:%d names %s, and this program is %s: go install %s/ci/cmd/slipway@%[3]s, or move back with --to %[4]s", u.Pins[n].File, u.Pins[n].Line, u.Pins[n].Version, to, version.Repository)
	}
	if o.Check {
		return u, nil
	}
	if err := write(ctx, tree, "", nil, changes); err != nil {
		return u, fmt.Errorf("moving to %s: %w: nothing was written", to, err)
	}
	return u, nil
}

// referenceFiles returns the files of a tree that may name a release. Of a folder of a
// repository, the workflows are in the repository's root.
func referenceFiles(ctx context.Context, tree source.Tree) ([]string, error) {
	files, err := tree.WorkFiles(ctx)
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(name string) bool { return !isReferenceFile(name) })
	_, top, err := tree.Prefix(ctx)
	if err != nil || top == "" {
		return files, err
	}
	above, err := source.Tree{Dir: filepath.Join(tree.Dir, top)}.WorkFiles(ctx)
	for _, name := range above {
		if strings.HasPrefix(name, ".github/") && isReferenceFile(name) {
			files = append(files, path.Join(top, name))
		}
	}
	return files, err
}

// checkInside checks that no link leads from one of the files to another tree, in which git
// does not list it.
func checkInside(dir string, names ...string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		at, err := filepath.EvalSymlinks(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			continue // it does not exist
		}
		if inside, err := filepath.Rel(dir, at); err != nil || !filepath.IsLocal(inside) {
			return outcome.Usagef("%s is a link to %s, in another tree: run slipway upgrade there, and put a copy here instead of the link", name, at)
		}
	}
	return nil
}

// movePins returns a file with the version of each reference moved.
func movePins(name string, data []byte, to string) (moved []byte, pins []Pin, err error) {
	var out bytes.Buffer
	end := 0
	for _, at := range reference.FindAllSubmatchIndex(data, -1) {
		pin := Pin{File: name, Line: 1 + bytes.Count(data[:at[2]], []byte("\n")), Version: string(data[at[2]:at[3]])}
		pin.Version = strings.TrimPrefix(pin.Version, "ci/")
		switch {
		case commitID.MatchString(pin.Version):
			return nil, nil, outcome.Usagef("%s:%d refers to slipway by the commit %s: write a version such as %s, or move it by hand", name, pin.Line, pin.Version[:12], to)
		case !semver.IsValid(pin.Version):
			continue // a branch: it follows by itself
		}
		pins = append(pins, pin)
		out.Write(data[end:at[2]])
		out.WriteString(to)
		end = at[3]
		if path.Base(name) != daggerModule || pin.Version == to {
			continue
		}
		// The commit of the old version, in the same object.
		object := data[end:]
		if brace := bytes.IndexByte(object, '}'); brace >= 0 {
			object = object[:brace]
		}
		if lock := lockedCommit.FindIndex(object); lock != nil {
			out.Write(object[:lock[0]])
			end += lock[1]
		}
	}
	out.Write(data[end:])
	return out.Bytes(), pins, nil
}

// JSON writes the result as one JSON document.
func (u Upgraded) JSON(w io.Writer) error { return report.WriteJSON(w, u) }

// summary says what was moved.
func (u Upgraded) summary() string {
	switch {
	case !u.Stale():
		return "all files name " + u.To
	case u.Check:
		return "not all files name " + u.To + ": run slipway upgrade --to " + u.To
	}
	return "moved from " + u.From + " to " + u.To
}

// Text writes the result for a terminal.
func (u Upgraded) Text(w io.Writer) error {
	var b strings.Builder
	b.WriteString(u.summary() + "\n")
	for _, pin := range u.Pins {
		if pin.Version != u.To {
			fmt.Fprintf(&b, "  %s:%d  %s → %s\n", pin.File, pin.Line, pin.Version, u.To)
		}
	}
	for _, changes := range u.Changes {
		fmt.Fprintf(&b, "\n%s\n\n%s\n", changes.Version, cmp.Or(changes.Notes, "no notes"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the result as Markdown.
func (u Upgraded) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", u.summary())
	for _, pin := range u.Pins {
		if pin.Version != u.To {
			fmt.Fprintf(&b, "\n- `%s:%d` %s → %s", pin.File, pin.Line, pin.Version, u.To)
		}
	}
	for _, changes := range u.Changes {
		fmt.Fprintf(&b, "\n\n## %s\n\n%s\n", changes.Version, cmp.Or(changes.Notes, "no notes"))
	}
	return report.WriteMarkdown(w, b.String()+"\n")
}
