package gotest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// unfinishedMessage is the message of a test without a result, because of another test's
// panic, an exit or a signal.
const unfinishedMessage = "did not finish: the test binary ended while it ran"

// verdict is the evaluation of a module's events.
type verdict struct {
	module   module
	results  *results
	end      ending
	passed   int
	failures []Failure
	skips    []Skip
}

// ending is how an invocation of go test ended.
type ending struct {
	exitCode int
	stderr   string
}

// judge derives the failures from the events, from missing events and from the exit code.
func judge(m module, r *results, end ending) verdict {
	v := verdict{module: m, results: r, end: end}
	for _, p := range r.sorted() {
		v.judgePackage(p)
	}
	output := strings.TrimSpace(plain(end.stderr) + r.stray.String())
	switch {
	case len(v.failures) > 0:
	case end.exitCode != 0:
		message := fmt.Sprintf("go test failed with exit code %d", end.exitCode)
		v.failModule(message, output)
	case v.passed == 0 && len(v.skips) > 0:
		v.failModule(fmt.Sprintf("no test ran: all %d were skipped", len(v.skips)), output)
	case v.passed == 0:
		v.failModule("no test ran: the module has no tests", output)
	}
	return v
}

func (v *verdict) judgePackage(p *packageResult) {
	assignCauses(p)
	var first *testResult // the first failure, which gets the package's output
	for _, t := range p.tests {
		if t.failing() && t.cause == nil {
			first = cmp.Or(first, t)
		}
	}
	output := p.output.String()
	crashed := crashLine.MatchString(output)
	if first != nil && !crashed && p.failedBuild == "" && strings.TrimSpace(output) != "" {
		first.context += "output of the package outside its tests:\n" + output
	}
	for _, t := range p.tests {
		switch {
		case t.failing() && t.cause == nil:
			v.failTest(p, t)
		case t.failing(): // reported by its cause
		case t.status == skipped:
			v.skip(p, t)
		case t.children == 0:
			v.passed++
		}
	}
	switch {
	case p.failedBuild != "":
		v.failBuild(p)
	case p.status == running && first == nil:
		v.failPackage(p, "has no result: go test ended before its tests did")
	case p.status == failed && first == nil && strings.TrimSpace(output) == "":
		v.failPackage(p, "failed without a failed test: something ended the test binary, like an exit in TestMain")
	case p.status == failed && (first == nil || crashed):
		v.failPackage(p, "")
	case p.reportsSuccess && len(p.tests) == 0:
		v.failPackage(p, "passed without running a test: something ended the test binary, like an exit in TestMain")
	}
}

// assignCauses sets the cause of each test with failed subtests, and adds the output of
// parent tests to it. A parent fails with its subtest, and may also have failed by itself,
// which the events do not show.
func assignCauses(p *packageResult) {
	for _, t := range slices.Backward(p.tests) {
		if t.failing() && t.parent != nil {
			t.parent.cause = cmp.Or(t.cause, t)
		}
	}
	for _, t := range p.tests {
		output := t.output.String()
		if t.failing() && t.cause != nil && strings.TrimSpace(output) != "" {
			t.cause.context += "output of " + t.name + ":\n" + output
		}
	}
}

// failing reports whether t failed or did not finish.
func (t *testResult) failing() bool { return t.status == failed || t.status == running }

func (v *verdict) failTest(p *packageResult, t *testResult) {
	f := Failure{Package: p.path, Test: t.name, Output: t.output.String()}
	at, message := v.module.locate(p.path, f.Output)
	f.Message = message
	if at.file == "" {
		at = v.module.declaration(p.path, t.name)
	}
	f.File, f.Line = at.file, at.line
	if t.status == running && !crashLine.MatchString(f.Output) {
		f.Message = unfinishedMessage
	}
	f.Message = cmp.Or(f.Message, "failed without a message")
	f.Output += t.context
	v.failures = append(v.failures, f)
}

func (v *verdict) skip(p *packageResult, t *testResult) {
	s := Skip{Package: p.path, Test: t.name}
	output := t.output.String()
	at, _ := v.module.locate(p.path, output)
	if at.file == "" {
		at = v.module.declaration(p.path, t.name)
	}
	s.File, s.Line = at.file, at.line
	reason := logLine.ReplaceAllString(output, "$3")
	s.Reason = cmp.Or(strings.Join(strings.Fields(reason), " "), "no reason given")
	v.skips = append(v.skips, s)
}

// failBuild reports that p did not run because a package did not build. Of several
// packages that need it, one shows the compiler's message.
func (v *verdict) failBuild(p *packageResult) {
	text := ""
	if build := v.results.builds[p.failedBuild]; build != nil {
		text = build.String()
	}
	owner := v.buildOwner(p.failedBuild)
	at, message := v.module.locate(p.path, text)
	f := Failure{
		Package: p.path, File: at.file, Line: at.line,
		Message: cmp.Or(message, "does not build"),
		Output:  cmp.Or(text, plain(v.end.stderr), p.output.String()),
	}
	if p != owner {
		f.Message = "not tested, because " + p.failedBuild + " does not build"
		f.Output = f.Message + "; see " + owner.path + "\n"
	}
	v.failures = append(v.failures, f)
}

// buildOwner returns the package that shows the failure of a build: the one that was
// built, or else the first one that needs it.
func (v *verdict) buildOwner(build string) *packageResult {
	built, _, _ := strings.Cut(build, " ") // "path [path.test]" is path built for its tests
	var owner *packageResult
	for _, p := range v.results.sorted() {
		if p.failedBuild == build && (owner == nil || p.path == built) {
			owner = p
		}
	}
	return owner
}

// failPackage reports a failure of p outside of its tests. An empty message is replaced by
// one from the output.
func (v *verdict) failPackage(p *packageResult, message string) {
	f := Failure{Package: p.path, Output: cmp.Or(p.output.String(), plain(v.end.stderr))}
	at, located := v.module.locate(p.path, f.Output)
	f.File, f.Line = at.file, at.line
	f.Message = cmp.Or(message, located, "failed without a message")
	v.failures = append(v.failures, f)
}

func (v *verdict) failModule(message, output string) {
	v.failures = append(v.failures, Failure{Package: v.module.importPath, Message: message, Output: output})
}
