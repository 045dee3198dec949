package manual_test

import (
	"go/ast"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/cli"
)

const troubleshooting = "docs/troubleshooting.md"

// TestMessages checks that docs/troubleshooting.md has every hint and refusal of the code,
// and no others. The column "message" of its tables has the part that identifies one; "…"
// matches any text.
func TestMessages(t *testing.T) {
	t.Parallel()
	type entry struct {
		line int
		code string
	}
	var entries []entry
	for _, r := range pageNamed(t, troubleshooting).rows {
		if _, ok := r.cells["message"]; !ok {
			continue
		}
		require.NotEmpty(t, r.code["message"], "%s:%d: a message must be code", troubleshooting, r.line)
		for column, text := range r.cells {
			require.NotEmpty(t, text, "%s: %s has no %s", troubleshooting, r.cells["message"], column)
		}
		for _, code := range r.code["message"] {
			require.GreaterOrEqual(t, len(code), 12, "%s: %q is too little to know a message by", troubleshooting, code)
			entries = append(entries, entry{r.line, code})
		}
	}
	said := messages(t)
	require.NotEmpty(t, said)
	known := 0
	used := map[string]bool{}
	var missing []string
	for _, m := range said {
		found := false
		for _, e := range entries {
			if matches(e.code, m.text) {
				found, used[e.code] = true, true
			}
		}
		if found {
			known++
			continue
		}
		missing = append(missing, m.file+": "+m.text)
	}
	var stale []string
	var texts []string
	for text := range literals(t) {
		texts = append(texts, normalize(text))
	}
	for _, e := range entries {
		if !used[e.code] && !slices.ContainsFunc(texts, func(text string) bool { return matches(e.code, text) }) {
			stale = append(stale, e.code)
		}
	}
	t.Logf("%d of %d hints and refusals are in the manual", known, len(said))
	require.Empty(t, strings.Join(missing, "\n"), "%s lacks these", troubleshooting)
	require.Empty(t, strings.Join(stale, "\n"), "%s has these, and the code has not", troubleshooting)
}

// commandOnly are the files whose messages only the command prints: of its own stages, of a
// registry that is not Amazon ECR, and of a directory that the user names.
var commandOnly = []string{
	"cli/", "rehearse/", "config/scaffold/", "config/detect/", "release/adopt/", "pipeline/init.go", "release/delivery/publish.go", "images/image/layout.go",
	"images/supplychain/supplychaintest",
}

// TestFlagsOfMessages checks that a message which dagger call may print names no flag that only
// the command has, except in a command line of slipway and beside the argument of the module.
func TestFlagsOfMessages(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	m := readModule(t)
	for _, f := range append(m.functions, m.constructor) {
		for _, a := range f.args {
			known["--"+a.name] = true
		}
	}
	commandFlags := map[string]bool{}
	root := cli.Command()
	for _, command := range append(visibleCommands(root), root) {
		for _, set := range []*pflag.FlagSet{command.Flags(), command.PersistentFlags()} {
			set.VisitAll(func(f *pflag.Flag) { commandFlags["--"+f.Name] = !known["--"+f.Name] })
		}
	}
	flag := regexp.MustCompile(`\s\(?(--[a-z][a-z-]+)`)
	inspect(t, func(file string, n ast.Node) {
		e, _ := n.(ast.Expr)
		text, _ := literal(e)
		switch {
		case len(strings.Fields(text)) < 4, strings.HasPrefix(text, "--"): // no message, or one about a flag that was given
		case strings.Contains(text, "slipway"), strings.Contains(text, "Dagger"), strings.Contains(text, "dagger call"):
		case slices.ContainsFunc(commandOnly, func(stage string) bool { return strings.HasPrefix(file, stage) }):
		default:
			for _, name := range flag.FindAllStringSubmatch(text, -1) {
				require.False(t, commandFlags[name[1]], "%s: %q: dagger call has no %s", file, text, name[1])
			}
		}
	})
}

// matches reports whether a message has the parts of an entry between "…", in their order.
func matches(code, text string) bool {
	for part := range strings.SplitSeq(code, "…") {
		_, rest, found := strings.Cut(text, strings.TrimSpace(part))
		if !found {
			return false
		}
		text = rest
	}
	return true
}

type message struct{ file, text string }

// hints are where every sentence is one for people; elsewhere only refusals and errors of
// usage are.
var hints = []string{
	"release/rollout/hint.go", "release/rollout/machine/judge.go", "infra/terraform/explain.go", "infra/terraform/lock.go", "awsauth/endpoint.go", "awsauth/source.go", "images/registry/explain.go",
}

// excludedPackages have messages that the manual does not list: messages about the command line itself,
// which name their mend, and those of the embedded AWS and of tests.
var excludedPackages = []string{"cli", "rehearse", "check/lint", "sourcetest", "infratest"}

// messageFuncs are the functions that take a message for people.
var messageFuncs = []string{"Usagef", "Refusedf", "explained", "fail", "usage", "refuse", "say", "note"}

// messages are the sentences of the code that tell people what is wrong.
func messages(t testing.TB) (all []message) {
	t.Helper()
	seen := map[message]bool{}
	add := func(file, text string) {
		m := message{file, normalize(text)}
		if words := word.FindAllString(m.text, -1); len(words) >= 4 && !seen[m] {
			seen[m], all = true, append(all, m)
		}
	}
	patterns := map[ast.Node]bool{}
	inspect(t, func(file string, n ast.Node) {
		if slices.ContainsFunc(append(excludedPackages, ".."), func(folder string) bool { return strings.HasPrefix(file, folder+"/") }) {
			return
		}
		if call, ok := n.(*ast.CallExpr); ok {
			if callee(call) == "MustCompile" {
				ast.Inspect(call, func(n ast.Node) bool { patterns[n] = true; return true })
			}
			if slices.Contains(messageFuncs, callee(call)) && path.Dir(file) != "report/outcome" {
				for _, arg := range call.Args {
					if text, ok := literal(arg); ok {
						add(file, text)
						break
					}
				}
			}
		}
		if call, ok := n.(*ast.CallExpr); ok && callee(call) == "With" {
			ast.Inspect(call, func(n ast.Node) bool {
				if inner, ok := n.(*ast.CallExpr); ok && callee(inner) == "Errorf" {
					text, _ := literal(inner.Args[0])
					add(file, text)
				}
				return true
			})
		}
		if e, ok := n.(*ast.BasicLit); ok && slices.Contains(hints, file) && !patterns[n] {
			if text, ok := literal(e); ok {
				add(file, text)
			}
		}
	})
	return all
}

var (
	verbs = regexp.MustCompile(`%(?:\[\d+\])?[+#]?[a-z]|\{[a-z]+\}`)
	word  = regexp.MustCompile(`[a-z]{2,}`)
)

// normalize is a message with "…" for what differs.
func normalize(text string) string {
	return strings.Join(strings.Fields(verbs.ReplaceAllString(text, "…")), " ")
}
