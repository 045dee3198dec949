package gotest

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

func appModule() module {
	return module{
		tree: fstest.MapFS{
			"app/go.mod":       {Data: []byte("module example.com/app\n")},
			"app/a_test.go":    {Data: []byte("package app\n\nfunc TestA(t *testing.T) {}\n")},
			"app/b/b_test.go":  {Data: []byte("package b\n")},
			"app/b/testing.go": {Data: []byte("package b\n")},
		},
		roots:      []string{"/home/me/shop", "/src"},
		dir:        "app",
		importPath: "example.com/app",
	}
}

// judged judges a stream in which 'P' stands for the package.
func judged(t *testing.T, end ending, events ...string) verdict {
	t.Helper()
	stream := strings.ReplaceAll(strings.Join(events, "\n"), "'P'", `"Package":"example.com/app"`)
	results, err := readResults(strings.NewReader(stream))
	require.NoError(t, err)
	return judge(appModule(), results, end)
}

func TestJudgeFailuresOutsideTests(t *testing.T) {
	const app = "example.com/app"
	for name, c := range map[string]struct {
		end    ending
		events []string
		want   Failure
	}{
		"no test at all": {
			events: []string{`{"Action":"skip",'P'}`},
			want:   Failure{Package: app, Message: "no test ran: the module has no tests"},
		},
		"an empty stream": {
			end:  ending{stderr: "warning: \"./...\" matched no packages\n"},
			want: Failure{Package: app, Message: "no test ran: the module has no tests", Output: "warning: \"./...\" matched no packages"},
		},
		"every test skipped": {
			events: []string{`{"Action":"run",'P',"Test":"TestA"}`, `{"Action":"skip",'P',"Test":"TestA"}`, `{"Action":"pass",'P'}`},
			want:   Failure{Package: app, Message: "no test ran: all 1 were skipped"},
		},
		"an exit code without events": {
			end:    ending{exitCode: 2, stderr: "go: errors parsing go.mod\n"},
			events: []string{"a line of a linker"},
			want:   Failure{Package: app, Message: "go test failed with exit code 2", Output: "go: errors parsing go.mod\na line of a linker"},
		},
		"a package without an end": {
			end: ending{exitCode: 1, stderr: "signal: killed\n"},
			events: []string{
				`{"Action":"start",'P'}`, `{"Action":"run",'P',"Test":"TestA"}`, `{"Action":"pass",'P',"Test":"TestA"}`,
			},
			want: Failure{Package: app, Message: "has no result: go test ended before its tests did", Output: "signal: killed\n"},
		},
		"a silent exit": {
			end:    ending{exitCode: 1},
			events: []string{`{"Action":"output",'P',"Output":"FAIL\texample.com/app\t0.01s\n"}`, `{"Action":"fail",'P'}`},
			want:   Failure{Package: app, Message: "failed without a failed test: something ended the test binary, like an exit in TestMain"},
		},
		"a build that says nothing": {
			end:    ending{exitCode: 1, stderr: "out of memory\n"},
			events: []string{`{"Action":"fail",'P',"FailedBuild":"example.com/app"}`},
			want:   Failure{Package: app, Message: "does not build", Output: "out of memory\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, []Failure{c.want}, judged(t, c.end, c.events...).failures)
		})
	}
}

func TestJudgeIgnoresExitCodeZeroAfterFailure(t *testing.T) {
	v := judged(t, ending{},
		`{"Action":"run",'P',"Test":"TestA"}`, `{"Action":"fail",'P',"Test":"TestA"}`, `{"Action":"pass",'P'}`)
	require.Equal(t, []Failure{{
		Package: "example.com/app", Test: "TestA", Message: "failed without a message", File: "app/a_test.go", Line: 3,
	}}, v.failures)
}

func TestJudgeRepeatedTest(t *testing.T) {
	v := judged(t, ending{exitCode: 1},
		`{"Action":"run",'P',"Test":"TestA"}`, `{"Action":"pass",'P',"Test":"TestA"}`,
		`{"Action":"run",'P',"Test":"TestA"}`, `{"Action":"fail",'P',"Test":"TestA"}`, `{"Action":"fail",'P'}`)
	require.Equal(t, 1, v.passed)
	require.Len(t, v.failures, 1)
}

func TestJudgeSubtestNameWithSlashes(t *testing.T) {
	v := judged(t, ending{exitCode: 1},
		`{"Action":"run",'P',"Test":"TestA"}`, `{"Action":"run",'P',"Test":"TestA/x/y"}`,
		`{"Action":"output",'P',"Test":"TestA/x/y","Output":"--- FAIL: TestA/x/y (0.00s)\n"}`,
		`{"Action":"fail",'P',"Test":"TestA/x/y"}`, `{"Action":"fail",'P',"Test":"TestA"}`, `{"Action":"fail",'P'}`)
	require.Len(t, v.failures, 1)
	require.Equal(t, "TestA/x/y", v.failures[0].Test)
}

func TestJudgeFailedParent(t *testing.T) {
	v := judged(t, ending{exitCode: 1},
		`{"Action":"run",'P',"Test":"TestA"}`, `{"Action":"run",'P',"Test":"TestA/b"}`, `{"Action":"pass",'P',"Test":"TestA/b"}`,
		`{"Action":"output",'P',"Test":"TestA","Output":"    a_test.go:3: bad\n"}`, `{"Action":"fail",'P',"Test":"TestA"}`, `{"Action":"fail",'P'}`)
	require.Equal(t, 1, v.passed)
	require.Equal(t, []Failure{{
		Package: "example.com/app", Test: "TestA", Message: "bad", Output: "    a_test.go:3: bad\n", File: "app/a_test.go", Line: 3,
	}}, v.failures)
}

func TestLocatePaths(t *testing.T) {
	for name, c := range map[string]struct {
		output  string
		at      place
		message string
	}{
		"on the host":                          {"panic: x\n\ngoroutine 1:\nf()\n\t/usr/local/go/src/testing/testing.go:9 +0x1\n\t/home/me/shop/app/b/b_test.go:7 +0x1f\n", place{"app/b/b_test.go", 7}, "panic: x"},
		"in a container":                       {"fatal error: all goroutines are asleep\n\t/src/app/a_test.go:2\n", place{"app/a_test.go", 2}, "fatal error: all goroutines are asleep"},
		"with -trimpath":                       {"panic: y\n\texample.com/app/b/b_test.go:8 +0x1f\n", place{"app/b/b_test.go", 8}, "panic: y"},
		"vet's type check":                     {"# example.com/app/b\nvet: b/b_test.go:3:1: undefined: x\n", place{"app/b/b_test.go", 3}, "undefined: x"},
		"elsewhere":                            {"panic: z\n\t/home/me/other/c.go:8 +0x1f\n", place{}, "panic: z"},
		"a log of a helper in another package": {"    helper.go:8: odd\n", place{}, "helper.go:8: odd"},
		"text on the next line":                {"    b_test.go:4: \n        two\n", place{"app/b/b_test.go", 4}, "two"},
		"testify's label":                      {"    b_test.go:4: \n        \tError Trace:\tb_test.go:4\n        \tError:      \tShould be true\n", place{"app/b/b_test.go", 4}, "Should be true"},
		"a line number out of all measure":     {"    b_test.go:99999999999999999999: big\n", place{}, "b_test.go:99999999999999999999: big"},
		"nothing":                              {"", place{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			at, message := appModule().locate("example.com/app/b", c.output)
			require.Equal(t, c.at, at)
			require.Equal(t, c.message, message)
		})
	}
}

func TestTranscriptKeepsBothEnds(t *testing.T) {
	var out transcript
	out.add("the beginning\n")
	for range 100_000 {
		out.add("0123456789\n")
	}
	out.add("the end\n")
	text := out.String()
	require.Less(t, len(text), 4*maxTranscriptPart)
	require.True(t, strings.HasPrefix(text, "the beginning\n"))
	require.True(t, strings.HasSuffix(text, "the end\n"))
	require.Regexp(t, `\n\.\.\. \d+ bytes left out \.\.\.\n`, text)
}

func TestReadResultsUnterminatedLine(t *testing.T) {
	_, err := readResults(strings.NewReader(strings.Repeat("x", maxEvent+1)))
	require.EqualError(t, err, "reading the events of go test: bufio.Scanner: token too long")
}
