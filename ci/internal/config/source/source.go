// Package source asks git about the source tree: at which commit it is,
// whether it is clean, which files belong to it.
package source

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"dagger/slipway/internal/report/outcome"
)

// Tree is a git work tree.
type Tree struct {
	// Dir is its root, or a folder of it that has the services file.
	Dir string
}

// Revision is what a tree holds.
type Revision struct {
	SHA   string // full id of the commit at HEAD
	Dirty bool   // whether tracked files differ from it or files wait to be added
}

// Version names the revision where people and containers see it: the full
// commit id, marked when the tree holds more than the commit.
func (r Revision) Version() string {
	if r.Dirty {
		return r.SHA + "-dirty"
	}
	return r.SHA
}

// Open checks that dir is part of a git work tree. What keeps git from reading
// it is a usage error.
func Open(ctx context.Context, dir string) (Tree, error) {
	tree, err := OpenFolder(dir)
	if err != nil {
		return Tree{}, err
	}
	return tree, tree.checkReadable(ctx)
}

// OpenFolder is a tree that git need not know, for what only reads the services file.
// What asks git for more than that gets the error of [Open] then.
func OpenFolder(dir string) (Tree, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return Tree{}, outcome.Usagef("no source tree at %s: name its root with --source", dir)
	}
	return Tree{Dir: dir}, nil
}

// checkReadable is the usage error that says why git does not know the tree.
func (t Tree) checkReadable(ctx context.Context) error {
	facts, err := t.Git(ctx, "rev-parse", "--is-inside-work-tree", "--show-prefix")
	inside, prefix, _ := strings.Cut(strings.TrimSpace(facts), "\n")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return outcome.Usagef("git is not installed: install it (the pipeline ships what git knows)")
	case err != nil && strings.Contains(err.Error(), "dubious ownership"):
		return outcome.Usagef("%s belongs to another user, and git will not read it: git config --global --add safe.directory %s", t.Dir, absolute(t.Dir))
	case err != nil && ctx.Err() == nil:
		return outcome.Usagef("%s is not a git work tree: clone the repository, or run git init, git add and git commit (%w)", t.Dir, err)
	case err != nil:
		return err
	case inside != "true":
		return outcome.Usagef("%s is not a git work tree but git's own folder: name the tree with --source", t.Dir)
	case prefix == "":
		return nil
	}
	list, err := t.Git(ctx, "ls-files", "-z", "--cached", "--", ".")
	if err == nil && list == "" {
		return outcome.Usagef("%s is not a git work tree of its own, and the repository above it tracks nothing in it: git add it there, or run git init in it", t.Dir)
	}
	return err
}

// absolute is dir from the root, as git wants it in its configuration.
func absolute(dir string) string {
	full, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	return full
}

// Revision tells the commit at HEAD. A tree without a commit is a usage error.
func (t Tree) Revision(ctx context.Context) (Revision, error) {
	sha, err := t.head(ctx)
	if err != nil {
		return Revision{}, err
	}
	status, err := t.Git(ctx, "status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=none", "--", ".")
	if err != nil {
		return Revision{}, err
	}
	return Revision{SHA: sha, Dirty: status != ""}, nil
}

// head is the full id of the commit at HEAD, which must hold the tree's folder:
// a repository above that does not know it says nothing about what is in it.
func (t Tree) head(ctx context.Context) (string, error) {
	ids, err := t.Git(ctx, "rev-parse", "--quiet", "HEAD^{commit}", "HEAD:./")
	if err == nil {
		sha, _, _ := strings.Cut(ids, "\n")
		return sha, nil
	}
	if ctx.Err() != nil {
		return "", err
	}
	if err := t.checkReadable(ctx); err != nil {
		return "", err
	}
	return "", outcome.Usagef("%s has no commit yet: commit first", t.Dir)
}

// CommittedAt tells when the commit at HEAD was made.
func (t Tree) CommittedAt(ctx context.Context) (time.Time, error) {
	at, err := t.Git(ctx, "show", "--no-patch", "--format=%cI", "HEAD")
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, strings.TrimSpace(at))
}

// Commit is a commit in a few words.
type Commit struct {
	SHA     string // its full id
	Subject string
}

// RecentCommits lists the last n commits at HEAD, the newest first.
func (t Tree) RecentCommits(ctx context.Context, n int) ([]Commit, error) {
	list, err := t.Git(ctx, "log", "--format=%H %s", "--max-count="+strconv.Itoa(n), "HEAD")
	if err != nil {
		return nil, err
	}
	var commits []Commit
	for line := range strings.Lines(list) {
		sha, subject, _ := strings.Cut(strings.TrimSpace(line), " ")
		commits = append(commits, Commit{sha, subject})
	}
	return commits, nil
}

// Files lists the files below folder that git tracks and that exist, sorted,
// slash-separated and relative to folder. A file that was never added is not
// among them: what ships is what the repository knows. Submodules are others'.
func (t Tree) Files(ctx context.Context, folder string) ([]string, error) {
	list, err := t.Git(ctx, "-C", filepath.FromSlash(folder), "ls-files", "-s", "-z", "--cached", "--deduplicate", "--", ".")
	if err != nil {
		return nil, err
	}
	var files []string
	for _, line := range splitNUL(list) {
		facts, name, _ := strings.Cut(line, "\t") // mode id stage
		if strings.HasPrefix(facts, submoduleMode) || len(files) > 0 && files[len(files)-1] == name {
			continue
		}
		_, err := os.Lstat(filepath.Join(t.Dir, filepath.FromSlash(folder), filepath.FromSlash(name)))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			var at *os.PathError
			if errors.As(err, &at) {
				err = at.Err // without the path, which is told already
			}
			return nil, fmt.Errorf("listing %s: %s: %w", folder, Display(name), err)
		}
		files = append(files, name)
	}
	return files, nil
}

// ConvertedLineEndings finds a file below folder whose line endings git changed when it
// wrote the work tree, as core.autocrlf makes it do: its bytes are others here
// than elsewhere. Empty: there is none. A file that .gitattributes gives its
// line endings has the same everywhere.
func (t Tree) ConvertedLineEndings(ctx context.Context, folder string) (string, error) {
	list, err := t.Git(ctx, "-C", filepath.FromSlash(folder), "ls-files", "-z", "--eol", "--cached", "--deduplicate", "--", ".")
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		// i/lf    w/crlf  attr/text=auto        \tname
		facts, name, _ := strings.Cut(line, "\t")
		fields := strings.Fields(facts)
		if len(fields) < 3 || fields[2] == "attr/-text" || strings.Contains(facts, " eol=") {
			continue
		}
		inIndex, inTree := strings.TrimPrefix(fields[0], "i/"), strings.TrimPrefix(fields[1], "w/")
		if inIndex != "lf" || inTree != "crlf" {
			continue
		}
		// Git takes what it converted for unchanged, and what somebody edited
		// for changed.
		changed, err := t.Git(ctx, "-C", filepath.FromSlash(folder), "diff", "--name-only", "--", ":(literal)"+name)
		if err != nil {
			return "", err
		}
		if changed == "" {
			return name, nil
		}
	}
	return "", nil
}

// maxDisplayed is how many bytes of a file's name people are shown.
const maxDisplayed = 200

// Display is a file's name as a message can say it: on one line, and without
// its middle where it is very long.
func Display(name string) string {
	if len(name) > maxDisplayed {
		name = strings.ToValidUTF8(name[:maxDisplayed/2], "") + "…" + strings.ToValidUTF8(name[len(name)-maxDisplayed/2:], "")
	}
	if strconv.CanBackquote(name) && !strings.Contains(name, "\t") {
		return name
	}
	return strconv.Quote(name)
}
