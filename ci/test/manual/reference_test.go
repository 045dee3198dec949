package manual_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/cli"
)

var update = flag.Bool("update", false, "write docs/reference.md, the READMEs of Terraform's modules, and what packages manual/run and blackbox execute")

const referenceFile = "docs/reference.md"

// TestReference: docs/reference.md says what the code says.
func TestReference(t *testing.T) {
	t.Parallel()
	var r reference
	r.printf(`# Reference

Generated from the code by %s; what stands here is
what the code says of itself. How to go about things is in
[getting-started.md](getting-started.md), [operations.md](operations.md) and
[adopt.md](adopt.md); what to do about a message in
[troubleshooting.md](troubleshooting.md).

- [Exit codes](#exit-codes)
- [Commands](#commands)
- [Functions of the Dagger module](#functions-of-the-dagger-module)
- [Files](#files)
- [Environment variables](#environment-variables)
- [Terraform: the platform](#terraform-the-platform)
- [Terraform: bootstrap](#terraform-bootstrap)
`, "`go -C ci/test test ./manual -update`")
	r.exitCodes(t)
	r.commands()
	r.functions(readModule(t))
	r.files(t)
	r.environment(t)
	r.printf("\n## Terraform: the platform\n\nInputs of `terraform/modules/platform`, which `terraform/main.tf` sets in `settings`. An environment's\nfile has them as keys, and also, for the pipeline only: `promote_from`, `state_bucket`, `state_region`, `state_key`.\n")
	r.terraform(t, "terraform/modules/platform")
	r.printf("\n## Terraform: bootstrap\n\nInputs of `terraform/modules/bootstrap`, and variables of `terraform/bootstrap`.\n")
	r.terraform(t, "terraform/modules/bootstrap")

	requireGenerated(t, referenceFile, "", r.text.String())
}

// TestModules: the README of each Terraform module ends with its inputs and outputs.
func TestModules(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"bootstrap", "environment", "platform"} {
		var r reference
		r.terraform(t, "terraform/modules/"+name)
		requireGenerated(t, "terraform/modules/"+name+"/README.md", "## Inputs and outputs\n", r.text.String())
	}
}

// requireGenerated requires that a file is the given text, after the part that ends with a
// heading, if that is not "". With -update, it writes the file.
func requireGenerated(t testing.TB, name, heading, text string) {
	t.Helper()
	file := filepath.Join(root(), filepath.FromSlash(name))
	now, err := os.ReadFile(file)
	require.NoError(t, err)
	before, _, _ := strings.Cut(string(now), heading)
	if heading != "" {
		text = before + heading + text
	}
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		return
	}
	require.Equal(t, string(now), text, "%s is not what the code and the manual say: run go -C ci/test test ./manual -update, and commit it", name)
}

// reference is the page while it is written.
type reference struct{ text strings.Builder }

func (r *reference) printf(format string, args ...any) { fmt.Fprintf(&r.text, format, args...) }

// cell is text within a table's cell. GitHub would take angle brackets for HTML.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(strings.Join(strings.Fields(text), " "))
}

func (r *reference) exitCodes(t testing.TB) {
	r.printf("\n## Exit codes\n\nOf `slipway`, the same for every command. `dagger call` ends with 0 or 1.\n\n| code | name | meaning |\n|---|---|---|\n")
	codes := exitCodes(t)
	for _, code := range slices.SortedFunc(maps.Keys(codes), func(a, b string) int { return len(a)*10 - len(b)*10 + strings.Compare(a, b) }) {
		r.printf("| %s | %s | %s |\n", code, codes[code].name, cell(codes[code].doc))
	}
}

// exitCodes are the exit codes, as package outcome has them.
func exitCodes(t testing.TB) map[string]declaration {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root(), "ci/internal/report/outcome/outcome.go"), nil, parser.ParseComments)
	require.NoError(t, err)
	codes := map[string]declaration{}
	ast.Inspect(file, func(n ast.Node) bool {
		if value, ok := n.(*ast.ValueSpec); ok && value.Comment != nil && len(value.Values) == 1 {
			codes[value.Values[0].(*ast.BasicLit).Value] = declaration{name: value.Names[0].Name, doc: value.Comment.Text()}
		}
		return true
	})
	require.Len(t, codes, 7, "exit codes are a contract")
	return codes
}

func (r *reference) commands() {
	root := cli.Command()
	r.printf("\n## Commands\n\nEach command takes these flags, too:\n\n")
	r.flags(root.PersistentFlags())
	for _, command := range visibleCommands(root) {
		r.printf("\n### %s\n\n%s.\n\n%s\n\n```sh\n%s\n```\n", command.CommandPath(), command.Short, escape(command.Long), strings.ReplaceAll(command.Example, "\n  ", "\n")[min(2, len(command.Example)):])
		if command.LocalNonPersistentFlags().HasFlags() {
			r.printf("\n")
			r.flags(command.LocalNonPersistentFlags())
		}
	}
}

// escape keeps what is meant as it stands from being taken for Markdown. An indented
// line is code, and needs an empty line before it.
func escape(text string) string {
	var lines []string
	for _, line := range strings.Split(text, "\n") {
		if code, ok := strings.CutPrefix(line, "  "); ok {
			line = "    " + code
			if len(lines) > 0 && lines[len(lines)-1] != "" && !strings.HasPrefix(lines[len(lines)-1], "    ") {
				lines = append(lines, "")
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (r *reference) flags(flags *pflag.FlagSet) {
	r.printf("| flag | default | |\n|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" || f.Hidden {
			return
		}
		preset := ""
		if f.DefValue != "" && f.DefValue != "[]" {
			preset = "`" + f.DefValue + "`"
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			kind = " " + strings.ReplaceAll(kind, "|", `\|`)
		}
		r.printf("| `--%s%s` | %s | %s |\n", f.Name, kind, preset, cell(usage))
	})
}

func (r *reference) functions(m module) {
	r.printf("\n## Functions of the Dagger module\n\nIn this order: `dagger call`, account, function, its arguments, what is taken of the\nresult. Lists are separated by commas. The account, for what talks to AWS:\n\n")
	r.arguments(m.constructor)
	for _, f := range m.functions {
		r.printf("\n### %s\n\n%s\n", f.name, f.doc)
		switch fields := m.fields[f.returns]; {
		case len(fields) > 0:
			r.printf("\nReturns `%s`.\n", strings.Join(fields, "`, `"))
		case f.returns != "error":
			r.printf("\nReturns a %s.\n", strings.ToLower(f.returns))
		}
		if len(f.args) > 0 {
			r.printf("\n")
			r.arguments(f)
		}
	}
}

func (r *reference) arguments(f function) {
	r.printf("| argument | default | |\n|---|---|---|\n")
	for _, a := range f.args {
		preset := "required"
		switch {
		case a.preset != "":
			preset = "`" + a.preset + "`"
		case a.optional:
			preset = ""
		}
		r.printf("| `--%s %s` | %s | %s |\n", a.name, strings.TrimPrefix(strings.ToLower(a.kind), "[]"), preset, cell(a.doc))
	}
}

// written are the files that stages write, by their place below the source tree.
var written = []struct{ by, files, what string }{
	{"`test`", "`.slipway/test/`: `coverage.out`, `coverage.html`, `cobertura.xml`, `junit.xml`, `summary.md`", "reports; `--out` names another folder"},
	{"`build`", "`.slipway/build/SERVICE/`: an OCI image layout (`index.json`, `oci-layout`, `blobs`)", "with Dagger `images.json`, too"},
	{"`plan`", "`.slipway/plan/`: `tfplan`, `plan.json`, `summary.md`, `binding.json`", "**`tfplan` has secrets in clear**; with Dagger `outputs`, too"},
	{"`lock`", "`ci/images.lock.json`", "to be committed"},
	{"`fmt`", "the files that are not formatted", ""},
	{"`build`, `deploy`, …", "`slipway/` in the user's cache folder (`XDG_CACHE_HOME`)", "what was built before; may be deleted at any time"},
}

func (r *reference) files(t testing.TB) {
	r.printf("\n## Files\n\nRead: `terraform/services.auto.tfvars.json` (the services), `ci/images.lock.json` (images\ninstead of the built-in ones, if there are any), `.trivyignore.yaml` (accepted vulnerabilities, if there are\nany), a service's `.dockerignore`. Written:\n\n| by | where | |\n|---|---|---|\n")
	texts := strings.Join(slices.Collect(maps.Keys(literals(t))), "\n")
	for _, w := range written {
		r.printf("| %s | %s | %s |\n", w.by, w.files, w.what)
		for _, name := range regexp.MustCompile("`([a-z.-]+\\.(?:out|html|xml|md|json|svg)|tfplan)`").FindAllStringSubmatch(w.files, -1) {
			require.Contains(t, texts, name[1], "the code writes no %s", name[1])
		}
	}
}

// variables are what the pipeline reads of its environment, beside what AWS's SDK,
// Terraform, Go and git read by themselves.
var variables = map[string]string{
	"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "a job's permission to ask GitHub for its identity; GitHub sets it with `id-token: write`",
	"ACTIONS_ID_TOKEN_REQUEST_URL":   "where to ask for it",
	"AWS_ACCESS_KEY_ID":              "access key; with `AWS_SECRET_ACCESS_KEY`, and `AWS_SESSION_TOKEN` for a session",
	"AWS_CONFIG_FILE":                "AWS's configuration, `~/.aws/config` by default",
	"AWS_DEFAULT_PROFILE":            "as `AWS_PROFILE`, which wins",
	"AWS_PROFILE":                    "profile of AWS's configuration",
	"AWS_ROLE_ARN":                   "role to assume with a job's identity",
	"AWS_SECRET_ACCESS_KEY":          "secret access key",
	"AWS_SHARED_CREDENTIALS_FILE":    "AWS's credentials, `~/.aws/credentials` by default",
	"AWS_WEB_IDENTITY_TOKEN_FILE":    "file with a token to assume `AWS_ROLE_ARN` with",
	"CI":                             "`true`: a check that could not run fails",
	"COSIGN_PASSWORD":                "password of `--sign-key`",
	"GIT_CONFIG_COUNT":               "git's configuration, with `GIT_CONFIG_KEY_0` and so on: only `safe.directory` counts",
	"GITHUB_ACTIONS":                 "`true`: findings of `lint` are annotations, too; roles are assumed with the job's identity; output of containers cannot give workflow commands",
	"GITHUB_API_URL":                 "base URL of GitHub's API, for `GITHUB_TOKEN`",
	"GITHUB_REPOSITORY":              "repository with the deployments of `GITHUB_TOKEN`",
	"GITHUB_RUN_ID":                  "number of the run, for the session's name in CloudTrail",
	"GITHUB_TOKEN":                   "token with `deployments: write`: releases set the status of the commit's deployment",
	"GOVULNDB":                       "URL of a mirror of Go's vulnerability database, for `lint`",
	"NO_COLOR":                       "anything: no colours, and no faint text",
	"SLIPWAY_NOTIFY_KEY":             "key that signs what `SLIPWAY_NOTIFY_URL` gets",
	"SLIPWAY_NOTIFY_URL":             "webhook that is notified of releases",
	"SLIPWAY_ROLE_ARN":               "as `AWS_ROLE_ARN`, and wins",
	"SLIPWAY_SLACK_URL":              "Slack's webhook that is notified of releases",
	"TERM":                           "`dumb`: progress is told in lines, not drawn",
}

// foreign are variables of programs that are in the tree as data, and of Dagger's
// generated code.
var foreign = []string{"DAGGER_SESSION_PORT", "DAGGER_SESSION_TOKEN", "HEALTH_STATUS", "HOSTNAME", "LISTEN_HOST", "PORT", "VERSION"}

func (r *reference) environment(t testing.TB) {
	r.printf("\n## Environment variables\n\nAWS's own (`AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_CA_BUNDLE`, …) are read by its SDK,\nTerraform's (`TF_CLI_CONFIG_FILE`, `TF_VAR_…`) by Terraform, `HTTPS_PROXY` and its kin by\nGo.\n\n| variable | |\n|---|---|\n")
	var read []string
	for name := range environment(t) {
		if !slices.Contains(foreign, name) {
			read = append(read, name)
		}
	}
	require.ElementsMatch(t, slices.Collect(maps.Keys(variables)), read, "what the code reads of its environment, and what the manual knows")
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		r.printf("| `%s` | %s |\n", name, variables[name])
	}
}

// environment are the variables that the code reads.
func environment(t testing.TB) map[string]bool {
	found := map[string]bool{"COSIGN_PASSWORD": true} // a constant of package signature
	inspect(t, func(_ string, n ast.Node) {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 1 {
			return
		}
		if name := callee(call); name != "Getenv" && name != "LookupEnv" {
			return
		}
		if text, ok := literal(call.Args[0]); ok {
			found[text] = true
		}
	})
	return found
}

// inspect shows all nodes of the pipeline's code but its tests, with the file's name.
func inspect(t testing.TB, show func(file string, n ast.Node)) {
	t.Helper()
	files, err := code()
	require.NoError(t, err)
	for _, f := range files {
		ast.Inspect(f.File, func(n ast.Node) bool {
			if _, imports := n.(*ast.ImportSpec); imports {
				return false
			}
			show(f.name, n)
			return true
		})
	}
}

type file struct {
	*ast.File
	name string // from ci/internal
}

// positions has those of code.
var positions = token.NewFileSet()

// code is the pipeline's code but its tests.
var code = sync.OnceValues(func() (files []file, err error) {
	dir := filepath.Join(root(), "ci")
	err = filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || entry.Name() == "dagger.gen.go" {
			return err
		}
		short, err := filepath.Rel(filepath.Join(dir, "internal"), name)
		files = append(files, file{name: filepath.ToSlash(short)})
		return err
	})
	if err != nil {
		return nil, err
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for n := range files {
		f := &files[n]
		group.Go(func() (err error) {
			f.File, err = parser.ParseFile(positions, filepath.Join(dir, "internal", filepath.FromSlash(f.name)), nil, parser.SkipObjectResolution)
			return err
		})
	}
	return files, group.Wait()
})

// callee is the name of what is called, without its package.
func callee(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// literal is the text of an expression that is a literal.
func literal(e ast.Expr) (string, bool) {
	basic, ok := e.(*ast.BasicLit)
	if !ok || basic.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(basic.Value)
	return text, err == nil
}

// literals are all texts of the code.
func literals(t testing.TB) map[string]bool {
	found := map[string]bool{}
	inspect(t, func(_ string, n ast.Node) {
		if e, ok := n.(*ast.BasicLit); ok {
			if text, ok := literal(e); ok {
				found[text] = true
			}
		}
	})
	return found
}

// terraform writes the variables and outputs of a configuration.
func (r *reference) terraform(t testing.TB, dir string) {
	for _, kind := range []string{"variable", "output"} {
		blocks := declared(t, dir, kind)
		require.NotEmpty(t, blocks)
		if kind == "variable" {
			r.printf("\n| variable | default | |\n|---|---|---|\n")
		} else {
			r.printf("\n| output | |\n|---|---|\n")
		}
		for _, b := range blocks {
			if kind == "variable" {
				r.printf("| `%s` | %s | %s |\n", b.name, b.preset, cell(b.doc))
			} else {
				r.printf("| `%s` | %s |\n", b.name, cell(b.doc))
			}
		}
	}
}

type declaration struct{ name, doc, preset string }

// declared are the variables or outputs of a configuration, in its order.
func declared(t testing.TB, dir, kind string) (all []declaration) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root(), filepath.FromSlash(dir), "*.tf"))
	require.NoError(t, err)
	parser := hclparse.NewParser()
	for _, name := range files {
		file, problems := parser.ParseHCLFile(name)
		require.False(t, problems.HasErrors(), problems)
		for _, b := range file.Body.(*hclsyntax.Body).Blocks {
			if b.Type != kind {
				continue
			}
			d := declaration{name: b.Labels[0]}
			if a, ok := b.Body.Attributes["description"]; ok {
				value, problems := a.Expr.Value(nil)
				require.False(t, problems.HasErrors(), problems)
				d.doc = value.AsString()
			}
			if kind == "variable" {
				d.preset = "required"
			}
			if a, ok := b.Body.Attributes["default"]; ok {
				d.preset = "`" + strings.Join(strings.Fields(string(a.Expr.Range().SliceBytes(file.Bytes))), " ") + "`"
			}
			all = append(all, d)
		}
	}
	return all
}
