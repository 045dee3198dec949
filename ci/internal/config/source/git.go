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

// deadline bounds each question to git, which never needs the network here.
const gitTimeout = 30 * time.Second

// repositoryVariables are those by which the environment, a hook's for one, tells git
// which repository, index or objects are meant: `git rev-parse --local-env-vars`
// without the configuration.
var repositoryVariables = []string{
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE",
	"GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_QUARANTINE_PATH",
	"GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
}

// meaningVariables change what git's answers mean: its configuration, how it
// reads paths and attributes, and how it shows differences.
var outputVariables = []string{
	"GIT_ATTR_SOURCE", "GIT_CONFIG", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_DIFF_OPTS", "GIT_EXTERNAL_DIFF",
	"GIT_GLOB_PATHSPECS", "GIT_ICASE_PATHSPECS", "GIT_LITERAL_PATHSPECS", "GIT_NOGLOB_PATHSPECS",
}

// Environ is the environment of a program that may call git: the process's own,
// without what names a repository. The folder that the program runs in decides.
// Configuration stays: GIT_CONFIG_COUNT is how runners hand out credentials.
func Environ() []string { return without(os.Environ(), repositoryVariables) }

// gitEnviron is the environment of git itself. Of the configuration that the
// environment carries only safe.directory is kept: that is how a container says
// whose tree git may read.
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

// Git runs one git command in the tree and returns its standard output. It is
// the one place that calls git: only the tree's folder says which repository is
// meant, and git looks at files itself instead of believing a file system
// monitor or a cache.
func (t Tree) Git(ctx context.Context, args ...string) (string, error) {
	return t.gitWithInput(ctx, "", args...)
}

// gitWithInput is [Tree.Git] with something on git's standard input.
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
		said, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n")
		if said == "" {
			return "", fmt.Errorf("running git %s: %w", args[0], err)
		}
		return "", fmt.Errorf("running git %s: %s: %w", args[0], said, err)
	}
	return stdout.String(), nil
}
