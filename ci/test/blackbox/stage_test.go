package blackbox

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestBuildGivesTheHostsDigests builds a tree in the engine and on this machine, which
// needs the Go version of the engine's image. Both digests must be equal.
func TestBuildGivesTheHostsDigests(t *testing.T) {
	client := connect(t)
	dir := sourcetest.New(t)
	o := rehearsaltest.Options(t, dir, "")
	there, err := client.Container().From(o.Lock.Reference("go")).WithExec([]string{"go", "env", "GOVERSION"}).Stdout(t.Context())
	require.NoError(t, err)
	here, err := exec.CommandContext(t.Context(), "go", "env", "GOVERSION").Output()
	require.NoError(t, err)
	if string(here) != there {
		t.Skipf("this machine has %s and the engine's image %s: install the same to compare", here, there)
	}
	images, err := image.Builder{Source: o.Source, Exec: o.Exec, Lock: o.Lock, Offline: true}.Build(t.Context(), o.Platform.Services)
	require.NoError(t, err)
	want, err := image.Describe(images)
	require.NoError(t, err)

	var got struct {
		Build struct{ File struct{ Contents string } }
	}
	require.NoError(t, newPipeline(t, dir).call(`build(withoutBase: true) { file(path: "images.json") { contents } }`, &got))
	var summary image.Summary
	require.NoError(t, json.Unmarshal([]byte(got.Build.File.Contents), &summary))
	require.Len(t, summary.Images, len(want.Images))
	for n := range want.Images {
		require.Equal(t, want.Images[n].Service, summary.Images[n].Service)
		require.Equal(t, want.Images[n].Digest, summary.Images[n].Digest)
	}
}

// passing is a test of package main that passes.
const passing = "package main\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tif 1+1 != 2 {\n\t\tt.Fatal(\"arithmetic\")\n\t}\n}\n"

func TestTests(t *testing.T) {
	dir := sourcetest.New(t)
	sourcetest.Write(t, dir, "api/main_test.go", passing)
	sourcetest.Commit(t, dir, "a test")
	var got struct{ Test struct{ Entries []string } }
	require.NoError(t, newPipeline(t, dir).call(`test(minCoverage: ["0"]) { entries }`, &got))
	require.Subset(t, got.Test.Entries, []string{"coverage.out", "coverage.html", "cobertura.xml", "junit.xml", "summary.md"})

	sourcetest.Write(t, dir, "api/main_test.go", "package main\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) { t.Fatal(\"two and two make five\") }\n")
	err := newPipeline(t, dir).call(`test(minCoverage: ["0"]) { entries }`, &got)
	require.ErrorContains(t, err, "two and two make five")
	require.ErrorContains(t, err, "TestSum")
	var kept struct {
		Test struct{ Outputs, Summary struct{ Contents string } }
	}
	require.NoError(t, newPipeline(t, dir).call(`test(minCoverage: ["0"], tolerate: true) { outputs: file(path: "outputs") { contents } summary: file(path: "summary.md") { contents } }`, &kept))
	require.Equal(t, "result=failed\n", kept.Test.Outputs.Contents)
	require.Contains(t, kept.Test.Summary.Contents, "two and two make five")
}

// A build of one commit is reused for another commit that does not change its input. A
// failed build is tried again, also on an engine that caches failures.
func TestWhatTheEngineKeeps(t *testing.T) {
	needsEngine(t)
	dir := sourcetest.New(t)
	unique := "var _ = \"" + filepath.Base(filepath.Dir(dir)) + "\"\n" // differs in every run
	sourcetest.Write(t, dir, "api/unique.go", "package main\n\n"+unique)
	commit := func(file, content string) {
		sourcetest.Write(t, dir, file, content)
		sourcetest.Commit(t, dir, file)
	}
	commit("README.md", "one")
	steps := regexp.MustCompile(`(?m)Container\.withExec (DONE|CACHED|ERROR)`)
	ran := func(args ...string) (all []string) {
		for _, found := range steps.FindAllStringSubmatch(dagger(t, nil, append([]string{"call", "--source=" + dir}, args...)...), -1) {
			all = append(all, found[1])
		}
		return all
	}
	build := []string{"build", "--services=api", "file", "--path=images.json", "contents"}
	require.Contains(t, ran(build...), "DONE")
	commit("README.md", "two")
	again := ran(build...)
	require.Contains(t, again, "CACHED")
	require.NotContains(t, again, "DONE")

	commit("api/main_test.go", "package main\n\nimport \"testing\"\n\nfunc TestFails(t *testing.T) { t.Fatal(1) }\n")
	require.Contains(t, ran("test", "--min-coverage=0"), "DONE")
	require.Contains(t, ran("test", "--min-coverage=0"), "DONE")
}

// TestFunctions compares the module's functions with the manual.
func TestFunctions(t *testing.T) {
	needsEngine(t)
	out := dagger(t, nil, "functions")
	for _, name := range []string{
		"apply", "build", "changes", "check", "deploy", "diff", "fmt", "image", "lint", "lock", "plan", "preview-down", "preview-list", "preview-sweep", "preview-up", "publish", "rehearse",
		"rollback", "status", "test", "validate",
	} {
		require.Regexp(t, `(?m)^`+name+`\s+\S`, out)
	}
}

// TestSecretsStaySecret plants credentials and searches for them in the most verbose
// output of a call, both successful and failed.
func TestSecretsStaySecret(t *testing.T) {
	inPlatform(t, func(dir string, p pipeline) {
		planted := map[string]string{"key": "AKIAPLANTEDPLANTED01", "secret": "pl4nted+s3cret/that+must+not+be+seen0000", "token": "pl4nted-session-token-of-forty-characters"} // gitleaks:allow: planted, to be looked for
		credentials := `{"Version": 1, "AccessKeyId": "` + planted["key"] + `", "SecretAccessKey": "` + planted["secret"] + `", "SessionToken": "` + planted["token"] + `"}`
		environment := []string{"PLANTED=" + credentials}
		at := []string{"-vvv", "call", "--source=" + dir, "--aws-credentials=env://PLANTED"}
		outputs := map[string]string{
			"nobody there": dagger(t, environment, append(at, "--aws=tcp://127.0.0.1:1", "status", "report")...),
			"not JSON":     dagger(t, []string{"PLANTED=" + planted["secret"]}, append(at, "status", "report")...),
			"half":         dagger(t, []string{`PLANTED={"Version": 1, "AccessKeyId": "` + planted["key"] + `"}`}, append(at, "status", "report")...),
		}
		id, err := p.client.SetSecret("planted", credentials).ID(t.Context())
		require.NoError(t, err)
		var status struct{ Status struct{ Report string } }
		require.NoError(t, p.with("awsCredentials", id).call(`status { report }`, &status))
		outputs["that works"] = status.Status.Report + session.said.String()
		for call, output := range outputs {
			require.NotEmpty(t, output)
			for kind, text := range planted {
				if kind == "key" {
					continue // names the caller, is not a secret
				}
				require.NotContains(t, output, text, "%s, in the output of the call: %s", kind, call)
			}
		}
	})
}

// dagger runs the dagger command in the module's root and returns its output.
func dagger(t *testing.T, environment []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "dagger", append([]string{"--progress=plain"}, args...)...)
	cmd.Dir, cmd.Env = sourcetest.Repository(), append(os.Environ(), environment...)
	cmd.Env = append(cmd.Env, "NO_COLOR=1")
	out, _ := cmd.CombinedOutput() // calls may fail; the output is checked
	return string(out)
}

// TestEffectsAreNeverCached reads the pragmas of the functions: a function that calls
// AWS or reports what runs must be executed at each call.
func TestEffectsAreNeverCached(t *testing.T) {
	for file, functions := range map[string][]string{
		"release.go": {"Deploy", "Rollback", "Diff", "Status"}, "rehearse.go": {"Rehearse"}, "infra.go": {"Plan", "Apply"},
		"image.go": {"Publish", "Lock"},
	} {
		text, err := os.ReadFile(sourcetest.Repository("ci", file))
		require.NoError(t, err)
		for _, name := range functions {
			before, _, found := strings.Cut(string(text), "func (m *Slipway) "+name+"(")
			require.True(t, found, name)
			comment := before[strings.LastIndex(before, "\n\n"):]
			require.Contains(t, comment, `// +cache="never"`, name)
		}
	}
}
