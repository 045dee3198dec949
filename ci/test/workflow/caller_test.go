package workflow_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rhysd/actionlint"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/scaffold"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/test/workflow"
)

// release is the release of the pipeline that a caller names.
const release = "v1.2.3"

// called are the workflows of the pipeline that a caller's workflow starts.
var called = []string{"deliver.yml", "infrastructure.yml"}

// caller returns the workflow that slipway init writes for a repository with a branch.
func caller(t *testing.T, branch string) string {
	t.Helper()
	dir := t.TempDir()
	sourcetest.Write(t, dir, "index.html", "<p>Hello</p>")
	sourcetest.Git(t, dir, "init", "-q")
	sourcetest.Commit(t, dir, "first")
	sourcetest.Git(t, dir, "update-ref", "refs/remotes/origin/"+branch, "HEAD")
	sourcetest.Git(t, dir, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/"+branch)
	o := scaffold.InitOptions{Version: release, GitHub: "acme/shop", Choices: scaffold.Choices{Services: []string{"site=."}}}
	_, err := scaffold.Init(t.Context(), dir, o)
	require.NoError(t, err)
	content, err := os.ReadFile(filepath.Join(dir, workflow.Dir, scaffold.DefaultWorkflow))
	require.NoError(t, err)
	return string(content)
}

// callerFiles returns a caller's workflow and those that it starts.
func callerFiles(t *testing.T, branch string) map[string]string {
	all := map[string]string{"ci.yml": caller(t, branch)}
	for _, name := range called {
		all[name] = files(t)[name]
	}
	return all
}

// TestCallers: the workflow that slipway init writes does for every event what that of this
// repository does, with the same permissions, but of the release and with its identity. This
// repository calls the same file in the same way, so the two cannot part.
func TestCallers(t *testing.T) {
	all := callerFiles(t, "main")
	reference := regexp.MustCompile(`uses: \S+`)
	plain := func(content string) string {
		_, body, found := strings.Cut(content, "\nname: ")
		require.True(t, found)
		return reference.ReplaceAllString(body, "")
	}
	require.Equal(t, plain(files(t)["ci.yml"]), plain(all["ci.yml"]))
	require.Equal(t, []string{"uses: ./.github/workflows/deliver.yml"}, reference.FindAllString(files(t)["ci.yml"], -1))
	require.Equal(t, []string{"uses: slipway-cd/slipway/.github/workflows/deliver.yml@" + release}, reference.FindAllString(all["ci.yml"], -1))
	require.Less(t, strings.Count(regexp.MustCompile(`(?m)^\s*(#.*)?\n`).ReplaceAllString(all["ci.yml"], ""), "\n"), 30)

	set, err := workflow.Parse(all)
	require.NoError(t, err)
	require.Empty(t, set.Check())
	events, count := pushEvents(t), 0
	for name, h := range happenings() {
		if len(h.want) > 0 && !strings.HasPrefix(h.want[0], "ci.yml") {
			continue
		}
		got, err := h.startAt(release, set, events)
		require.NoError(t, err, name)
		require.Equal(t, h.want, got, name)
		count++
	}
	require.Greater(t, count, 90)
}

// TestCallersAreStrict: a caller's workflow with other permissions, inputs or versions breaks
// a rule, or does something else.
func TestCallersAreStrict(t *testing.T) {
	original, events := callerFiles(t, "main"), pushEvents(t)
	for name, change := range map[string][2]string{
		"no identity":      {", id-token: write", ""},
		"no deployments":   {", deployments: write", ""},
		"no comments":      {", pull-requests: write", ""},
		"more rights":      {"contents: read", "contents: write"},
		"a right too many": {"contents: read", "contents: read, packages: write"},
		"secrets":          {"    with:\n", "    secrets: inherit\n    with:\n"},
		"a branch":         {"@" + release, "@main"},
		"another's":        {"slipway-cd/slipway", "mallory/slipway"},
		"another event":    {"  pull_request:\n", "  pull_request_target:\n"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, original["ci.yml"], change[0])
			all := maps.Clone(original)
			all["ci.yml"] = strings.Replace(original["ci.yml"], change[0], change[1], 1)
			set, err := workflow.Parse(all)
			require.NoError(t, err)
			if len(set.Check()) > 0 {
				return
			}
			h := happening{event: push("main"), history: "everything"}
			_, err = h.startAt(release, set, events)
			require.Error(t, err)
		})
	}
}

// TestCallerOfAnotherBranch releases from the repository's own branch.
func TestCallerOfAnotherBranch(t *testing.T) {
	set, err := workflow.Parse(callerFiles(t, "trunk"))
	require.NoError(t, err)
	events := pushEvents(t)
	start := func(e workflow.Event) []string {
		got, err := happening{event: e, history: "dispatch"}.startAt(release, set, events)
		require.NoError(t, err)
		return got
	}
	require.Equal(t, []string{ciRun, rollback}, start(dispatch("ci.yml", "trunk", map[string]any{"rollback": true})))
	require.Equal(t, []string{ciRun}, start(dispatch("ci.yml", "main", map[string]any{"rollback": true})))
	require.Empty(t, start(push("main")))
}

// TestCallerActionlint checks the calls of a caller against the inputs of deliver.yml, as in
// a checkout of both.
func TestCallerActionlint(t *testing.T) {
	dir := t.TempDir()
	for name, content := range callerFiles(t, "main") {
		content = strings.Replace(content, "slipway-cd/slipway/.github/workflows/deliver.yml@"+release, "./.github/workflows/deliver.yml", 1)
		sourcetest.Write(t, dir, filepath.Join(workflow.Dir, name), content)
	}
	linter, err := actionlint.NewLinter(os.Stderr, &actionlint.LinterOptions{})
	require.NoError(t, err)
	project, err := actionlint.NewProject(dir)
	require.NoError(t, err)
	found, err := linter.LintFile(filepath.Join(dir, workflow.Dir, "ci.yml"), project)
	require.NoError(t, err)
	require.Empty(t, found)
}

// TestCallerOfAFolder passes the folder on to every job that calls the module.
func TestCallerOfAFolder(t *testing.T) {
	all := callerFiles(t, "main")
	inRoot, err := workflow.Parse(all)
	require.NoError(t, err)
	all["ci.yml"] = strings.Replace(all["ci.yml"], "    with:\n", "    with:\n      source: teams/shop\n", 1)
	set, err := workflow.Parse(all)
	require.NoError(t, err)
	events := pushEvents(t)
	for name, h := range map[string]happening{
		"a push":     {event: push("main"), history: "everything"},
		"an apply":   {event: dispatch("ci.yml", "main", map[string]any{"environment": "production", "run_apply": true}), history: "dispatch"},
		"a rollback": {event: dispatch("ci.yml", "main", map[string]any{"environment": "production", "rollback": true}), history: "dispatch"},
	} {
		want, err := h.startAt(release, inRoot, events)
		require.NoError(t, err, name)
		h.source = "teams/shop"
		got, err := h.startAt(release, set, events)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
		got, err = h.startAt(release, inRoot, events)
		require.NoError(t, err, name)
		require.NotEqual(t, want, got, name)
	}
}
