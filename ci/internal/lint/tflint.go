package lint

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"dagger/slipway/internal/step"
	"dagger/slipway/internal/tool"
)

const tflintFile = "tflint.json"

// TFLintStep is the one definition of how a folder of Terraform configuration
// and those below it are judged by practice.
func TFLintStep(folder, image string) step.Step {
	return step.Step{
		Name:    "tflint " + folder,
		Image:   image,
		Dir:     path.Clean(folder),
		Args:    tool.TFLint.Command("--recursive", "--format=json", "--force", "--no-color"),
		Env:     map[string]string{"GOWORK": "off", "CGO_ENABLED": "0"},
		Caches:  step.GoCaches(),
		Stdout:  tflintFile,
		Include: step.Only(folder),
	}
}

func tflintCheck(p places, folder, image string) Check {
	s := TFLintStep(folder, image)
	return check(TFLint, folder, invocation{tool.TFLint, s, func(dir string, result step.Result) ([]Finding, error) {
		data, err := os.ReadFile(filepath.Join(dir, tflintFile))
		if err != nil {
			return nil, broken(s, result, err)
		}
		findings, err := readTFLint(p, s.Dir, data)
		if err != nil || (result.ExitCode != 0 && len(findings) == 0) {
			return findings, broken(s, result, err)
		}
		return findings, nil
	}})
}

// tflintPlace is a place within the message of a file that cannot be read: in a
// recursive run TFLint tells it there only.
var tflintPlace = regexp.MustCompile(`(\S+\.tf):(\d+),(\d+)`)

// tflintText is what a message says for itself: before it goes which folder the
// run was of, and after it the same again, drawn for a terminal.
func tflintText(message string) string {
	if before, after, ok := strings.Cut(message, "\n\n"); ok && strings.HasPrefix(before, "Failed to run in ") {
		message = after
	}
	message, _, _ = strings.Cut(message, "\n\n")
	return strings.TrimRight(message, ":\n")
}

// tflintRange is a place as TFLint tells it.
type tflintRange struct {
	Filename string
	Start    struct{ Line, Column int }
}

// readTFLint reads the JSON output of TFLint. What kept it from looking, like a
// file that it cannot parse, is a finding as well.
func readTFLint(p places, dir string, data []byte) ([]Finding, error) {
	var answer struct {
		Issues []struct {
			Rule    struct{ Name, Link string }
			Message string
			Range   tflintRange
		}
		Errors []struct {
			Summary, Message string
			Range            *tflintRange
		}
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, err
	}
	var findings []Finding
	for _, issue := range answer.Issues {
		findings = append(findings, Finding{
			Tool: tool.TFLint.Name, File: p.file(dir, issue.Range.Filename), Line: issue.Range.Start.Line, Column: issue.Range.Start.Column,
			Rule: issue.Rule.Name, Text: issue.Message, Fix: issue.Rule.Link,
		})
	}
	for _, e := range answer.Errors {
		f := Finding{Tool: tool.TFLint.Name, File: dir, Rule: "error", Text: tflintText(e.Message)}
		if e.Summary != "" {
			f.Text = e.Summary + ": " + e.Message
		}
		if place := tflintPlace.FindStringSubmatch(e.Message); place != nil && e.Range == nil {
			f.File = p.file(dir, place[1])
			f.Line, _ = strconv.Atoi(place[2])   // digits, by the expression
			f.Column, _ = strconv.Atoi(place[3]) // as well
		}
		if e.Range != nil {
			f.File, f.Line, f.Column = p.file(dir, e.Range.Filename), e.Range.Start.Line, e.Range.Start.Column
		}
		findings = append(findings, f)
	}
	return findings, nil
}
