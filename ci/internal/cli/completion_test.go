package cli_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// completed completes a command line as a shell does, and returns the completions and the
// directive.
func completed(t *testing.T, args ...string) (offered []string, directive string) {
	t.Helper()
	code, out, errs := run(t, append([]string{"__completeNoDesc"}, args...)...)
	require.Equal(t, outcome.Done, code, errs)
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	return lines[:len(lines)-1], lines[len(lines)-1]
}

func TestCompletion(t *testing.T) {
	dir := sourcetest.New(t)
	sha := strings.TrimSpace(sourcetest.Git(t, dir, "rev-parse", "HEAD"))
	const noFile, files, folders, noSpace = ":4", ":0", ":16", ":6"
	tests := map[string]struct {
		line      []string
		want      []string
		directive string
	}{
		"commands":            {[]string{"re"}, []string{"rehearse"}, noFile},
		"flags":               {[]string{"build", "--serv"}, []string{"--service"}, noFile},
		"services":            {[]string{"build", "--service", ""}, []string{"api", "web"}, noFile},
		"a service":           {[]string{"deploy", "--service", "w"}, []string{"web"}, noFile},
		"another service":     {[]string{"deploy", "--service", "web,"}, []string{"web,api"}, noFile},
		"scenarios":           {[]string{"rehearse", "--scenario", "c"}, []string{"crash", "cancel"}, noFile},
		"formats of lint":     {[]string{"lint", "--output", ""}, []string{"text", "json", "markdown", "sarif"}, noFile},
		"formats":             {[]string{"status", "--output", ""}, []string{"text", "json", "markdown"}, noFile},
		"checks":              {[]string{"lint", "--only", "nginx,go"}, []string{"nginx,golangci-lint", "nginx,govulncheck", "nginx,gofumpt"}, noFile},
		"platforms":           {[]string{"build", "--platform", ""}, []string{"linux/amd64", "linux/arm64"}, noFile},
		"commits":             {[]string{"rollback", "--to", sha[:3]}, []string{sha}, noFile},
		"environments":        {[]string{"promote", "--from", "p"}, []string{"production"}, noFile},
		"commit to deploy":    {[]string{"deploy", "--sha", ""}, []string{sha}, noFile},
		"modules":             {[]string{"test", "--min-coverage", ""}, []string{"api="}, noSpace},
		"locked images":       {[]string{"lock", "--image", "n"}, []string{"nginx"}, noFile},
		"severities":          {[]string{"scan", "--fail-on", "l"}, []string{"low"}, noFile},
		"latest":              {[]string{"publish", "--latest="}, []string{"auto", "true", "false"}, noFile},
		"faults":              {[]string{"local-aws", "--fault", "sl"}, []string{"slow"}, noFile},
		"folders":             {[]string{"build", "--out", ""}, nil, folders},
		"files":               {[]string{"verify", "--key", ""}, nil, files},
		"nothing to say":      {[]string{"status", "--region", ""}, nil, noFile},
		"no argument":         {[]string{"build", ""}, nil, noFile},
		"shells":              {[]string{"completion", ""}, []string{"bash", "fish", "powershell", "zsh"}, noFile},
		"help about commands": {[]string{"help", "pub"}, []string{"publish"}, noFile},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			line := append([]string{"--source", dir}, tt.line...)
			got, directive := completed(t, line...)
			require.ElementsMatch(t, tt.want, got)
			require.Equal(t, tt.directive, directive)
		})
	}
}

// TestCompletionDescriptions checks the descriptions of values.
func TestCompletionDescriptions(t *testing.T) {
	dir := sourcetest.New(t)
	for line, want := range map[string]string{"build --service ": "api\tgo in api\n", "deploy --sha ": "\tfirst\n", "lock --image ": "go\tdocker.io/library/golang:1.26\n"} {
		_, out, _ := run(t, append([]string{"__complete", "--source", dir}, strings.Split(line, " ")...)...)
		require.Contains(t, out, want)
	}
}

// TestCompletionIgnoresErrors checks that nothing is completed without a tree.
func TestCompletionIgnoresErrors(t *testing.T) {
	for _, line := range []string{"build --service ", "deploy --sha ", "test --min-coverage "} {
		code, out, _ := run(t, append([]string{"__complete", "--source", t.TempDir()}, strings.Split(line, " ")...)...)
		require.Equal(t, outcome.Done, code)
		require.Regexp(t, `^:\d+\n$`, out, line)
	}
}

// TestEveryFlagIsCompleted checks that each flag has a completion, or none of files.
func TestEveryFlagIsCompleted(t *testing.T) {
	everyCommand(t, func(t *testing.T, cmd *cobra.Command) {
		require.NotNil(t, cmd.ValidArgsFunction)
		for _, flag := range localFlags(cmd) {
			_, known := cmd.GetFlagCompletionFunc(flag.Name)
			_, files := flag.Annotations[cobra.BashCompFilenameExt]
			_, folders := flag.Annotations[cobra.BashCompSubdirsInDir]
			require.True(t, known || files || folders || flag.Name == "help", flag.Name)
		}
	})
}

// TestCompletionScripts are cobra's, for the shells that it knows.
func TestCompletionScripts(t *testing.T) {
	code, help, _ := run(t, "completion", "--help")
	require.Equal(t, outcome.Done, code)
	for _, shell := range []string{"bash", "zsh", "fish"} {
		require.Contains(t, help, "slipway completion "+shell+" > ", "how to install it")
		code, script, errs := run(t, "completion", shell)
		require.Equal(t, outcome.Done, code, errs)
		require.Contains(t, script, "__complete")
	}
	code, _, errs := run(t, "completion", "bsh")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, errs, `unknown command "bsh": did you mean bash?`)
	code, _, errs = run(t, "completion", "bash", "now")
	require.Equal(t, outcome.Usage, code)
	require.Contains(t, errs, `bash takes no arguments, but got "now": see slipway completion bash --help`)
}
