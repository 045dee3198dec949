// Package source asks git about the source tree: at which commit it is,
// whether it is clean, which files belong to it.
package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"dagger/slipway/internal/outcome"
)

// deadline bounds each question to git, which never needs the network here.
const deadline = 30 * time.Second

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
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return Tree{}, outcome.Usagef("no source tree at %s: name its root with --source", dir)
	}
	tree := Tree{Dir: dir}
	_, err := tree.git(ctx, "rev-parse", "--is-inside-work-tree")
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return Tree{}, outcome.Usagef("git is not installed: install it (the pipeline ships what git knows)")
	case err != nil && strings.Contains(err.Error(), "dubious ownership"):
		return Tree{}, outcome.Usagef("%s belongs to another user, and git will not read it: git config --global --add safe.directory %s", dir, absolute(dir))
	case err != nil && ctx.Err() == nil:
		return Tree{}, outcome.Usagef("%s is not a git work tree: clone the repository, or run git init, git add and git commit (%w)", dir, err)
	case err != nil:
		return Tree{}, err
	}
	return tree, nil
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
	status, err := t.git(ctx, "status", "--porcelain", "--untracked-files=normal", "--", ".")
	if err != nil {
		return Revision{}, err
	}
	return Revision{SHA: sha, Dirty: status != ""}, nil
}

// head is the full id of the commit at HEAD.
func (t Tree) head(ctx context.Context) (string, error) {
	sha, err := t.git(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	if err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		return "", outcome.Usagef("%s has no commit yet: commit first", t.Dir)
	}
	return strings.TrimSpace(sha), nil
}

// CommittedAt tells when the commit at HEAD was made.
func (t Tree) CommittedAt(ctx context.Context) (time.Time, error) {
	at, err := t.git(ctx, "show", "--no-patch", "--format=%cI", "HEAD")
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

// Recent lists the last n commits at HEAD, the newest first.
func (t Tree) Recent(ctx context.Context, n int) ([]Commit, error) {
	list, err := t.git(ctx, "log", "--format=%H %s", "--max-count="+strconv.Itoa(n), "HEAD")
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
// among them: what ships is what the repository knows.
func (t Tree) Files(ctx context.Context, folder string) ([]string, error) {
	list, err := t.git(ctx, "-C", filepath.FromSlash(folder), "ls-files", "-z", "--cached", "--deduplicate", "--", ".")
	if err != nil {
		return nil, err
	}
	var files []string
	for name := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		if name == "" {
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

// Converted finds a file below folder whose line endings git changed when it
// wrote the work tree, as core.autocrlf makes it do: its bytes are others here
// than elsewhere. Empty: there is none. A file that .gitattributes gives its
// line endings has the same everywhere.
func (t Tree) Converted(ctx context.Context, folder string) (string, error) {
	list, err := t.git(ctx, "-C", filepath.FromSlash(folder), "ls-files", "-z", "--eol", "--cached", "--deduplicate", "--", ".")
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
		changed, err := t.git(ctx, "-C", filepath.FromSlash(folder), "diff", "--name-only", "--", ":(literal)"+name)
		if err != nil {
			return "", err
		}
		if changed == "" {
			return name, nil
		}
	}
	return "", nil
}

// displayed is how many bytes of a file's name people are shown.
const displayed = 200

// Display is a file's name as a message can say it: on one line, and without
// its middle where it is very long.
func Display(name string) string {
	if len(name) > displayed {
		name = strings.ToValidUTF8(name[:displayed/2], "") + "…" + strings.ToValidUTF8(name[len(name)-displayed/2:], "")
	}
	if strconv.CanBackquote(name) && !strings.Contains(name, "\t") {
		return name
	}
	return strconv.Quote(name)
}

// git runs one git command in the tree and returns its standard output.
func (t Tree) git(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = t.Dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		said, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		if said == "" {
			return "", fmt.Errorf("running git %s: %w", args[0], err)
		}
		return "", fmt.Errorf("running git %s: %s: %w", args[0], said, err)
	}
	return stdout.String(), nil
}
