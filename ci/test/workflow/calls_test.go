package workflow_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/workflow"
)

// A workflow that calls a missing function, flag or field fails only when it runs: at
// night, or during a release. So the calls are compared with the module.
func TestCallsFitTheModule(t *testing.T) {
	set, err := workflow.Read(root())
	require.NoError(t, err)
	functions, fields := module(t, filepath.Join(root(), "ci"))
	calls := set.Calls()
	require.NotEmpty(t, calls)
	for _, call := range calls {
		where := workflow.Finding{File: call.File, Line: call.Line, Text: call.Function}.String()
		require.Subset(t, functions[""].flags, call.Constructor, where)
		f, exists := functions[call.Function]
		require.True(t, exists, "%s: the module has no such function", where)
		require.Subset(t, append(f.flags, "output"), call.Flags, where)
		if known, ok := fields[f.returns]; ok && len(call.Fields) > 0 {
			require.Contains(t, known, call.Fields[0], where)
		}
	}
}

// A role trusts only the workflow files that its trust policy names; AWS rejects others.
func TestRolesTrustTheirWorkflows(t *testing.T) {
	bootstrap := filepath.Join(root(), "terraform", "modules", "bootstrap", "variables.tf")
	content, err := os.ReadFile(bootstrap)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("terraform/modules/bootstrap, which says what the roles trust, is not in this tree: check out one that has it")
	}
	require.NoError(t, err)
	for _, role := range []string{"deploy", "apply"} {
		trusted := regexp.MustCompile(`(?m)^\s*` + role + `\s*=\s*optional\(string, "([^"]+)"\)`).FindSubmatch(content)
		require.NotNil(t, trusted, "%s does not say which workflow may take the role %s", bootstrap, role)
		for name, content := range files(t) {
			uses := strings.Contains(content, "vars.AWS_"+strings.ToUpper(role)+"_ROLE")
			require.Equal(t, name == string(trusted[1]), uses, "%s: the role %s trusts %s", name, role, trusted[1])
		}
	}
}

// script runs a script of .github with a dagger that prints its arguments, writes the
// given reports, if any, and exits with a code.
func script(t *testing.T, name string, exitCode int, reports map[string]string, args ...string) (out, summary, outputs string, code int) {
	t.Helper()
	fake, temp := t.TempDir(), t.TempDir()
	command := "#!/bin/sh\nprintf '%s\\n' \"$@\" >&2\n"
	for file, content := range reports {
		command += fmt.Sprintf("mkdir -p \"$RUNNER_TEMP/%s\" && printf %%s '%s' >\"$RUNNER_TEMP/%s/%s\"\n", args[0], content, args[0], file)
	}
	require.NoError(t, os.WriteFile(filepath.Join(fake, "dagger"), fmt.Appendf([]byte(command), "exit %d\n", exitCode), 0o755))
	cmd := exec.CommandContext(t.Context(), filepath.Join(root(), workflow.Scripts, name), args...)
	cmd.Env = []string{
		"PATH=" + fake + ":/usr/bin:/bin", "AWS_ROLE=arn:aws:iam::1:role/a b", "AWS_REGION=", "SOURCE=shop/a b", "ENVIRONMENT=staging", "GITHUB_RUN_ID=7", "GITHUB_REPOSITORY=o/r", "GITHUB_API_URL=https://api.github.com",
		"RUNNER_TEMP=" + temp, "GITHUB_STEP_SUMMARY=" + filepath.Join(temp, "summary"), "GITHUB_OUTPUT=" + filepath.Join(temp, "outputs"),
	}
	output, _ := cmd.CombinedOutput()
	written := func(name string) string {
		text, err := os.ReadFile(filepath.Join(temp, name))
		if !errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, err)
		}
		return string(text)
	}
	return strings.ReplaceAll(string(output), temp, "TEMP"), written("summary"), written("outputs"), cmd.ProcessState.ExitCode()
}

// The script adds the environment and the job's identity, and passes its arguments
// unchanged.
func TestScript(t *testing.T) {
	out, _, _, code := script(t, workflow.Script, 3, nil, "rollback", "--to=two words *", "", "markdown")
	require.Equal(t, 3, code)
	require.Equal(t, []string{
		"-m", root(), "call", "--folder=shop/a b", "--environment=staging", "--aws-role=arn:aws:iam::1:role/a b", "--aws-region=", "--github-run=7",
		"--github-token-url=env://ACTIONS_ID_TOKEN_REQUEST_URL", "--github-token=env://ACTIONS_ID_TOKEN_REQUEST_TOKEN",
		"rollback", "--to=two words *", "", "markdown", "",
	}, strings.Split(out, "\n"))
	functions, _ := module(t, filepath.Join(root(), "ci"))
	require.Subset(t, functions[""].flags, []string{"folder", "environment", "aws-role", "aws-region", "github-run", "github-token-url", "github-token", "deployments-token", "github-repository", "github-api"})
}

// The script for releases exits as the release did, with its report in the summary and
// its result as an output. It never succeeds without a report that says so.
func TestReleaseScript(t *testing.T) {
	reports := func(code string) map[string]string {
		return map[string]string{"log": "the log\n", "summary.md": "the report\n", "outputs": "result=paused\n", "exit_code": code}
	}
	for name, tt := range map[string]struct {
		exit    int
		reports map[string]string
		summary string
		code    int
	}{
		"succeeded":                 {0, reports("0\n"), "the report\n", 0},
		"restored":                  {0, reports("3\n"), "the report\n", 3},
		"refused":                   {0, reports("5\n"), "the report\n", 5},
		"the call fails":            {1, nil, "", 1},
		"it fails with old reports": {1, reports("0\n"), "", 1},
		"killed":                    {137, reports("0\n"), "", 137},
		"no reports":                {0, nil, "", 1},
		"no outputs":                {0, map[string]string{"log": "", "summary.md": "the report\n", "exit_code": "0"}, "the report\n", 1},
		"no exit code":              {0, map[string]string{"log": "", "summary.md": "the report\n", "outputs": "result=paused\n"}, "the report\n", 1},
		"an empty exit code":        {0, reports(""), "the report\n", 2},
		"no number":                 {0, reports("x"), "the report\n", 2},
	} {
		t.Run(name, func(t *testing.T) {
			out, summary, outputs, code := script(t, workflow.ReleaseScript, tt.exit, tt.reports, "deploy", "--sha=two words")
			require.Equal(t, tt.code, code, out)
			require.Equal(t, tt.summary, summary)
			require.Equal(t, tt.reports["outputs"] != "" && tt.exit == 0, outputs == "result=paused\n", outputs)
			require.Contains(t, out, "deploy\n--sha=two words\n--tolerate\nreports\n--output=TEMP/deploy\n")
		})
	}
}

// download-artifact writes the only artifact that a pattern matches to its path, and several
// to folders of their names below it. The next step joins them in both cases.
func TestJoinedArtifacts(t *testing.T) {
	joined := 0
	for name, content := range files(t) {
		parsed, errs := actionlint.Parse([]byte(content))
		require.Empty(t, errs)
		for id, job := range parsed.Jobs {
			for n, step := range job.Steps {
				action, ok := step.Exec.(*actionlint.ExecAction)
				if !ok || !strings.HasPrefix(action.Uses.Value, "actions/download-artifact@") || action.Inputs["pattern"] == nil {
					continue
				}
				joined++
				to, ok := strings.CutPrefix(action.Inputs["path"].Value.Value, "${{ runner.temp }}/")
				require.True(t, ok, "%s: %s", name, id)
				require.Equal(t, "a\n", join(t, job.Steps[n+1], to, map[string]string{"one.md": "a\n"}), "%s: %s: one artifact", name, id)
				require.Equal(t, "a\nb\n", join(t, job.Steps[n+1], to, map[string]string{"x-1/one.md": "a\n", "x-2/one.md": "b\n"}), "%s: %s: two artifacts", name, id)
			}
		}
	}
	require.Equal(t, 2, joined)
}

// join runs a step as GitHub does, with files in a folder of the runner's temporary files,
// and returns the file FOLDER.md that it makes.
func join(t *testing.T, step *actionlint.Step, folder string, downloaded map[string]string) string {
	t.Helper()
	temp := t.TempDir()
	for name, content := range downloaded {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(temp, folder, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(temp, folder, name), []byte(content), 0o644))
	}
	run, ok := step.Exec.(*actionlint.ExecRun)
	require.True(t, ok)
	script, shell := filepath.Join(temp, "script.sh"), "bash -e {0}" // GitHub's default
	if run.Shell != nil {
		shell = run.Shell.Value
	}
	require.NoError(t, os.WriteFile(script, []byte(run.Run.Value), 0o644))
	args := strings.Fields(strings.Replace(shell, "{0}", script, 1))
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "RUNNER_TEMP=" + temp}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	made, err := os.ReadFile(filepath.Join(temp, folder+".md"))
	require.NoError(t, err)
	return string(made)
}

type function struct {
	flags   []string
	returns string // name of the type, if the module defines it
}

// module reads the module's functions and types from its Go files. The name "" is the
// constructor.
func module(t *testing.T, dir string) (functions map[string]function, fields map[string][]string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	functions, fields = map[string]function{}, map[string][]string{}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, declaration := range parsed.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "New" {
					functions[""] = function{flags: flags(d)}
				}
				if d.Recv != nil && d.Name.IsExported() && named(d.Recv.List[0].Type) == "Slipway" && len(d.Type.Results.List) > 0 {
					functions[kebab(d.Name.Name)] = function{flags(d), named(d.Type.Results.List[0].Type)}
				}
			case *ast.GenDecl:
				maps.Copy(fields, structs(d))
			}
		}
	}
	require.NotEmpty(t, functions[""].flags)
	return functions, fields
}

func structs(d *ast.GenDecl) map[string][]string {
	all := map[string][]string{}
	for _, spec := range d.Specs {
		if s, ok := spec.(*ast.TypeSpec); ok {
			if body, ok := s.Type.(*ast.StructType); ok {
				for _, field := range body.Fields.List {
					for _, name := range field.Names {
						all[s.Name.Name] = append(all[s.Name.Name], kebab(name.Name))
					}
				}
			}
		}
	}
	return all
}

func flags(d *ast.FuncDecl) (all []string) {
	for _, parameter := range d.Type.Params.List {
		for _, name := range parameter.Names {
			all = append(all, kebab(name.Name))
		}
	}
	return all
}

func named(expression ast.Expr) string {
	if star, ok := expression.(*ast.StarExpr); ok {
		expression = star.X
	}
	if identifier, ok := expression.(*ast.Ident); ok {
		return identifier.Name
	}
	return ""
}

var hump = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// kebab returns a name as the command line spells it: githubTokenURL becomes
// github-token-url.
func kebab(name string) string { return strings.ToLower(hump.ReplaceAllString(name, "$1-$2")) }

func TestKebab(t *testing.T) {
	for name, want := range map[string]string{"githubTokenURL": "github-token-url", "SHA": "sha", "JSON": "json", "noBuild": "no-build", "awsRole": "aws-role"} {
		require.Equal(t, want, kebab(name))
	}
}
