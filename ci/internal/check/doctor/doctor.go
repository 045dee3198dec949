// Package doctor checks which stages this machine can run, and reports how to install what
// is missing. It changes nothing and prints no secrets.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// checkTimeout limits each check. All checks run concurrently.
const checkTimeout = 3 * time.Second

// Check checks something that stages need.
type Check struct {
	Name string
	// Run returns a short description of what it found. The error says what is missing
	// and how to fix it.
	Run func(ctx context.Context) (found string, err error)
}

// Checks returns the checks of this machine and of the source tree at dir.
func Checks(dir string) []Check {
	return []Check{
		lookPath("go", "install it from https://go.dev/dl"),
		lookPath("git", "install it (apt-get install git)"),
		{"compiler", func(ctx context.Context) (string, error) {
			if supported, reason := gotest.RaceSupported(ctx); !supported {
				return "", errors.New(reason)
			}
			return "the race detector works", nil
		}},
		lookPath(tool.Terraform.Name, tool.Terraform.Install),
		lookPath(tool.Nginx.Name, tool.Nginx.Install),
		lookPath(tool.Trivy.Name, tool.Trivy.Install),
		lookPath(tool.Docker.Name, tool.Docker.Install),
		{"builder", func(ctx context.Context) (string, error) {
			p, err := platform.Load(dir)
			if err == nil && !slices.ContainsFunc(p.Services, func(s platform.Service) bool { return s.Kind == platform.Dockerfile }) {
				return "no service has a Dockerfile", nil
			}
			return image.FindDockerfileBuilder(ctx, step.Host{Source: dir})
		}},
		lookPath("dagger", "install it from https://docs.dagger.io/install"),
		{"tree", func(ctx context.Context) (string, error) {
			tree, err := source.Open(ctx, dir)
			if err != nil {
				return "", err
			}
			revision, err := tree.Revision(ctx)
			return "at commit " + revision.SHA, err
		}},
		{"services", func(context.Context) (string, error) {
			p, err := platform.Load(dir)
			return strings.Join(p.Names(), ", "), err
		}},
		{"environments", func(context.Context) (string, error) {
			all, err := platform.Environments(dir)
			if p, loadErr := platform.Load(dir); err == nil && loadErr == nil {
				err = p.CheckIn(all)
			}
			return strings.Join(platform.EnvironmentNames(all), ", "), err
		}},
		{"lock", func(context.Context) (string, error) {
			own, err := image.ReadLockFile(dir)
			if len(own.Images) == 0 {
				return "built in", err
			}
			return image.LockFile, err
		}},
		{"credentials", func(ctx context.Context) (string, error) {
			who, err := awsauth.Caller{NoRetry: true}.GetCallerIdentity(ctx)
			return who.ARN + " in " + who.Region, err
		}},
	}
}

func lookPath(name, get string) Check {
	return Check{name, func(context.Context) (string, error) {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("%s is not on PATH: %s", name, get)
		}
		return path, nil
	}}
}

// stages are the stages, the checks that each needs, and the optional ones.
var stages = []struct {
	name  string
	needs []string
	wants []string
}{
	{"test", buildNeeds, []string{"compiler"}},
	{"lint", buildNeeds, []string{"terraform", "nginx", "trivy"}},
	{"fmt", buildNeeds, []string{"terraform"}},
	{"build", append(buildNeeds, "builder"), nil},
	{"publish", append(buildNeeds, "builder", "environments", "credentials"), nil},
	{"diff", accountNeeds, []string{"go", "builder"}},
	{"deploy", accountNeeds, []string{"go", "builder"}},
	{"status", accountNeeds, nil},
	{"rollback", accountNeeds, nil},
	{"validate", append(infraNeeds, "environments"), nil},
	{"plan", append(infraNeeds, "environments", "credentials"), nil},
	{"apply", append(infraNeeds, "environments", "credentials"), nil},
	{"up", buildNeeds, []string{"builder"}},
	{"rehearse", buildNeeds, []string{"builder"}},
	{"dagger", []string{"git", "tree", "dagger", "docker"}, nil},
	{"compose", []string{"docker"}, nil},
}

// Common needs of stages.
var (
	buildNeeds   = []string{"go", "git", "tree", "services", "lock"}
	accountNeeds = []string{"services", "environments", "credentials"}
	infraNeeds   = []string{"git", "tree", "terraform"}
)

// localStages are the stages that need no AWS account. They decide the exit code of a run
// without arguments.
var localStages = []string{"test", "lint", "fmt", "build", "up", "rehearse"}

// StageNames returns the names of all stages.
func StageNames() []string {
	var names []string
	for _, s := range stages {
		names = append(names, s.name)
	}
	return names
}

// CheckStages returns a usage error for the first unknown stage.
func CheckStages(names []string) error {
	for _, name := range names {
		if known := StageNames(); !slices.Contains(known, name) {
			return outcome.Usagef("unknown stage %q: %s", name, outcome.Suggestion(name, known))
		}
	}
	return nil
}

// Report contains the results of checks and which stages can run.
type Report struct {
	// Ready is set if the named stages, or else the local ones, can run.
	Ready   bool     `json:"ready"`
	Results []Result `json:"findings"`
	Stages  []Stage  `json:"stages"`
}

// Result is the result of a check.
type Result struct {
	Name string `json:"name"`
	// State is "ok" or "missing".
	State string `json:"state"`
	// Detail describes what was found, or what is missing and how to install it.
	Detail string `json:"says"`
}

// Stage says whether a stage can run.
type Stage struct {
	Stage string `json:"stage"`
	// Fitness is "ready", "limited" if something optional is missing, or "cannot".
	Fitness string `json:"fitness"`
	// Lacks are the failed checks.
	Lacks []string `json:"lacks"`
}

// Run runs the checks of the named stages, or of all stages if none is named.
func Run(ctx context.Context, checks []Check, names ...string) (Report, error) {
	r := Report{Ready: true, Results: []Result{}, Stages: []Stage{}}
	missing := map[string]bool{}
	chosen := slices.Clone(stages)
	if len(names) > 0 {
		var needed []string
		chosen = chosen[:0]
		for _, s := range stages {
			if slices.Contains(names, s.name) {
				chosen, needed = append(chosen, s), slices.Concat(needed, s.needs, s.wants)
			}
		}
		checks = slices.DeleteFunc(slices.Clone(checks), func(c Check) bool { return !slices.Contains(needed, c.Name) })
	}
	r.Results = runAll(ctx, checks)
	if ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	}
	for _, f := range r.Results {
		missing[f.Name] = f.State != "ok"
	}
	lacking := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !missing[name] })
	}
	for _, s := range chosen {
		v := Stage{Stage: s.name, Fitness: "ready", Lacks: append([]string{}, lacking(s.needs)...)}
		if len(v.Lacks) > 0 {
			v.Fitness = "cannot"
			r.Ready = r.Ready && len(names) == 0 && !slices.Contains(localStages, s.name)
		} else if v.Lacks = append(v.Lacks, lacking(s.wants)...); len(v.Lacks) > 0 {
			v.Fitness = "limited"
		}
		r.Stages = append(r.Stages, v)
	}
	return r, nil
}

func runAll(ctx context.Context, checks []Check) []Result {
	found := make([]Result, len(checks))
	var all sync.WaitGroup
	for n, check := range checks {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			detail, err := check.Run(ctx)
			found[n] = Result{Name: check.Name, State: "ok", Detail: detail}
			if err != nil {
				found[n].State, found[n].Detail = "missing", outcome.OneLine(err.Error())
			}
		})
	}
	all.Wait()
	return found
}

// JSON writes the report as one JSON document.
func (r Report) JSON(w io.Writer) error { return report.WriteJSON(w, r) }

// Text writes the report for a terminal.
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Results {
		fmt.Fprintf(&b, "%-16s %-8s %s\n", f.Name, f.State, f.Detail)
	}
	b.WriteString("\n")
	for _, s := range r.Stages {
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("%-16s %-8s %s", s.Stage, s.Fitness, s.reason()), " "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s Stage) reason() string {
	switch s.Fitness {
	case "cannot":
		return "needs " + strings.Join(s.Lacks, ", ")
	case "limited":
		return "limited without " + strings.Join(s.Lacks, ", ")
	}
	return ""
}

// Markdown writes the report for a job summary.
func (r Report) Markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString("| check | state | |\n|---|---|---|\n")
	for _, f := range r.Results {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", f.Name, f.State, report.Inline(f.Detail))
	}
	b.WriteString("\n| stage | | |\n|---|---|---|\n")
	for _, s := range r.Stages {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", s.Stage, s.Fitness, s.reason())
	}
	_, err := io.WriteString(w, b.String())
	return err
}
