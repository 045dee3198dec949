// Package source reads the source tree with git: its commit, whether it is clean,
// and its files.
package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Tree is a git work tree.
type Tree struct {
	// Dir is its root, or a folder of it that has the services file.
	Dir string
}

// Revision is the commit of a tree and whether the tree differs from it.
type Revision struct {
	SHA   string // full id of the commit at HEAD
	Dirty bool   // whether git status reports changed or untracked files
}

// Version returns the full commit id, with the suffix "-dirty" if the tree differs
// from the commit.
func (r Revision) Version() string {
	if r.Dirty {
		return r.SHA + "-dirty"
	}
	return r.SHA
}

// Open returns the tree at dir. It returns a usage error if dir is not part of a git
// work tree that git can read.
func Open(ctx context.Context, dir string) (Tree, error) {
	tree, err := OpenFolder(dir)
	if err != nil {
		return Tree{}, err
	}
	return tree, tree.checkReadable(ctx)
}

// OpenFolder returns the tree at dir without requiring git, for commands that only read
// the services file. Methods that need git return the error of [Open].
func OpenFolder(dir string) (Tree, error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return Tree{}, outcome.Usagef("no source tree at %s: name its root with --source", dir)
	}
	return Tree{Dir: dir}, nil
}

// checkReadable returns a usage error that says why git cannot read the tree.
func (t Tree) checkReadable(ctx context.Context) error {
	output, err := t.Git(ctx, "rev-parse", "--is-inside-work-tree", "--show-prefix")
	inside, prefix, _ := strings.Cut(strings.TrimSpace(output), "\n")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return outcome.Usagef("git is not installed: install it")
	case err != nil && strings.Contains(err.Error(), "dubious ownership"):
		return outcome.Usagef("%s belongs to another user, so git does not read it: run git config --global --add safe.directory %s", t.Dir, absolute(t.Dir))
	case err != nil && ctx.Err() == nil && t.gitDirElsewhere() != "":
		return outcome.Usagef("the source tree is a linked worktree or a submodule, and its repository is not here (%s): with Dagger, which sends only the tree, call from a clone (git clone . DIR); on the host, run git worktree repair or git submodule update --init", t.gitDirElsewhere())
	case err != nil && ctx.Err() == nil:
		return outcome.Usagef("%s is not a git work tree: clone the repository, or run git init, git add and git commit (%w)", t.Dir, err)
	case err != nil:
		return err
	case inside != "true":
		return outcome.Usagef("%s is inside a .git folder: set --source to the work tree", t.Dir)
	case prefix == "":
		return nil
	}
	list, err := t.Git(ctx, "ls-files", "-z", "--cached", "--", ".")
	if err == nil && list == "" {
		return outcome.Usagef("%s is in a git repository that tracks none of its files: add them with git add, or run git init there", t.Dir)
	}
	return err
}

// gitDirElsewhere returns the path in the tree's .git file, as a linked worktree or a
// submodule has; "" if .git is a folder.
func (t Tree) gitDirElsewhere() string {
	text, err := os.ReadFile(filepath.Join(t.Dir, ".git"))
	if err != nil {
		return ""
	}
	dir, _ := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
	return dir
}

// absolute returns dir as an absolute path, which git's configuration requires.
func absolute(dir string) string {
	full, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	return full
}

// Revision returns the revision at HEAD. It returns a usage error if the tree has no
// commit.
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

// head returns the full id of the commit at HEAD. The commit must contain the tree's
// folder: the HEAD of a parent repository that does not track it is not its commit.
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
	id, err := t.Git(ctx, "rev-parse", "--quiet", "--verify", "HEAD")
	if _, missing := t.Git(ctx, "cat-file", "-e", "HEAD^{commit}"); err == nil && missing != nil {
		return "", outcome.Usagef("the clone lacks its own commit %s, such as one that borrows its objects from another (--shared, --reference): git repack -a -d where both are, or git clone without that", strings.TrimSpace(id))
	}
	return "", outcome.Usagef("%s has no commit yet: commit first", t.Dir)
}

// CommittedAt returns the committer date of HEAD.
func (t Tree) CommittedAt(ctx context.Context) (time.Time, error) { return t.CommitTime(ctx, "HEAD") }

// CommitTime returns the committer date of a commit, by its full id or HEAD.
func (t Tree) CommitTime(ctx context.Context, commit string) (time.Time, error) {
	if commit != "HEAD" && !fullID.MatchString(commit) {
		return time.Time{}, fmt.Errorf("%q is not the full id of a commit", commit)
	}
	at, err := t.Git(ctx, "show", "--no-patch", "--format=%cI", commit, "--")
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339, strings.TrimSpace(at))
}

// Commit is the id and subject of a commit.
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

// WorkFiles lists the files that git tracks or does not ignore, slash-separated. Some may
// not exist any more.
func (t Tree) WorkFiles(ctx context.Context) ([]string, error) {
	list, err := t.Git(ctx, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate", "--", ".")
	return splitNUL(list), err
}

// Files lists the tracked files below folder that exist, sorted, slash-separated and
// relative to folder. It excludes untracked files and submodules.
func (t Tree) Files(ctx context.Context, folder string) ([]string, error) {
	list, err := t.Git(ctx, "-C", filepath.FromSlash(folder), "ls-files", "-s", "-z", "--cached", "--deduplicate", "--", ".")
	if err != nil {
		return nil, err
	}
	var files []string
	for _, line := range splitNUL(list) {
		info, name, _ := strings.Cut(line, "\t") // mode id stage
		if strings.HasPrefix(info, submoduleMode) || len(files) > 0 && files[len(files)-1] == name {
			continue
		}
		_, err := os.Lstat(filepath.Join(t.Dir, filepath.FromSlash(folder), filepath.FromSlash(name)))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("listing %s: %s: %w", folder, Display(name), WithoutPath(err))
		}
		files = append(files, name)
	}
	return files, nil
}

// ConvertedLineEndings finds a file below folder whose line endings git changed when it
// wrote the work tree, as core.autocrlf does: its bytes differ between machines. It
// returns "" if no file was converted. Files whose line endings .gitattributes sets
// are the same on every machine.
func (t Tree) ConvertedLineEndings(ctx context.Context, folder string) (string, error) {
	list, err := t.Git(ctx, "-C", filepath.FromSlash(folder), "ls-files", "-z", "--eol", "--cached", "--deduplicate", "--", ".")
	if err != nil {
		return "", err
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		// i/lf    w/crlf  attr/text=auto        \tname
		info, name, _ := strings.Cut(line, "\t")
		fields := strings.Fields(info)
		if len(fields) < 3 || fields[2] == "attr/-text" || strings.Contains(info, " eol=") {
			continue
		}
		inIndex, inTree := strings.TrimPrefix(fields[0], "i/"), strings.TrimPrefix(fields[1], "w/")
		if inIndex != "lf" || inTree != "crlf" {
			continue
		}
		// Git reports an edited file as changed, and one that it converted as unchanged.
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

// maxDisplayed is the length in bytes to which Display shortens a name.
const maxDisplayed = 200

// WithoutPath returns err without its path, for messages that name the file.
func WithoutPath(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// Display formats a file's name for a message: on one line, quoted if necessary, and
// shortened in the middle if it is very long.
func Display(name string) string {
	if len(name) > maxDisplayed {
		name = strings.ToValidUTF8(name[:maxDisplayed/2], "") + "…" + strings.ToValidUTF8(name[len(name)-maxDisplayed/2:], "")
	}
	if strconv.CanBackquote(name) && !strings.Contains(name, "\t") {
		return name
	}
	return strconv.Quote(name)
}
