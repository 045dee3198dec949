package source

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// deadline limits each git command; none of them needs the network.
const gitTimeout = 30 * time.Second

// repositoryVariables select a repository, index or object store in the environment,
// for example of a hook: `git rev-parse --local-env-vars` without the configuration.
var repositoryVariables = []string{
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE",
	"GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH",
	"GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
}

// meaningVariables change git's output: its configuration, how it reads paths and
// attributes, and how it shows differences.
var outputVariables = []string{
	"GIT_ATTR_SOURCE", "GIT_CONFIG", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_DIFF_OPTS", "GIT_EXTERNAL_DIFF",
	"GIT_GLOB_PATHSPECS", "GIT_ICASE_PATHSPECS", "GIT_LITERAL_PATHSPECS", "GIT_NOGLOB_PATHSPECS",
}

// Environ returns the process's environment without the variables that select a
// repository, for programs that may call git: their working directory selects it. Git's
// configuration stays, because CI runners pass credentials in GIT_CONFIG_COUNT.
func Environ() []string { return without(os.Environ(), repositoryVariables) }

// gitEnviron returns the environment for git itself. Of the configuration in the
// environment it keeps only safe.directory, with which a container lets git read a tree
// of another user.
func gitEnviron() []string {
	env := without(Environ(), outputVariables)
	count, _ := strconv.Atoi(os.Getenv("GIT_CONFIG_COUNT"))
	kept := 0
	for n := range count {
		key := os.Getenv("GIT_CONFIG_KEY_" + strconv.Itoa(n))
		if !strings.EqualFold(key, "safe.directory") {
			continue
		}
		at := strconv.Itoa(kept)
		env = append(env, "GIT_CONFIG_KEY_"+at+"="+key, "GIT_CONFIG_VALUE_"+at+"="+os.Getenv("GIT_CONFIG_VALUE_"+strconv.Itoa(n)))
		kept++
	}
	return append(env, "GIT_CONFIG_COUNT="+strconv.Itoa(kept), "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0")
}

func without(env, names []string) []string {
	return slices.DeleteFunc(env, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(names, name)
	})
}

// Git runs a git command in the tree and returns its standard output. All calls of git
// go through it: only the tree's folder selects the repository, and git reads files
// itself instead of using a file system monitor or a cache.
func (t Tree) Git(ctx context.Context, args ...string) (string, error) {
	return t.gitWithInput(ctx, "", args...)
}

// gitWithInput is [Tree.Git] with standard input.
func (t Tree) gitWithInput(ctx context.Context, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, gitTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false"}, args...)...)
	cmd.Dir, cmd.Env = t.Dir, gitEnviron()
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		for args[0] == "-c" {
			args = args[2:]
		}
		message, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		if message == "" {
			return "", fmt.Errorf("running git %s: %w", args[0], err)
		}
		return "", fmt.Errorf("running git %s: %s: %w", args[0], message, err)
	}
	return stdout.String(), nil
}
