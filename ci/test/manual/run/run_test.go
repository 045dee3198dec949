//go:build unix

// Package run_test executes what the manual says is to be run. It is a package by itself, and
// has the blocks in a file of its own, so that another word in docs executes nothing again:
// package manual holds that file to the manual.
package run_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/outputtest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/stretchr/testify/require"
)

// scriptLimit bounds the blocks of one script: a machine may be busy with much else.
const scriptLimit = 5 * time.Minute

// parts are what of the tree is cloned. Small services replace backend and frontend, whose
// content the manual's commands do not depend on: package contract rehearses those.
var parts = []string{"ci", "terraform", "go.work", "go.work.sum", "compose.yaml", "dagger.json", ".gitattributes", ".gitignore"}

// parallel is how many scripts run at once. They wait most of the time.
const parallel = "10"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", parallel); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// root is the root of the source tree.
func root() string { return sourcetest.Root(parts...) }

// page has the blocks of a page that are to be run.
type page struct {
	name   string
	blocks []*block
}

// scripts are the blocks that run in one shell: each alone, and together those that follow
// one another and need a running system.
func (p page) scripts() (all [][]*block) {
	together := false
	for _, b := range p.blocks {
		if aws := slices.Contains(b.info, "aws"); aws && together {
			all[len(all)-1] = append(all[len(all)-1], b)
		} else {
			all, together = append(all, []*block{b}), aws
		}
	}
	return all
}

// block is a script, and what it has to print.
type block struct {
	info         []string
	code, output string
}

// pages reads testdata/blocks.md.
func pages(t *testing.T) (all []*page) {
	t.Helper()
	data, err := os.ReadFile("testdata/blocks.md")
	require.NoError(t, err)
	var into *string
	for line := range strings.Lines(string(data)) {
		info, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch name, heading := strings.CutPrefix(line, "# "); {
		case fence && into != nil:
			into = nil
		case into != nil:
			*into += line
		case heading:
			all = append(all, &page{name: strings.TrimSpace(name)})
		case fence:
			p := all[len(all)-1]
			if info == "text output" {
				into = &p.blocks[len(p.blocks)-1].output
				continue
			}
			p.blocks = append(p.blocks, &block{info: strings.Fields(info)})
			into = &p.blocks[len(p.blocks)-1].code
		}
	}
	require.NotEmpty(t, all)
	return all
}

// TestRunnable executes what the manual says is to be run, and compares what it prints.
func TestRunnable(t *testing.T) {
	if testing.Short() {
		t.Skip("executes commands: run without -short")
	}
	c := newClone(t)
	for _, p := range pages(t) {
		for _, blocks := range p.scripts() {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, p.name, blocks)
			})
		}
	}
}

// clone is a clone of the repository, beside a built slipway.
type clone struct {
	dir string // has bin/slipway and repo
	env []string
}

func newClone(t *testing.T) clone {
	t.Helper()
	c := clone{dir: t.TempDir()}
	c.environment(t)
	repo := filepath.Join(c.dir, "repo")
	// The tree as it stands, committed or not: that is what is tested. Of the pipeline, slipway
	// is all that is used.
	c.command(t, c.dir, "git", "init", "-q", repo)
	list := append([]string{"git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ":!ci/internal", ":!ci/test"}, parts...)
	for name := range strings.SplitSeq(c.command(t, gitRoot(t), list...), "\x00") {
		c.copy(t, name, repo)
	}
	sourcetest.WriteServices(t, repo)
	c.command(t, repo, "git", "add", "-A")
	c.command(t, repo, "git", "commit", "-q", "-m", "as it stands")
	build := append(buildFlags(), "-ldflags=-s -w", "-o", filepath.Join(c.dir, "bin", "slipway"), "./cmd/slipway")
	c.command(t, filepath.Join(root(), "ci"), append([]string{"go", "build"}, build...)...)
	return c
}

// buildFlags are those of this test itself. With them, the packages are compiled already.
func buildFlags() (flags []string) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if slices.Contains([]string{"-race", "-gcflags", "-tags"}, s.Key) {
				flags = append(flags, s.Key+"="+s.Value)
			}
		}
	}
	return flags
}

// gitRoot is the root of the work tree. Without git there is nothing to clone.
func gitRoot(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(root())
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		t.Skip("this is no git clone, and the commands of the manual need one: git clone the repository")
	}
	return dir
}

// copy brings a file of the tree to where it is cloned, unless it was deleted.
func (c clone) copy(t *testing.T, name, repo string) {
	t.Helper()
	if name == "" {
		return
	}
	to := filepath.Join(repo, name)
	data, err := os.ReadFile(filepath.Join(root(), name))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	require.NoError(t, err)
	info, err := os.Stat(filepath.Join(root(), name))
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(t, os.WriteFile(to, data, info.Mode()))
}

// environment is that of somebody who has Go and git, and nothing set for AWS, GitHub or a
// runner.
func (c *clone) environment(t *testing.T) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if !regexp.MustCompile(`^(AWS_|ACTIONS_|GITHUB_|SLIPWAY_|GIT_|XDG_|CI$|HOME$|PATH$|GOVULNDB$)`).MatchString(name) {
			c.env = append(c.env, pair)
		}
	}
	known, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOENV", "GOPATH").Output()
	require.NoError(t, err)
	where := strings.Split(strings.TrimSpace(string(known)), "\n")
	c.env = append(c.env, "GOCACHE="+where[0], "GOMODCACHE="+where[1], "GOENV="+where[2], "GOPATH="+where[3], "HOME="+c.dir, "TERM=dumb",
		"PATH="+filepath.Join(c.dir, "bin")+":"+os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+filepath.Join(c.dir, "gitconfig"))
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "gitconfig"),
		[]byte("[user]\n\tname = reader\n\temail = reader@example.com\n[safe]\n\tdirectory = *\n[init]\n\tdefaultBranch = main\n"), 0o600))
}

func (c clone) command(t *testing.T, dir string, words ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.Dir, cmd.Env = dir, c.env
	if words[0] == "go" {
		cmd.Env = append(slices.Clone(c.env), "GOFLAGS=-buildvcs=false")
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s", strings.Join(words, " "), said.String())
	return string(out)
}

// blockMarker begins the output of a block.
const blockMarker = "\x01block "

// run executes blocks of a page in one shell and clone, and compares what they print.
func (c clone) run(t *testing.T, page string, blocks []*block) {
	ctx, cancel := context.WithTimeout(t.Context(), scriptLimit)
	defer cancel()
	dir := filepath.Join(t.TempDir(), "slipway")
	c.command(t, c.dir, "git", "clone", "-q", filepath.Join(c.dir, "repo"), dir)
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	env, executed := c.env, []*block{}
	for _, b := range blocks {
		if !c.has(t, page, b) {
			continue
		}
		if slices.Contains(b.info, "aws") && !slices.ContainsFunc(env, func(s string) bool { return strings.HasPrefix(s, "AWS_ENDPOINT_URL=") }) {
			env = append(slices.Clone(env), c.rehearse(ctx, t, dir)...)
		}
		fmt.Fprintf(&script, "printf '%s%d\\n'\n%s\n", blockMarker, len(executed), b.code)
		executed = append(executed, b)
	}
	if len(executed) == 0 {
		t.Skip("all that could be executed here needs what is not there, as said above")
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", script.String())
	cmd.Dir, cmd.Env = dir, env
	output, err := runGroup(cmd)
	parts := strings.Split(output, blockMarker)[1:]
	for n, part := range parts {
		_, said, _ := strings.Cut(part, "\n")
		b := executed[n]
		if n == len(parts)-1 {
			require.NoError(t, err, "%s:\n%s\n%s", page, b.code, said)
		}
		require.NoError(t, hasLines(said, b.output), "%s: %s\nit printed:\n%s", page, b.code, said)
	}
	require.NoError(t, err, output)
	require.Len(t, parts, len(executed))
	t.Logf("%d blocks", len(executed))
}

// runGroup runs a command in a process group of its own, of which nothing is left
// afterwards, and returns all that it printed.
func runGroup(cmd *exec.Cmd) (string, error) {
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for what was left in the background and holds the pipe
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // there may be nobody left
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return output.String(), err
}

// has reports whether the programs that a block needs are installed.
func (c clone) has(t *testing.T, page string, b *block) bool {
	for _, word := range b.info {
		if program, ok := strings.CutPrefix(word, "needs="); ok {
			if _, err := exec.LookPath(program); err != nil {
				t.Logf("%s: not executed, because %s is not installed: %s", page, program, b.code)
				return false
			}
		}
	}
	return true
}

// rehearse puts the system up as `slipway rehearse --keep` does, and returns the
// environment that it prints.
func (c clone) rehearse(ctx context.Context, t *testing.T, dir string) []string {
	t.Helper()
	cmd := exec.CommandContext(ctx, "slipway", "rehearse", "--skip-tests", "--keep")
	cmd.Path = filepath.Join(c.dir, "bin", "slipway")
	cmd.Err = nil // it is not on this process's PATH
	cmd.Dir, cmd.Env = dir, c.env
	seen := make(chan []string, 1)
	said := outputtest.NewMatchWriter(`to use it from another shell: export (.*)\n`, func(match []string) { seen <- strings.Fields(match[1]) })
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	})
	select {
	case env := <-seen:
		return env
	case err := <-ended:
		ended <- err
		require.FailNow(t, "the system did not come up", said.String())
	case <-ctx.Done():
		require.FailNow(t, "the system did not come up in time")
	}
	return nil
}

// hasLines reports whether the output has the expected lines in order.
// "…" stands for anything, and a line that is nothing else for any lines.
func hasLines(printed, expected string) error {
	lines := strings.Split(printed, "\n")
	for want := range strings.Lines(expected) {
		want = strings.TrimSpace(want)
		if want == "" || want == "…" {
			continue
		}
		fits := regexp.MustCompile(`^\s*` + strings.ReplaceAll(regexp.MustCompile(`\s+`).ReplaceAllString(regexp.QuoteMeta(want), `\s+`), "…", ".*") + `\s*$`)
		n := slices.IndexFunc(lines, fits.MatchString)
		if n < 0 {
			return fmt.Errorf("there is no line %q, or not there", want)
		}
		lines = lines[n+1:]
	}
	return nil
}

func TestHasLines(t *testing.T) {
	printed := "one 1\n  two  2.5s\nthree\n"
	for expected, ok := range map[string]bool{
		"one …\n…\nthree": true, "two …s": true, "three\none …": false, "four": false, "one": false, "": true, "two 2.5s\nthree": true,
	} {
		require.Equal(t, ok, hasLines(printed, expected) == nil, expected)
	}
}
