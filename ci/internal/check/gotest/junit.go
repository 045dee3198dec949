package gotest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"time"
)

// The elements of JUnit's XML that CI systems agree on; see
// https://github.com/testmoapp/junitxml.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Line    int           `xml:"line,attr,omitempty"`
		Failure *junitFailure `xml:"failure"`
		Skipped *junitSkipped `xml:"skipped"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Output  string `xml:",chardata"`
	}
	junitSkipped struct {
		Message string `xml:"message,attr"`
	}
)

// writeJUnit writes a suite for each package, and one for each module with a failure
// outside of its packages. A failure outside of tests is a test case named after its
// package or module, so that the suite does not pass.
func writeJUnit(w io.Writer, verdicts []verdict) error {
	doc := junitSuites{}
	var total time.Duration
	for _, v := range verdicts {
		for _, p := range v.results.sorted() {
			total += p.elapsed
			doc.add(v.suite(p))
		}
		suite := junitSuite{Name: v.module.importPath, Time: junitTime(0)}
		if _, ambiguous := v.results.packages[suite.Name]; !ambiguous {
			suite.addFailures(v.failures, suite.Name, nil)
			if suite.Tests > 0 {
				doc.add(suite)
			}
		}
	}
	doc.Time = junitTime(total)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", " ")
	if err := encoder.Encode(doc); err != nil {
		return fmt.Errorf("writing JUnit XML: %w", err)
	}
	return nil
}

func (d *junitSuites) add(s junitSuite) {
	d.Tests += s.Tests
	d.Failures += s.Failures
	d.Skipped += s.Skipped
	d.Suites = append(d.Suites, s)
}

func (v verdict) suite(p *packageResult) junitSuite {
	suite := junitSuite{Name: p.path, Time: junitTime(p.elapsed)}
	took := map[string]time.Duration{}
	for _, t := range p.tests {
		took[t.name] = t.elapsed
		if t.status == passed && t.children == 0 {
			suite.Tests++
			suite.Cases = append(suite.Cases, junitCase{Name: t.name, Class: p.path, Time: junitTime(t.elapsed)})
		}
	}
	suite.addFailures(v.failures, p.path, took)
	for _, s := range v.skips {
		if s.Package == p.path {
			suite.Tests++
			suite.Skipped++
			suite.Cases = append(suite.Cases, junitCase{
				Name: s.Test, Class: p.path, Time: junitTime(took[s.Test]), File: s.File, Line: s.Line,
				Skipped: &junitSkipped{Message: s.Reason},
			})
		}
	}
	return suite
}

func (s *junitSuite) addFailures(failures []Failure, pkg string, took map[string]time.Duration) {
	for _, f := range failures {
		if f.Package != pkg {
			continue
		}
		name := f.Test
		if name == "" {
			name = pkg
		}
		s.Tests++
		s.Failures++
		s.Cases = append(s.Cases, junitCase{
			Name: name, Class: pkg, Time: junitTime(took[f.Test]), File: f.File, Line: f.Line,
			Failure: &junitFailure{Message: f.Message, Output: f.Output},
		})
	}
}

func junitTime(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }
