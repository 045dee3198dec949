package lint

import (
	"encoding/json"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// The parts of SARIF 2.1.0 that are read:
// https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
type (
	sarifText struct{ Text string }
	sarifRule struct {
		ID, HelpURI                       string
		ShortDescription, FullDescription sarifText
		Properties                        struct{ Tags []string }
	}
	sarifLocation struct {
		Message          sarifText
		PhysicalLocation struct {
			ArtifactLocation struct{ URI string }
			Region           struct{ StartLine, StartColumn int }
		}
	}
	sarifResult struct {
		RuleID    string
		Message   sarifText
		Locations []sarifLocation
		CodeFlows []struct {
			ThreadFlows []struct {
				Locations []struct{ Location sarifLocation }
			}
		}
	}
)

// scanner is a tool that writes its findings as SARIF to the file sarifFile in its output
// directory.
type scanner struct {
	kind Kind
	tool tool.Tool
	step step.Step
	// exitCodeMeansFindings is set if a non-zero exit code is normal with findings.
	exitCodeMeansFindings bool
	// convert converts a result with its rule to findings; nil uses the result as is.
	convert func(f Finding, result sarifResult, rule sarifRule) []Finding
	// missingInput returns an error if stderr says that the tool lacks an input, such as
	// a database; nil never does.
	missingInput func(stderr string) error
}

func sarifFile(t tool.Tool) string { return t.Name + ".sarif" }

func (s scanner) check(p pathMapper) Check {
	return check(s.kind, s.step.Dir, invocation{s.tool, s.step, func(dir string, result step.Result) ([]Finding, error) {
		if s.missingInput != nil {
			if err := s.missingInput(result.Stderr); err != nil {
				return nil, err
			}
		}
		data, err := os.ReadFile(filepath.Join(dir, sarifFile(s.tool)))
		if err != nil {
			return nil, toolError(s.step, result, err)
		}
		findings, err := s.findings(p, data)
		if err != nil || (result.ExitCode != 0 && (!s.exitCodeMeansFindings || len(findings) == 0)) {
			return findings, toolError(s.step, result, err)
		}
		return findings, nil
	}})
}

// findings parses the tool's SARIF file.
func (s scanner) findings(p pathMapper, data []byte) ([]Finding, error) {
	var log struct {
		Runs []struct {
			Tool    struct{ Driver struct{ Rules []sarifRule } }
			Results []sarifResult
		}
	}
	if err := json.Unmarshal(data, &log); err != nil {
		return nil, err
	}
	var findings []Finding
	for _, run := range log.Runs {
		rules := map[string]sarifRule{}
		for _, rule := range run.Tool.Driver.Rules {
			rules[rule.ID] = rule
		}
		for _, result := range run.Results {
			rule := rules[result.RuleID]
			f := Finding{Tool: s.tool.Name, File: s.step.Dir, Rule: result.RuleID, Text: result.Message.Text, Fix: rule.HelpURI}
			if len(result.Locations) > 0 {
				f.setLocation(p, s.step.Dir, result.Locations[0])
			}
			if s.convert == nil {
				findings = append(findings, f)
				continue
			}
			findings = append(findings, s.convert(f, result, rule)...)
		}
	}
	return findings, nil
}

// setLocation sets the location of a finding of a tool that ran in the folder dir.
func (f *Finding) setLocation(p pathMapper, dir string, at sarifLocation) {
	name := strings.TrimPrefix(at.PhysicalLocation.ArtifactLocation.URI, "file://")
	if plain, err := url.PathUnescape(name); err == nil {
		name = plain
	}
	f.File, f.Line, f.Column = p.relative(dir, name), at.PhysicalLocation.Region.StartLine, at.PhysicalLocation.Region.StartColumn
}

// SARIF writes the findings for GitHub's code scanning. It writes a run for each tool that
// ran, even without findings, which closes earlier alerts. Failed and skipped checks of
// that tool are notifications in the run. A tool that did not run has no run.
func (r Report) SARIF(w io.Writer) error {
	type object map[string]any
	var tools []string
	for _, c := range r.Checks {
		if tool, _, _ := strings.Cut(c.Name, " "); (c.Result == Clean || c.Findings > 0) && !slices.Contains(tools, tool) {
			tools = append(tools, tool)
		}
	}
	runs := []object{}
	for _, tool := range tools {
		failed, rules, results := []object{}, []object{}, []object{}
		for _, c := range r.Checks {
			if (c.Name == tool || strings.HasPrefix(c.Name, tool+" ")) && (c.Result == Skipped || c.Result == CheckFailed) {
				failed = append(failed, object{"level": "error", "message": object{"text": c.String()}})
			}
		}
		known := map[string]bool{}
		for _, f := range r.Findings {
			if f.Tool != tool {
				continue
			}
			if !known[f.Rule] {
				known[f.Rule], rules = true, append(rules, object{"id": f.Rule})
			}
			results = append(results, f.sarif())
		}
		runs = append(runs, object{
			"tool":        object{"driver": object{"name": tool, "rules": rules}},
			"invocations": []object{{"executionSuccessful": len(failed) == 0, "toolExecutionNotifications": failed}},
			"results":     results,
		})
	}
	return report.WriteJSON(w, object{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": runs})
}

// sarif returns the finding as a SARIF result. GitHub requires a line.
func (f Finding) sarif() map[string]any {
	type object map[string]any
	text, uri, region := f.Text, url.URL{Path: f.File}, object{"startLine": max(1, f.Line)}
	if f.Fix != "" {
		text += "\n" + f.Fix
	}
	if path.IsAbs(f.File) {
		uri.Scheme = "file"
	}
	if f.Column > 0 {
		region["startColumn"] = f.Column
	}
	return object{
		"ruleId": f.Rule, "level": "error", "message": object{"text": text},
		"locations": []object{{"physicalLocation": object{"artifactLocation": object{"uri": uri.String()}, "region": region}}},
	}
}
