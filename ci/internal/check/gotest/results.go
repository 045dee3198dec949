package gotest

import (
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

type status string

const (
	running status = "" // running, or ended without a result
	passed  status = "pass"
	failed  status = "fail"
	skipped status = "skip"
)

// results are the results of one module, from its event stream.
type results struct {
	packages map[string]*packageResult
	builds   map[string]*transcript // output of builds by package
	stray    transcript             // lines that are not events
}

type packageResult struct {
	path        string
	status      status
	elapsed     time.Duration
	failedBuild string        // the package whose failed build made this one fail
	tests       []*testResult // in the order of their start
	latest      map[string]*testResult
	output      transcript // outside of tests
	// reportsSuccess is set if the package printed "ok" without
	// "[no tests to run]".
	reportsSuccess bool
}

type testResult struct {
	name     string
	status   status
	elapsed  time.Duration
	parent   *testResult
	children int
	output   transcript

	// cause is the first failed subtest, because of which this test failed too.
	cause *testResult
	// context is the output of a cause's parent tests and package.
	context string
}

func readResults(stream io.Reader) (*results, error) {
	r := &results{packages: map[string]*packageResult{}, builds: map[string]*transcript{}}
	err := readEvents(stream, r.event, r.stray.add)
	return r, err
}

func (r *results) event(e event) {
	if e.ImportPath != "" {
		if r.builds[e.ImportPath] == nil {
			r.builds[e.ImportPath] = &transcript{}
		}
		r.builds[e.ImportPath].add(e.Output)
		return
	}
	if e.Package == "" {
		r.stray.add(e.Output)
		return
	}
	p := r.packages[e.Package]
	if p == nil {
		p = &packageResult{path: e.Package, latest: map[string]*testResult{}}
		r.packages[e.Package] = p
	}
	if e.Test == "" {
		p.event(e)
		return
	}
	p.test(e).event(e)
}

func (p *packageResult) event(e event) {
	switch e.Action {
	case "output":
		if !packageFrame.MatchString(e.Output) {
			p.output.add(e.Output)
		}
		if strings.HasPrefix(e.Output, "ok  \t") {
			p.reportsSuccess = !strings.Contains(e.Output, "[no tests to run]")
		}
	case "pass", "fail", "skip":
		p.status, p.elapsed, p.failedBuild = status(e.Action), seconds(e.Elapsed), e.FailedBuild
	}
}

// packageFrame matches the lines that the go command adds to a package's output. They
// contain nothing that the events do not.
var packageFrame = regexp.MustCompile(
	`^(?:(?:PASS|FAIL)\n?$|(?:ok  |FAIL|\?   )\t|coverage: |\t\S+\t\tcoverage: |testing: warning: no tests to run|program not built with -cover\n)`)

// test returns the test of e. A test that runs again, because TestMain calls m.Run twice,
// is another test of the same name.
func (p *packageResult) test(e event) *testResult {
	t := p.latest[e.Test]
	if t != nil && (e.Action != "run" || t.status == running) {
		return t
	}
	t = &testResult{name: e.Test}
	p.tests = append(p.tests, t)
	p.latest[e.Test] = t
	// A subtest's own name may contain slashes, too.
	for name := e.Test; t.parent == nil; {
		slash := strings.LastIndexByte(name, '/')
		if slash < 0 {
			break
		}
		name = name[:slash]
		t.parent = p.latest[name]
	}
	if t.parent != nil {
		t.parent.children++
	}
	return t
}

func (t *testResult) event(e event) {
	switch e.Action {
	case "output":
		if !t.isFrame(e.Output) {
			t.output.add(e.Output)
		}
	case "pass", "fail", "skip":
		t.status, t.elapsed = status(e.Action), seconds(e.Elapsed)
		if t.status == passed {
			t.output = transcript{} // not needed
		}
	}
}

var frameMarks = []string{"=== RUN   ", "=== PAUSE ", "=== CONT  ", "=== NAME  ", "--- PASS: ", "--- FAIL: ", "--- SKIP: "}

// frames reports whether line frames the test's output.
func (t *testResult) isFrame(line string) bool {
	line = strings.TrimLeft(line, " ")
	return slices.ContainsFunc(frameMarks, func(mark string) bool {
		rest, marked := strings.CutPrefix(line, mark)
		return marked && strings.HasPrefix(rest, t.name)
	})
}

// sorted returns the packages sorted by path, because their order in the stream varies.
func (r *results) sorted() []*packageResult {
	return slices.SortedFunc(maps.Values(r.packages), func(a, b *packageResult) int { return strings.Compare(a.path, b.path) })
}

func seconds(s float64) time.Duration {
	const year = 365 * 24 * 3600 // beyond which a Duration may overflow
	return time.Duration(max(0, min(s, year)) * float64(time.Second))
}
