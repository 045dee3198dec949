package cli_test

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// everyCommand calls do for each command that is not hidden.
func everyCommand(t *testing.T, do func(t *testing.T, cmd *cobra.Command)) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		t.Run(strings.ReplaceAll(cmd.CommandPath(), " ", "_"), func(t *testing.T) { do(t, cmd) })
		for _, child := range cmd.Commands() {
			if !child.Hidden {
				visit(child)
			}
		}
	}
	visit(cli.Command())
}

// localFlags are the flags of one command.
func localFlags(cmd *cobra.Command) []*pflag.Flag {
	var flags []*pflag.Flag
	cmd.InitDefaultHelpFlag()
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			flags = append(flags, f)
		}
	})
	return flags
}

// TestEveryCommandHasHelp checks that each command has descriptions, a group and examples.
func TestEveryCommandHasHelp(t *testing.T) {
	everyCommand(t, func(t *testing.T, cmd *cobra.Command) {
		require.NotEmpty(t, cmd.Short)
		require.NotContains(t, cmd.Short, "\n")
		require.False(t, strings.HasSuffix(cmd.Short, "."), "a title has no full stop")
		require.NotEmpty(t, cmd.Long, "what it does, and what its exit code means")
		require.NotEmpty(t, cmd.Example)
		if cmd.HasParent() && !cmd.Parent().HasParent() {
			require.NotEmpty(t, cmd.GroupID, "name it in groups, help.go")
		}
		for _, flag := range localFlags(cmd) {
			require.NotEmpty(t, flag.Usage, flag.Name)
			require.NotRegexp(t, `\.$`, flag.Usage, flag.Name)
			says := regexp.MustCompile(`\(default |may be repeated`).MatchString(flag.Usage)
			nothing := flag.DefValue == "" || flag.DefValue == "0" || flag.DefValue == "0s" || flag.DefValue == "[]"
			if flag.Value.Type() != "bool" && nothing {
				require.True(t, says, "--%s: what happens without it? say (default …)", flag.Name)
			}
		}
	})
}

// TestExamplesParse parses each example: its command and flags exist, with valid values.
func TestExamplesParse(t *testing.T) {
	everyCommand(t, func(t *testing.T, cmd *cobra.Command) {
		t.Logf("%s", cmd.Example)
		mentioned := false
		for _, line := range strings.Split(strings.ReplaceAll(cmd.Example, "\\\n", " "), "\n") {
			words := shellWords(line)
			start := indexOf(words, "slipway")
			require.GreaterOrEqual(t, start, 0, line)
			words = words[start+1:]
			for i, word := range words {
				if word == ">" || word == "|" || word == "&&" {
					words = words[:i]
					break
				}
			}
			found, rest, err := cli.Command().Find(words)
			require.NoError(t, err, line)
			mentioned = mentioned || found.CommandPath() == cmd.CommandPath() || !cmd.HasParent() || strings.HasPrefix(found.CommandPath(), cmd.CommandPath()+" ")
			if err := found.ParseFlags(rest); !errors.Is(err, pflag.ErrHelp) {
				require.NoError(t, err, line)
			}
			if found.Args != nil {
				require.NoError(t, found.Args(found, found.Flags().Args()), line)
			}
		}
		require.True(t, mentioned, "an example of this command")
	})
}

// shellWords splits a line as far as the examples need it.
func shellWords(line string) []string {
	var words []string
	for _, word := range regexp.MustCompile(`'[^']*'|[^\s']+`).FindAllString(line, -1) {
		words = append(words, strings.Trim(word, "'()<"))
	}
	return words
}

func indexOf(words []string, word string) int {
	for i, w := range words {
		if w == word {
			return i
		}
	}
	return -1
}

// TestHelpGroups checks the groups of commands and their order.
func TestHelpGroups(t *testing.T) {
	code, out, _ := run(t, "--help")
	require.Equal(t, outcome.Done, code)
	last := 0
	for _, want := range []string{"\nBuild and check:\n", "\n  test ", "\n  build ", "\nRelease:\n", "\n  deploy ", "\nPlatform:\n", "\n  plan ", "\nOn this machine:\n", "\n  rehearse ", "\nHelp:\n", "\n  version "} {
		at := strings.Index(out, want)
		require.Greater(t, at, last, want)
		last = at
	}
	require.NotContains(t, out, "Additional Commands")

	code, out, errs := run(t, "help", "deploy")
	require.Equal(t, outcome.Done, code, errs)
	require.Contains(t, out, "slipway deploy --require-signature")
	code, _, errs = run(t, "help", "deplyo")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, errs, `unknown command "deplyo": did you mean deploy?`)
	code, _, errs = run(t, "help", "deploy", "now")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, errs, `no help for "deploy now": see slipway deploy --help`)
}

func TestVersion(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "ci/cmd/slipway/main.go", "package main\n")
	sourcetest.Commit(t, dir, "the program")
	for _, args := range [][]string{{"version"}, {"--version"}} {
		code, out, errs := run(t, append(args, "--source", dir)...)
		require.Equal(t, outcome.Done, code, errs)
		require.Regexp(t, `^slipway [0-9a-f]{12} \(commit [0-9a-f]{40} of \d{4}-\d\d-\d\d, go1\.\S+, \w+/\w+\)\n$`, out)
		code, out, _ = run(t, append(args, "--source", dir, "--output", "json")...)
		require.Equal(t, outcome.Done, code)
		var got struct{ Version, Commit, Go, Platform string }
		require.NoError(t, json.Unmarshal([]byte(out), &got))
		require.Len(t, got.Commit, 40)
		require.NotEmpty(t, got.Platform)
	}
	_, out, _ := run(t, "version", "--source", t.TempDir())
	require.Contains(t, out, "slipway devel (go")
}

func TestRemovedCommands(t *testing.T) {
	code, _, errs := run(t, "man", "--out", "x")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, errs, "slipway man was removed: see slipway help COMMAND")
}

// TestDoctor checks the report and exit code for named stages, independent of this machine.
func TestDoctor(t *testing.T) {
	dir := sourcetest.New(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "any")
	code, stdout, stderr := run(t, "doctor", "status", "--source", dir, "--output", "json")
	require.Equal(t, outcome.Failed, code, stderr)
	require.Contains(t, stdout, "AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not")
	require.Contains(t, stdout, `"fitness": "cannot"`)

	code, stdout, stderr = run(t, "doctor", "build", "--source", dir)
	require.Equal(t, outcome.Done, code, stderr)
	require.Regexp(t, `(?m)^build +ready$`, stdout)

	code, _, stderr = run(t, "doctor", "deploi", "--source", dir)
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, stderr, `unknown stage "deploi": did you mean deploy?`)
}
