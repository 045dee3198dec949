package doctor

import (
	"slices"
	"strings"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/suggest"
)

// Fitness is what a machine can do of a stage.
type Fitness string

// The fitnesses.
const (
	Ready  Fitness = "ready"
	Limits Fitness = "limited"
	Cannot Fitness = "cannot"
)

// Stage says what a stage needs, by the names of probes.
type Stage struct {
	Name string
	// Needs are what it cannot do without.
	Needs []string
	// Wants are what it does less without, and what that is.
	Wants []Want
}

// Want is a thing that a stage can do without.
type Want struct{ Probe, Without string }

// What stages need and want in common.
var (
	tree      = []string{"git", "tree", "services"}
	builds    = append([]string{"go", "lock"}, tree...)
	account   = append([]string{"lock", "credentials"}, tree...)
	bases     = Want{"registry", "a site whose base image is not kept here is built without it, good for rehearsal only"}
	race      = Want{"compiler", "tests run without the race detector"}
	described = Want{"syft", "publishes only with --no-attest, without bills of materials"}
	signed    = Want{"cosign", "neither signs nor looks for signatures"}
	fetched   = Want{"tools", "without Go they cannot be compiled"}
)

// local are the stages that take nothing but this machine: what an examination
// is about that names none.
var local = []string{"test", "lint", "fmt", "build", "up", "rehearse"}

// Stages are all stages, in the order of a change's way.
func Stages() []Stage {
	return []Stage{
		{"test", builds, []Want{race}},
		{"lint", builds, []Want{
			fetched,
			{"terraform", "Terraform's files are not checked"},
			{"nginx", "Nginx's configuration is not checked"},
			{"trivy", "misconfiguration of the platform is not searched for"},
			{"vulnerabilities", "known vulnerabilities are not searched for"},
		}},
		{"fmt", builds, []Want{fetched, {"terraform", "Terraform's files are not formatted"}}},
		{"build", builds, []Want{bases}},
		{"lock", []string{"git", "tree", "lock", "registry"}, nil},
		{"scan", append([]string{"trivy"}, builds...), []Want{bases}},
		{"publish", append([]string{"go", "clean", "registry", "ecr"}, account...), []Want{described, signed}},
		{"verify", append([]string{"ecr", "cosign"}, account...), nil},
		{"diff", append([]string{"ecr"}, account...), []Want{{"go", "compares only with what the registry holds"}}},
		{"deploy", append([]string{"ecr"}, account...), []Want{{"go", "releases only what the registry holds"}, {"clean", "releases only what the registry holds"}, described, signed}},
		{"status", account, nil},
		{"rollback", append([]string{"ecr"}, account...), nil},
		{"validate", append([]string{"terraform"}, tree...), nil},
		{"plan", append([]string{"terraform", "credentials"}, tree...), nil},
		{"apply", append([]string{"terraform", "credentials"}, tree...), nil},
		{"up", builds, []Want{bases}},
		{"rehearse", builds, []Want{bases, race}},
		{"local-aws", nil, nil},
		{"compose", []string{"docker", "compose"}, nil},
		{"dagger", []string{"git", "tree", "digests", "dagger", "engine"}, nil},
	}
}

// StageNames are the names of all stages.
func StageNames() []string {
	var names []string
	for _, s := range Stages() {
		names = append(names, s.Name)
	}
	return names
}

// Select finds stages by their names, all where none is named. An unknown one is
// a usage error.
func Select(names []string) ([]Stage, error) {
	for _, name := range names {
		if known := StageNames(); !slices.Contains(known, name) {
			hint := "there are " + strings.Join(known, ", ")
			if near := suggest.Nearest(name, known); near != "" {
				hint = "did you mean " + near + "?"
			}
			return nil, outcome.Usagef("no stage %q: %s", name, hint)
		}
	}
	if len(names) == 0 {
		return Stages(), nil
	}
	return slices.DeleteFunc(Stages(), func(s Stage) bool { return !slices.Contains(names, s.Name) }), nil
}

// Verdict is what the machine can do of one stage.
type Verdict struct {
	// Stage is its name.
	Stage string `json:"stage"`
	// Fitness is what the machine can do of it.
	Fitness Fitness `json:"fitness"`
	// Lacks are the probes' names of what the stage needs and is not there.
	Lacks []string `json:"lacks"`
	// Limits say what it does less, or less well.
	Limits []string `json:"limits"`
}

// Judge tells what findings are enough for. What nobody looked at is not there.
func (s Stage) Judge(findings []Finding) Verdict {
	found := map[string]Finding{}
	for _, f := range findings {
		found[f.Name] = f
	}
	verdict := Verdict{Stage: s.Name, Fitness: Ready, Lacks: []string{}, Limits: []string{}}
	for _, need := range s.Needs {
		switch f := found[need]; f.State {
		case OK:
		case Limited:
			verdict.Limits = append(verdict.Limits, need+": "+f.Says)
		default:
			verdict.Lacks = append(verdict.Lacks, need)
		}
	}
	for _, want := range s.Wants {
		switch f := found[want.Probe]; f.State {
		case OK:
		case Limited:
			verdict.Limits = append(verdict.Limits, want.Probe+": "+f.Says)
		default:
			verdict.Limits = append(verdict.Limits, want.Probe+": "+want.Without)
		}
	}
	switch {
	case len(verdict.Lacks) > 0:
		verdict.Fitness = Cannot
	case len(verdict.Limits) > 0:
		verdict.Fitness = Limits
	}
	return verdict
}

// needed are the probes that stages ask for.
func needed(stages []Stage, probes []Probe) []Probe {
	asked := map[string]bool{}
	for _, s := range stages {
		for _, need := range s.Needs {
			asked[need] = true
		}
		for _, want := range s.Wants {
			asked[want.Probe] = true
		}
	}
	var some []Probe
	for _, p := range probes {
		if asked[p.Name()] {
			some = append(some, p)
		}
	}
	return some
}
