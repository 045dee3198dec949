package lint

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dagger/slipway/internal/check/gotest"
	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/exec/tool"
)

// goTool is a step of a tool that Go compiles. As in the test stage a module stands
// alone, so that host and container see the same versions.
func goTool(t tool.Tool, dir, image string, args ...string) step.Step {
	part := dir
	if part == gotest.PipelineTests {
		part = gotest.Pipeline // which it takes from the folder above
	}
	return step.Step{
		Name:    checkName(t.Name, dir),
		Image:   image,
		Dir:     path.Clean(dir),
		Args:    t.Command(args...),
		Env:     map[string]string{"GOWORK": "off", "CGO_ENABLED": "0"},
		Caches:  step.GoCaches(),
		Include: step.IncludeFolder(part),
	}
}

// golangci lints a Go module. It tells every finding: by default golangci-lint hides
// repetitions, and two of it do not run at the same time.
func golangci(module, image string) scanner {
	s := goTool(tool.GolangciLint, module, image, "run",
		"--output.sarif.path="+step.Out+"/"+sarifFile(tool.GolangciLint), "--path-mode=abs", "--show-stats=false", "--issues-exit-code=0",
		"--max-issues-per-linter=0", "--max-same-issues=0", "--allow-parallel-runners", "./...")
	s.Caches = append(s.Caches, step.Cache{Name: "golangci-lint", Path: "/root/.cache/golangci-lint"})
	if len(s.Include) > 0 {
		s.Include = append(s.Include, ".golangci.yml")
	}
	return scanner{kind: GolangciLint, tool: tool.GolangciLint, step: s}
}

// govulncheck searches a Go module for known vulnerabilities. New ones become known
// every day: day, a date, keeps an older answer from being taken out of a cache.
func govulncheck(p pathMapper, module, image, day string) scanner {
	s := scanner{kind: Govulncheck, tool: tool.Govulncheck, step: goTool(tool.Govulncheck, module, image, "-format=sarif", "./...")}
	s.step.Env["SLIPWAY_DAY"] = day
	s.step.Stdout = sarifFile(s.tool)
	// Like its text output it tells the vulnerabilities that the code reaches, each
	// where a flow leaves the module's own code; it ends in the vulnerable function.
	// One that is merely among the dependencies harms nobody.
	s.convert = func(f Finding, result sarifResult, rule sarifRule) []Finding {
		what := rule.FullDescription.Text
		if len(rule.Properties.Tags) > 0 {
			what += " (" + strings.Join(rule.Properties.Tags, ", ") + ")"
		}
		var findings []Finding
		for _, flow := range result.CodeFlows {
			for _, thread := range flow.ThreadFlows {
				from, to := thread.Locations[0].Location, thread.Locations[len(thread.Locations)-1].Location
				f.setLocation(p, s.step.Dir, from)
				f.Text = fmt.Sprintf("%s: %s calls %s", what, from.Message.Text, to.Message.Text)
				findings = append(findings, f)
			}
		}
		return findings
	}
	s.missingInput = func(said string) error {
		_, reason, ok := strings.Cut(said, "fetching vulnerabilities: ")
		if !ok {
			return nil
		}
		reason, _, _ = strings.Cut(reason, "\n")
		return &tool.MissingError{
			Tool:   s.tool.Name,
			Reason: "the vulnerability database cannot be reached, connect to the network or name a mirror in GOVULNDB: " + reason,
		}
	}
	return s
}

// actionlintFormat makes SARIF of what actionlint finds.
const actionlintFormat = `{"runs":[{"results":[{{range $n, $e := .}}{{if $n}},{{end}}` +
	`{"ruleId":{{json $e.Kind}},"message":{"text":{{json $e.Message}}},"locations":[{"physicalLocation":{` +
	`"artifactLocation":{"uri":{{json $e.Filepath}}},"region":{"startLine":{{$e.Line}},"startColumn":{{$e.Column}}}}}]}{{end}}]}]}`

// actionlint lints GitHub workflows. The tools that it calls where it finds them are
// off: a finding is one on every machine. It looks for .git to tell the root of the
// repository, by which it finds local actions and its configuration.
func actionlint(workflows []string, image string) scanner {
	args := append([]string{"-format=" + actionlintFormat, "-no-color", "-shellcheck=", "-pyflakes="}, workflows...)
	s := goTool(tool.Actionlint, ".", image, args...)
	s.Stdout, s.Include = sarifFile(tool.Actionlint), []string{".github", ".git/HEAD"}
	return scanner{kind: Actionlint, tool: tool.Actionlint, step: s, exitCodeMeansFindings: true}
}

// tflintPlace is a place within the message of a file that cannot be read: in a
// recursive run TFLint tells it there only.
var tflintPlace = regexp.MustCompile(`(\S+\.tf):(\d+),(\d+)`)

// tflint judges a folder of Terraform configuration and those below it by practice.
// What kept it from looking, like a file that it cannot parse, is a finding as well.
func tflint(p pathMapper, folder, image string) scanner {
	s := goTool(tool.TFLint, folder, image, "--recursive", "--format=sarif", "--force", "--no-color")
	s.Stdout = sarifFile(tool.TFLint)
	return scanner{kind: TFLint, tool: tool.TFLint, step: s, exitCodeMeansFindings: true, convert: func(f Finding, _ sarifResult, _ sarifRule) []Finding {
		// Before what it says goes which folder the run was of, and after it the same
		// again, drawn for a terminal.
		if before, after, ok := strings.Cut(f.Text, "\n\n"); ok && strings.HasPrefix(before, "Failed to run in ") {
			after, _, _ = strings.Cut(after, "\n\n")
			f.Text = strings.TrimRight(after, ":\n")
			if place := tflintPlace.FindStringSubmatch(f.Text); place != nil {
				f.File = p.relative(s.Dir, place[1])
				f.Line, _ = strconv.Atoi(place[2])   // digits, by the expression
				f.Column, _ = strconv.Atoi(place[3]) // as well
			}
		}
		return []Finding{f}
	}}
}

// gitleaks searches the tree for secrets. It needs no network, and what it finds
// leaves it redacted. Told are those in files that git tracks; what is ignored, such
// as a developer's .env, goes nowhere.
func gitleaks(tracked []string, image string) scanner {
	s := goTool(tool.Gitleaks, ".", image, "dir", ".", "--redact", "--report-format=sarif", "--report-path="+step.Out+"/"+sarifFile(tool.Gitleaks),
		"--exit-code=0", "--no-banner", "--no-color", "--log-level=error")
	return scanner{kind: Security, tool: tool.Gitleaks, step: s, convert: func(f Finding, _ sarifResult, rule sarifRule) []Finding {
		if !slices.Contains(tracked, f.File) {
			return nil
		}
		f.Text = rule.ShortDescription.Text
		f.Fix = "revoke the secret and take it out of the file; where it is none, end its line with a comment gitleaks:allow and say why"
		return []Finding{f}
	}}
}

// trivyMessage is what is wrong, in a text that says what the rest of the result does, too.
var trivyMessage = regexp.MustCompile(`(?s)\nMessage: (.*)\nLink: `)

// trivy searches a root module for misconfiguration: by the checks that Trivy brings
// along, so that the same Trivy finds the same on every day and without a network.
// It is told the files of variables that Terraform would read by itself, and passes
// over folders that are root modules of their own.
func trivy(root, image string, t Targets) scanner {
	args := []string{
		"config", "--format=sarif", "--output=" + step.Out + "/" + sarifFile(tool.Trivy), "--quiet", "--exit-code=0",
		"--skip-check-update", "--skip-version-check", "--disable-telemetry", "--cache-dir=" + step.Out + "/cache",
	}
	if variables := variableFiles(t.Tracked, root); len(variables) > 0 {
		args = append(args, "--tf-vars="+strings.Join(variables, ","))
	}
	if skip := nestedFolders(t.Roots, root); len(skip) > 0 {
		args = append(args, "--skip-dirs="+strings.Join(skip, ","))
	}
	s := step.Step{Name: "trivy " + root, Image: image, Dir: path.Clean(root), Args: tool.Trivy.Command(append(args, ".")...), Include: step.IncludeFolder(root)}
	return scanner{kind: Security, tool: tool.Trivy, step: s, convert: func(f Finding, _ sarifResult, _ sarifRule) []Finding {
		if message := trivyMessage.FindStringSubmatch(f.Text); message != nil {
			f.Text = message[1]
		}
		return []Finding{f}
	}}
}

// variableFiles are the files of variables that Terraform reads by itself in a
// folder, the later ones of which win:
// https://developer.hashicorp.com/terraform/language/values/variables#variable-definition-precedence
func variableFiles(tracked []string, folder string) []string {
	var plain, auto []string
	for _, file := range tracked {
		dir, name := path.Split(file)
		switch {
		case path.Clean(dir) != path.Clean(folder):
		case name == "terraform.tfvars" || name == "terraform.tfvars.json":
			plain = append(plain, name)
		case strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json"):
			auto = append(auto, name)
		}
	}
	slices.Sort(plain)
	slices.Sort(auto)
	return append(plain, auto...)
}

// nestedFolders are the folders that lie in another one, relative to it.
func nestedFolders(folders []string, folder string) []string {
	var inside []string
	for _, name := range folders {
		if rest, ok := strings.CutPrefix(name, path.Clean(folder)+"/"); ok {
			inside = append(inside, rest)
		}
	}
	return inside
}
