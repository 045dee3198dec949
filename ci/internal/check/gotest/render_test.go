package gotest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// shop is a summary with one of everything.
func shop() Summary {
	return Summary{Result: Failed, Race: true, DurationMS: 1500, Modules: []Module{
		{
			Path: "backend", Result: Succeeded, Coverage: 97.3, MinCoverage: 95, CoverageMet: true, Statements: 300,
			Tests: 41, Passed: 41, Skipped: 1, DurationMS: 900,
			Skips: []Skip{{Package: "shop/api", Test: "TestIPv6", Reason: "no IPv6 here", File: "backend/api/net_test.go", Line: 9}},
		},
		{
			Path: "ci", Result: Failed, Coverage: 84.99, MinCoverage: 85, Statements: 100, Tests: 2, Passed: 1, Failed: 2,
			Failures: []Failure{
				{Package: "slipway/a", Test: "TestX/y", Message: "got 1", Output: "    a_test.go:7: got 1\n        want 2\n\n    more\n", File: "ci/a/a_test.go", Line: 7},
				{Package: "slipway/b", Message: "failed without a failed test", Output: "bye\n"},
			},
		},
		{Path: "tool", Result: Failed, CoverageMet: true, Failed: 1, Failures: []Failure{{Package: "slipway/tool", Message: "no test ran"}}},
		{Path: "web", Result: Succeeded, Coverage: 50, CoverageMet: true, Statements: 2, Tests: 1, Passed: 1},
	}}
}

func TestText(t *testing.T) {
	require.Equal(t, `FAIL ci/a/a_test.go:7 TestX/y (slipway/a)
        a_test.go:7: got 1
            want 2

        more

FAIL slipway/b
    failed without a failed test
    bye

FAIL slipway/tool
    no test ran

SKIP backend/api/net_test.go:9 TestIPv6 (shop/api): no IPv6 here

backend  succeeded  41 tests  coverage 97.3 %, at least 95 %
ci       failed     2 tests   coverage 84.9 % is too low: at least 85 %
tool     failed     0 tests   no statements to cover
web      succeeded  1 test    coverage 50.0 %

43 passed, 3 failed, 1 skipped
`, shop().String())
}

func TestSummaryJSONKeys(t *testing.T) {
	out, err := json.Marshal(shop())
	require.NoError(t, err)
	require.Contains(t, string(out), `{"result":"failed","modules":[{"path":"backend","result":"succeeded","coverage":97.3,`)
	var doc struct {
		Modules []map[string]any
	}
	require.NoError(t, json.Unmarshal(out, &doc))
	require.InDelta(t, 2, doc.Modules[1]["tests"], 0)
	require.InDelta(t, 2, doc.Modules[1]["failed"], 0)
	var again Summary
	require.NoError(t, json.Unmarshal(out, &again))
	require.Equal(t, shop(), again)
}

func TestMarkdown(t *testing.T) {
	text := shop().markdown()

	require.True(t, strings.HasPrefix(text, "## Tests failed\n\n43 passed, 3 failed, 1 skipped\n\n"+
		"Coverage of ci is too low: 84.9 %, the minimum is 85 %.\n\n"+
		"<details><summary>ci/a/a_test.go:7 <b>TestX/y (slipway/a)</b><br>got 1</summary>\n\n```\n    a_test.go:7: got 1\n"), text)
	require.Contains(t, text, "<details><summary>1 test skipped</summary>\n\n- backend/api/net_test.go:9 <code>TestIPv6</code>: no IPv6 here\n\n</details>\n")
	require.True(t, strings.HasSuffix(text, "### Coverage\n\n| Module, package | Coverage | Minimum | Statements |\n|:--|--:|--:|--:|\n"), text)
}

func TestMarkdownEscapesTestOutput(t *testing.T) {
	f := Failure{Package: "p", Test: "Test/<x>", Message: "a </summary> & b", Output: "````\nfence\n"}
	require.Equal(t, "<details><summary><b>Test/&lt;x&gt; (p)</b><br>a &lt;/summary&gt; &amp; b</summary>\n\n"+
		"`````\na </summary> & b\n````\nfence\n`````\n\n</details>\n\n", f.markdown())
}

func TestMarkdownLimit(t *testing.T) {
	s := Summary{Result: Failed, Modules: []Module{{Path: "ci"}}}
	m := &s.Modules[0]
	long := strings.Repeat("é", 5_000)
	for i := range 400 {
		m.Failures = append(m.Failures, Failure{Package: "p", Test: fmt.Sprint("Test", i), Message: long, Output: strings.Repeat(long+"\n", 3)})
		m.Skips = append(m.Skips, Skip{Package: "p", Test: fmt.Sprint("Skip", i), Reason: strings.Repeat("reason ", 20)})
	}
	m.Failed, m.Skipped = len(m.Failures), len(m.Skips)

	text := s.markdown()

	require.LessOrEqual(t, len(text), report.MarkdownLimit)
	require.Greater(t, len(text), report.MarkdownLimit/2)
	require.Contains(t, text, "0 passed, 400 failed, 400 skipped")
	require.Regexp(t, `\n\d+ more failures are in junit.xml\.`, text)
	require.Regexp(t, `\n- \d+ more are in junit.xml\.`, text)
	require.Equal(t, strings.Count(text, "<details>"), strings.Count(text, "</details>"))
}

func TestJUnitCases(t *testing.T) {
	v := zooVerdict(t)
	other := judge(appModule(), &results{}, ending{})
	var out bytes.Buffer
	require.NoError(t, writeJUnit(&out, []verdict{v, other}))

	var doc junitSuites
	require.NoError(t, xml.Unmarshal(out.Bytes(), &doc))
	require.Equal(t, v.passed+len(v.failures)+len(v.skips)+1, doc.Tests)
	require.Equal(t, len(v.failures)+1, doc.Failures)
	require.Equal(t, len(v.skips), doc.Skipped)
	suites := map[string]junitSuite{}
	for _, s := range doc.Suites {
		require.Len(t, s.Cases, s.Tests, s.Name)
		suites[s.Name] = s
	}
	require.Len(t, suites, len(v.results.packages)+1)
	require.Equal(t, "no test ran: the module has no tests", suites["example.com/app"].Cases[0].Failure.Message)
	require.Equal(t, "example.com/zoo/vet", suites["example.com/zoo/vet"].Cases[0].Name)
	require.Equal(t, "needs a thing: really", suites["example.com/zoo/skip"].Cases[0].Skipped.Message)
	noise := suites["example.com/zoo/noisy"].Cases[0]
	require.Equal(t, "zoo/noisy/n_test.go", noise.File)
	require.Equal(t, 10, noise.Line)
	require.Equal(t, "red ]]> <b>& \uFFFD\n```\n    n_test.go:10: a | b `code`\n", noise.Failure.Output)
	require.ErrorIs(t, writeJUnit(fullDisk{}, []verdict{v}), errFull)
}

func FuzzReadResults(f *testing.F) {
	f.Add([]byte(`{"Action":"run","Package":"example.com/app","Test":"TestA/b"}` + "\n" + `{"Action":"fail","Package":"example.com/app"}`))
	f.Add([]byte(`{"ImportPath":"x","Action":"build-output","Output":"# x\n"}` + "\n" + `{"Action":"fail","Package":"y","FailedBuild":"x"}`))
	f.Add([]byte(`{"Action":"skip","Package":"y","Test":"/","Elapsed":1e300}` + "\nno event\n{}\n{\"Output\":\"\x1b[1m\"}"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		results, err := readResults(bytes.NewReader(stream))
		if err != nil {
			return
		}
		v := judge(appModule(), results, ending{})
		m := v.summarise(coverage.Module{Dir: "app"}, coverage.Gate{})
		require.True(t, m.Failed > 0 || m.Passed > 0, "a run is red or it ran something")
		for _, failure := range m.Failures {
			require.NotEmpty(t, failure.Message+failure.Output)
		}
		s := Summary{Modules: []Module{m}}
		require.Contains(t, s.String(), "passed, ")
		require.LessOrEqual(t, len(s.markdown()), report.MarkdownLimit)
		var out bytes.Buffer
		require.NoError(t, writeJUnit(&out, []verdict{v}))
		require.NoError(t, xml.Unmarshal(out.Bytes(), &junitSuites{}))
	})
}
