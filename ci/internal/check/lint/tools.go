package lint

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// goTool returns a step of a tool that `go run` compiles. As in the test stage it ignores
// the workspace, so that host and container use the same versions.
func goTool(t tool.Tool, dir, image string, args ...string) step.Step {
	part := dir
	if part == gotest.PipelineTests {
		part = gotest.Pipeline // it imports its parent module
	}
	return step.Step{
		Name:    checkName(t.Name, dir),
		Image:   image,
		Dir:     path.Clean(dir),
		Args:    t.Command(args...),
		Env:     map[string]string{"GOWORK": "off", "CGO_ENABLED": "0"},
		Caches:  step.GoCaches(),
		Include: []string{part},
	}
}

// golangci lints a Go module. It reports every finding and runs in parallel; by default
// golangci-lint hides repetitions and allows one process at a time.
func golangci(module, image string) scanner {
	s := goTool(tool.GolangciLint, module, image, "run",
		"--output.sarif.path="+step.Out+"/"+sarifFile(tool.GolangciLint), "--path-mode=abs", "--show-stats=false", "--issues-exit-code=0",
		"--max-issues-per-linter=0", "--max-same-issues=0", "--allow-parallel-runners", "./...")
	s.Caches = append(s.Caches, step.Cache{Name: "golangci-lint", Path: "/root/.cache/golangci-lint"})
	s.Include = append(s.Include, ".golangci.*") // .yml, .yaml, .toml or .json; optional
	return scanner{kind: GolangciLint, tool: tool.GolangciLint, step: s}
}

// govulncheck searches a Go module for known vulnerabilities. day, a date, prevents the
// use of a cached result of another day. db, unless it is empty, is the URL of the database.
func govulncheck(p pathMapper, module, image, day, db string) scanner {
	args := []string{"-format=sarif"}
	if db != "" {
		args = append(args, "-db="+db)
	}
	s := scanner{kind: Govulncheck, tool: tool.Govulncheck, step: goTool(tool.Govulncheck, module, image, append(args, "./...")...)}
	s.step.Env["SLIPWAY_DAY"] = day
	s.step.Stdout = sarifFile(s.tool)
	// Like govulncheck's text output, report only vulnerabilities that the code reaches,
	// at the call that leaves the module's own code.
	s.convert = func(f Finding, result sarifResult, rule sarifRule) []Finding {
		description := rule.FullDescription.Text
		if len(rule.Properties.Tags) > 0 {
			description += " (" + strings.Join(rule.Properties.Tags, ", ") + ")"
		}
		var findings []Finding
		for _, flow := range result.CodeFlows {
			for _, thread := range flow.ThreadFlows {
				from, to := thread.Locations[0].Location, thread.Locations[len(thread.Locations)-1].Location
				f.setLocation(p, s.step.Dir, from)
				f.Text = fmt.Sprintf("%s: %s calls %s", description, from.Message.Text, to.Message.Text)
				findings = append(findings, f)
			}
		}
		return findings
	}
	s.missingInput = func(stderr string) error {
		if _, reason, ok := strings.Cut(stderr, "creating client: "); ok && db != "" {
			reason, _, _ = strings.Cut(reason, "\n")
			return fmt.Errorf("the vulnerability database %q cannot be read: %s: check GOVULNDB and the network", leak.RedactValue("GOVULNDB", db), reason)
		}
		_, reason, ok := strings.Cut(stderr, "fetching vulnerabilities: ")
		if !ok {
			return nil
		}
		reason, _, _ = strings.Cut(reason, "\n")
		return &tool.MissingError{
			Tool:   s.tool.Name,
			Reason: "the vulnerability database cannot be reached: connect to the network or set GOVULNDB to a mirror (in Dagger --go-env=GOVULNDB=URL): " + reason,
		}
	}
	return s
}

// checkVulnerabilityDB validates the URL of a vulnerability database.
func checkVulnerabilityDB(db string) error {
	if parsed, err := url.Parse(db); err == nil {
		switch parsed.Scheme {
		case "http", "https":
			if parsed.Host != "" {
				return nil
			}
		case "file":
			if path.IsAbs(parsed.Path) {
				return nil
			}
		}
	}
	return outcome.Usagef("invalid GOVULNDB %q: want a URL such as https://vuln.example.com or file:///DIR", leak.RedactValue("GOVULNDB", db))
}

// actionlintFormat is a template that formats actionlint's findings as SARIF.
const actionlintFormat = `{"runs":[{"results":[{{range $n, $e := .}}{{if $n}},{{end}}` +
	`{"ruleId":{{json $e.Kind}},"message":{"text":{{json $e.Message}}},"locations":[{"physicalLocation":{` +
	`"artifactLocation":{"uri":{{json $e.Filepath}}},"region":{"startLine":{{$e.Line}},"startColumn":{{$e.Column}}}}}]}{{end}}]}]}`

// actionlint lints GitHub workflows. Optional tools (shellcheck, pyflakes) are off, so that
// every machine has the same findings. It needs .git to find the root of the repository
// with local actions and its configuration.
func actionlint(workflows []string, image string) scanner {
	args := append([]string{"-format=" + actionlintFormat, "-no-color", "-shellcheck=", "-pyflakes="}, workflows...)
	s := goTool(tool.Actionlint, ".", image, args...)
	s.Stdout, s.Include = sarifFile(tool.Actionlint), []string{".github", ".git/HEAD"}
	return scanner{kind: Actionlint, tool: tool.Actionlint, step: s, exitCodeMeansFindings: true}
}

// tflintPlace matches the location in the message about a file that cannot be parsed: in a
// recursive run TFLint reports it only there.
var tflintPlace = regexp.MustCompile(`(\S+\.tf):(\d+),(\d+)`)

// tflint checks a folder of Terraform configuration recursively. A file that it cannot
// parse is a finding.
func tflint(p pathMapper, folder, image string) scanner {
	s := goTool(tool.TFLint, folder, image, "--recursive", "--format=sarif", "--force", "--no-color")
	s.Stdout = sarifFile(tool.TFLint)
	return scanner{kind: TFLint, tool: tool.TFLint, step: s, exitCodeMeansFindings: true, convert: func(f Finding, _ sarifResult, _ sarifRule) []Finding {
		// The message is preceded by the folder and followed by the same message
		// formatted for a terminal.
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

// gitleaksConfig allows a value that an entry of the services file may have: the id of an EFS
// access point. gitleaks takes it for a key, and JSON has no comments to allow it with.
const gitleaksConfig = `[extend]
useDefault = true

[[allowlists]]
regexes = ['^fsap-[0-9a-f]{8,40}$']
`

// gitleaks searches tracked files for secrets, which it redacts. It needs no network.
// Ignored files, such as a developer's .env, are not reported. The repository's own
// .gitleaks.toml replaces gitleaksConfig.
func gitleaks(tracked []string, image string) scanner {
	s := goTool(tool.Gitleaks, ".", image, "dir", ".", "--redact", "--report-format=sarif", "--report-path="+step.Out+"/"+sarifFile(tool.Gitleaks),
		"--exit-code=0", "--no-banner", "--no-color", "--log-level=error")
	if !slices.Contains(tracked, ".gitleaks.toml") {
		s.Env["GITLEAKS_CONFIG_TOML"] = gitleaksConfig
	}
	return scanner{kind: Security, tool: tool.Gitleaks, step: s, convert: func(f Finding, _ sarifResult, rule sarifRule) []Finding {
		if !slices.Contains(tracked, f.File) {
			return nil
		}
		f.Text = rule.ShortDescription.Text
		f.Fix = "revoke the secret and take it out of the file; if it is not a secret, end its line with a comment gitleaks:allow and say why"
		return []Finding{f}
	}}
}

// trivyMessage matches the message in a text that repeats other fields of the result.
var trivyMessage = regexp.MustCompile(`(?s)\nMessage: (.*)\nLink: `)

// trivy searches a root module for misconfiguration with the checks built into Trivy, so
// that the findings depend only on Trivy's version and need no network. It gets the
// variable files that Terraform loads automatically, and skips nested root modules.
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
	s := step.Step{Name: "trivy " + root, Image: image, Dir: path.Clean(root), Args: tool.Trivy.Command(append(args, ".")...), Include: includeRoot(root)}
	return scanner{kind: Security, tool: tool.Trivy, step: s, convert: func(f Finding, _ sarifResult, _ sarifRule) []Finding {
		if message := trivyMessage.FindStringSubmatch(f.Text); message != nil {
			f.Text = message[1]
		}
		return []Finding{f}
	}}
}

// variableFiles returns the variable files that Terraform loads automatically in a folder,
// in order of precedence:
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

// nestedFolders returns the folders that are inside another one, relative to it.
func nestedFolders(folders []string, folder string) []string {
	var inside []string
	for _, name := range folders {
		if rest, ok := strings.CutPrefix(name, path.Clean(folder)+"/"); ok {
			inside = append(inside, rest)
		}
	}
	return inside
}
