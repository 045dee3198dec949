package manual_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"mvdan.cc/sh/v3/syntax"

	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
)

// TestCommands: each command of slipway and of the module that the manual writes as
// code is one, with its flags.
func TestCommands(t *testing.T) {
	t.Parallel()
	m, root, checked := readModule(t), cli.Command(), 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if !b.is("sh") {
				continue
			}
			for _, words := range commands(t, b.code) {
				n, err := check(m, root, words, true)
				require.NoError(t, err, "%s:%d: %s", p.name, b.line, strings.Join(words, " "))
				checked += n
			}
		}
		for _, s := range p.spans {
			if !strings.HasPrefix(s.code, "slipway ") && !strings.HasPrefix(s.code, "dagger call ") {
				continue
			}
			for _, words := range commands(t, s.code) {
				n, err := check(m, root, words, false)
				require.NoError(t, err, "%s:%d: %s", p.name, s.line, s.code)
				checked += n
			}
		}
	}
	require.NotZero(t, checked)
	t.Logf("%d commands", checked)
}

// TestFlags: a flag that stands alone as code is one of slipway, of the module, or of
// the tools that are named.
func TestFlags(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, flag := range []string{"watch", "addr", "format", "force-with-lease", "name-only"} { // of docker compose, dagger-engine, aws, git
		known[flag] = true
	}
	root := cli.Command()
	for _, command := range append(visibleCommands(root), root) {
		command.InitDefaultHelpFlag()
		command.Flags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
		command.PersistentFlags().VisitAll(func(f *pflag.Flag) { known[f.Name] = true })
	}
	m := readModule(t)
	for _, f := range append(m.functions, m.constructor) {
		for _, a := range f.args {
			known[a.name] = true
		}
	}
	alone := regexp.MustCompile(`^--([a-z][a-z-]*)`)
	for _, p := range pages(t) {
		for _, s := range p.spans {
			if found := alone.FindStringSubmatch(s.code); found != nil {
				require.True(t, known[found[1]], "%s:%d: there is no flag %s", p.name, s.line, found[0])
			}
		}
	}
}

// commands are the simple commands of a script, as words without quotes. What only a
// shell knows, such as a variable, becomes "X".
func commands(t testing.TB, script string) (all [][]string) {
	t.Helper()
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), "")
	require.NoError(t, err, script)
	syntax.Walk(file, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok {
			return true
		}
		var words []string
		for _, word := range call.Args {
			words = append(words, plainWord(word))
		}
		if len(words) > 0 { // else it is an assignment
			all = append(all, words)
		}
		return true
	})
	return all
}

func plainWord(word *syntax.Word) string {
	var b strings.Builder
	var add func(parts []syntax.WordPart)
	add = func(parts []syntax.WordPart) {
		for _, part := range parts {
			switch part := part.(type) {
			case *syntax.Lit:
				b.WriteString(part.Value)
			case *syntax.SglQuoted:
				b.WriteString(part.Value)
			case *syntax.DblQuoted:
				add(part.Parts)
			default:
				b.WriteString("X")
			}
		}
	}
	add(word.Parts)
	return b.String()
}

// check returns what is wrong with a command; complete says that it stands there to be
// run, and so has all its arguments. It counts those that it knows.
func check(m module, root *cobra.Command, words []string, complete bool) (int, error) {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "…" })
	switch {
	case len(words) > 1 && words[0] == "slipway":
		return 1, checkCLI(root, words[1:], complete)
	case len(words) > 3 && words[0] == "go" && words[1] == "run" && words[2] == "./ci/cmd/slipway":
		return 1, checkCLI(root, words[3:], complete)
	case len(words) > 2 && words[0] == "dagger" && words[1] == "call":
		return 1, m.check(words[2:])
	}
	return 0, nil
}

// TestPlatform: variables, outputs and settings of the repository that commands of the
// manual name are those of the configuration and the workflows.
func TestPlatform(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, dir := range []string{"terraform", "terraform/bootstrap"} {
		for _, kind := range []string{"variable", "output"} {
			for _, d := range declared(t, dir, kind) {
				known[kind+" "+d.name] = true
			}
		}
	}
	for _, d := range declared(t, "terraform/modules/platform", "variable") {
		known["setting "+d.name] = true
	}
	workflows := workflowTexts(t)
	checked := 0
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if !b.is("sh") {
				continue
			}
			for _, words := range commands(t, b.code) {
				for _, name := range named(words) {
					checked++
					_, setting, _ := strings.Cut(name, "setting ")
					require.True(t, known[name] || setting != "" && strings.Contains(workflows, setting), "%s:%d: there is no %s", p.name, b.line, name)
				}
			}
		}
	}
	require.NotZero(t, checked)
}

// named are the things of the platform that a command names: "variable NAME",
// "output NAME", or what is set at GitHub.
func named(words []string) (all []string) {
	for n, word := range words[:max(0, len(words)-1)] {
		next := words[n+1]
		name, _, _ := strings.Cut(next, "=")
		switch tool := words[0]; {
		case (tool == "terraform" || tool == "slipway") && (word == "-var" || word == "--var"):
			all = append(all, "variable "+name)
			if input, ok := strings.CutPrefix(next, "settings={"); ok {
				input, _, _ = strings.Cut(input, "=")
				all = append(all, "setting "+input)
			}
		case tool == "terraform" && word == "output":
			all = append(all, "output "+words[len(words)-1])
		case tool == "gh" && word == "-f" && words[1] == "workflow":
			all = append(all, "setting "+name+":")
		case tool == "gh" && word == "set" && words[1] == "variable":
			if strings.HasPrefix(next, "AWS_PLAN_ROLE_") { // an environment's
				next = "AWS_PLAN_ROLE"
			}
			all = append(all, "setting vars."+next)
		case tool == "gh" && word == "run" && words[1] == "workflow":
			all = append(all, "setting FILE "+next)
		}
	}
	return all
}

// workflowTexts are all workflows, each after its name.
func workflowTexts(t testing.TB) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(), ".github", "workflows", "*.yml"))
	require.NoError(t, err)
	var b strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		fmt.Fprintf(&b, "FILE %s\n%s", filepath.Base(file), data)
	}
	return b.String()
}

// TestScenarios: the manual has the scenarios of the rehearsal, all of them.
func TestScenarios(t *testing.T) {
	var named, there []string
	for _, r := range pageNamed(t, "docs/rehearsal.md").rows {
		named = append(named, r.code["scenario"]...)
	}
	for _, s := range rehearsal.Scenarios() {
		there = append(there, string(s))
	}
	require.Equal(t, slices.Sorted(slices.Values(there)), slices.Sorted(slices.Values(named)))
}

func checkCLI(root *cobra.Command, words []string, complete bool) error {
	if slices.Contains(words, "--") {
		root = cli.Command() // one that has parsed "--" remembers it
	}
	command, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if !command.HasParent() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("no command %s", rest[0])
	}
	if err := command.ParseFlags(rest); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return err
	}
	if complete && command.Args != nil && !slices.Contains(rest, "--help") {
		return command.ValidateArgs(command.Flags().Args())
	}
	return nil
}

// check returns what is wrong with CONSTRUCTOR'S FLAGS, FUNCTION, FLAGS, FIELD ….
func (m module) check(words []string) error {
	rest, err := m.constructor.take(words)
	if err != nil || len(rest) == 0 {
		return err
	}
	f, ok := m.function(rest[0])
	if !ok {
		return fmt.Errorf("the module has no function %s", rest[0])
	}
	if rest, err = f.take(rest[1:]); err != nil {
		return err
	}
	if fields := m.fields[f.returns]; len(rest) > 0 && len(fields) > 0 && !slices.Contains(fields, rest[0]) {
		return fmt.Errorf("%s returns no %s: it has %v", f.name, rest[0], fields)
	}
	return nil
}

// take checks the flags that words begin with, and returns what follows them.
func (f function) take(words []string) ([]string, error) {
	given := map[string]bool{}
	for len(words) > 0 && strings.HasPrefix(words[0], "--") {
		name, _, assigned := strings.Cut(strings.TrimPrefix(words[0], "--"), "=")
		a, ok := f.argument(name)
		if !ok {
			return nil, fmt.Errorf("%s takes no --%s", f.name, name)
		}
		given[name], words = true, words[1:]
		if !assigned && a.kind != "bool" && len(words) > 0 {
			words = words[1:]
		}
	}
	for _, a := range f.args {
		if !a.optional && !given[a.name] {
			return nil, fmt.Errorf("%s wants --%s", f.name, a.name)
		}
	}
	return words, nil
}

// visibleCommands are the commands that a manual describes.
func visibleCommands(root *cobra.Command) (all []*cobra.Command) {
	for _, command := range root.Commands() {
		if !command.Hidden && command.Name() != "help" {
			all = append(all, command)
			all = append(all, visibleCommands(command)...)
		}
	}
	return all
}
