package gotest

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
)

var update = flag.Bool("update", false, "record testdata/zoo.json anew with a real run")

const recording = "testdata/zoo.json"

// zoo returns the tree of testdata/zoo.txtar.
func zoo(t testing.TB) fs.FS {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/zoo.txtar")
	require.NoError(t, err)
	tree, err := txtar.FS(archive)
	require.NoError(t, err)
	return tree
}

// record runs the zoo and records the output of go test as in a container.
func record(t *testing.T) {
	t.Helper()
	source, out := t.TempDir(), t.TempDir()
	require.NoError(t, os.CopyFS(source, zoo(t)))
	s := Step("zoo", Options{Race: true, Timeout: 2 * time.Second})
	_, err := step.Host{Source: source}.Run(t.Context(), s, out)
	require.NoError(t, err)
	events, err := os.ReadFile(filepath.Join(out, eventsFile))
	require.NoError(t, err)
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	events = bytes.ReplaceAll(events, []byte(source), []byte(step.ContainerSource))
	events = bytes.ReplaceAll(events, bytes.TrimSpace(goroot), []byte("/usr/local/go"))
	require.NoError(t, os.WriteFile(recording, events, 0o644))
}

func zooModule(t testing.TB) module {
	return module{tree: zoo(t), roots: []string{step.ContainerSource}, dir: "zoo", importPath: "example.com/zoo"}
}

func zooVerdict(t testing.TB) verdict {
	t.Helper()
	file, err := os.Open(recording)
	require.NoError(t, err)
	defer file.Close()
	results, err := readResults(file)
	require.NoError(t, err)
	return judge(zooModule(t), results, ending{exitCode: 1})
}

func TestRecordedRun(t *testing.T) {
	if *update {
		record(t)
	}
	v := zooVerdict(t)

	var got []string
	for _, f := range v.failures {
		got = append(got, fmt.Sprintf("%s%s: %s", located(f.File, f.Line), strings.TrimPrefix(f.subject(), "example.com/zoo/"), f.Message))
	}
	require.Equal(t, []string{
		"zoo/exit0_test.go:8 TestExit0 (example.com/zoo): panic: unexpected call to os.Exit(0) during test",
		`zoo/brokendep/b.go:3 brokendep: cannot use "s" (untyped string constant) as int value in variable declaration`,
		"zoo/builderror/b_test.go:5 builderror: undefined: undefinedThing",
		"exit: no database",
		"exitzero: passed without running a test: something ended the test binary, like an exit in TestMain",
		"zoo/fail/fail_test.go:11 TestParent/child (example.com/zoo/fail): got 1",
		"zoo/fail/fail_test.go:23 TestParentAndChild/child (example.com/zoo/fail): c",
		"zoo/fail/fail_test.go:27 Example_bad (example.com/zoo/fail): the example's output differs from its comment",
		"zoo/fatalgo/p_test.go:8 TestBoomElsewhere (example.com/zoo/fatalgo): panic: elsewhere",
		"zoo/hang/h_test.go:7 TestHang/sub (example.com/zoo/hang): panic: test timed out after 2s",
		"zoo/initpanic/i_test.go:5 initpanic: panic: at init",
		"zoo/killed/k_test.go:9 TestKilled (example.com/zoo/killed): did not finish: the test binary ended while it ran",
		"leak: found a leaked goroutine",
		"zoo/brokendep/b.go:3 needsbroken: not tested, because example.com/zoo/brokendep does not build",
		"zoo/noisy/n_test.go:10 TestNoise (example.com/zoo/noisy): a | b `code`",
		"zoo/panics/p_test.go:8 TestBoom (example.com/zoo/panics): panic: assignment to entry in nil map",
		"zoo/parallel/p_test.go:8 TestWaits (example.com/zoo/parallel): panic: one of many",
		"zoo/parallel/p_test.go:11 TestWaitsToo (example.com/zoo/parallel): did not finish: the test binary ended while it ran",
		"zoo/race/r_test.go:10 TestRace (example.com/zoo/race): data race",
		"zoo/raceout/r_test.go:11 raceout: data race",
		"zoo/testify/t_test.go:8 TestEqual (example.com/zoo/testify): Not equal:",
		"zoo/vet/v_test.go:8 vet: fmt.Printf format %d has arg \"s\" of wrong type string",
	}, got)
	require.Equal(t, []Skip{
		{Package: "example.com/zoo/skip", Test: "TestSkip", Reason: "needs a thing: really", File: "zoo/skip/s_test.go", Line: 7},
		{Package: "example.com/zoo/skip", Test: "TestSkipNow", Reason: "no reason given", File: "zoo/skip/s_test.go", Line: 8},
		{Package: "example.com/zoo/skip", Test: "TestSub/a", Reason: "sub 1", File: "zoo/skip/s_test.go", Line: 9},
	}, v.skips)
	// pass: TestAdd/plus_1, TestAdd/plus_2, FuzzAdd/seed#0, ExampleAdd; fail:
	// TestParent/other, TestFine; leak: TestLeaves; panics: TestBefore;
	// raceout: TestOK.
	require.Equal(t, 9, v.passed)
}

func TestRecordedRunKeepsEveryOutput(t *testing.T) {
	outputs := map[string]string{}
	for _, f := range zooVerdict(t).failures {
		outputs[strings.TrimPrefix(f.Package, "example.com/zoo/")+" "+f.Test] = f.Output
	}
	require.Equal(t, "    fail_test.go:10: about to fail\nfrom stdout\n    fail_test.go:11: got 1\n        want 2\n", outputs["fail TestParent/child"])
	require.Equal(t, "    fail_test.go:23: c\noutput of TestParentAndChild:\n    fail_test.go:24: parent too\n", outputs["fail TestParentAndChild/child"])
	require.Equal(t, "got:\nx\nwant:\ny\n", outputs["fail Example_bad"])
	require.Equal(t, "no database\n", outputs["exit "])
	require.Equal(t, "    k_test.go:9: running out of memory\nsignal: killed\n", outputs["killed TestKilled"])
	require.Equal(t, "# example.com/zoo/vet\n# [example.com/zoo/vet]\nvet/v_test.go:8:40: fmt.Printf format %d has arg \"s\" of wrong type string\n", outputs["vet "])
	require.Equal(t, "not tested, because example.com/zoo/brokendep does not build; see example.com/zoo/brokendep\n", outputs["needsbroken "])
	require.Contains(t, outputs["hang TestHang/sub"], "goroutine 1 [chan receive]")
	require.Contains(t, outputs["raceout "], "testing: race detected outside of test execution")
	// Without colours, control characters and invalid UTF-8.
	require.Equal(t, "red ]]> <b>& \uFFFD\n```\n    n_test.go:10: a | b `code`\n", outputs["noisy TestNoise"])
}
