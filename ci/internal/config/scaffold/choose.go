package scaffold

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/detect"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Choices select candidates and replace what was found of them.
type Choices struct {
	// Services are NAME=FOLDER or NAME=FOLDER:PACKAGE; none means what is found.
	Services []string
	// Kinds, Ports, HealthPaths and Routes are VALUE or NAME=VALUE. Without a name there
	// must be one service.
	Kinds, Ports, HealthPaths, Routes []string
	// All takes all services that are found, without asking.
	All bool
	// Ask asks a person and returns the answer; nil if no person is there.
	Ask func(question string) (string, error)
}

// choose returns the candidates that become services.
func (c Choices) choose(found []detect.Candidate) ([]detect.Candidate, error) {
	kinds, err := c.kinds()
	if err != nil {
		return nil, err
	}
	if len(c.Services) > 0 {
		return c.named(found, kinds)
	}
	var taken []detect.Candidate
	var not []string
	for _, candidate := range found {
		if candidate.Not == "" {
			taken = append(taken, candidate)
		} else {
			not = append(not, candidate.Describe()+" ("+candidate.Not+")")
		}
	}
	if len(taken) == 0 && len(not) > 0 {
		return nil, outcome.Usagef("no service found, but %s: name one with --service NAME=FOLDER[:PACKAGE], and its --port, if it has one", strings.Join(not, ", "))
	}
	if taken, err = c.narrow(taken); err != nil {
		return nil, err
	}
	for n, candidate := range taken {
		if kind := cmp.Or(kinds[candidate.Name], kinds[""]); kind != "" && kind != candidate.Kind {
			if taken[n], err = otherKind(found, candidate, kind); err != nil {
				return nil, err
			}
		}
	}
	return taken, nil
}

// narrow returns those of several candidates that a person or a flag chooses.
func (c Choices) narrow(found []detect.Candidate) ([]detect.Candidate, error) {
	if len(found) < 2 || c.All {
		return found, nil
	}
	var list []string
	for _, candidate := range found {
		list = append(list, candidate.Name+"="+candidate.String())
	}
	if c.Ask == nil {
		return nil, outcome.Usagef("%d services found: %s: take all with --yes, or name those to take with --service NAME=FOLDER[:PACKAGE]", len(found), strings.Join(list, ", "))
	}
	answer, err := c.Ask(fmt.Sprintf("%d services found:\n  %s\nTake which of them? [all, or names]: ", len(found), strings.Join(list, "\n  ")))
	if err != nil {
		return nil, err
	}
	names := strings.FieldsFunc(answer, func(r rune) bool { return r == ' ' || r == ',' })
	if len(names) == 0 || slices.Equal(names, []string{"all"}) {
		return found, nil
	}
	var taken []detect.Candidate
	for _, name := range names {
		n := slices.IndexFunc(found, func(candidate detect.Candidate) bool { return candidate.Name == name })
		if n < 0 {
			return nil, outcome.Usagef("no service %q was found: want of %s", name, strings.Join(list, ", "))
		}
		taken = append(taken, found[n])
	}
	return taken, nil
}

// named returns the candidates that --service names.
func (c Choices) named(found []detect.Candidate, kinds map[string]platform.Kind) ([]detect.Candidate, error) {
	var taken []detect.Candidate
	for _, flag := range c.Services {
		name, at, ok := strings.Cut(flag, "=")
		folder, main, hasMain := strings.Cut(at, ":")
		if !ok || name == "" || folder == "" {
			return nil, outcome.Usagef("invalid --service %q: want NAME=FOLDER or NAME=FOLDER:PACKAGE, such as api=services/api:./cmd/api", flag)
		}
		folder, main = path.Clean(folder), path.Clean(main)
		kind := cmp.Or(kinds[name], kinds[""])
		var matches []detect.Candidate
		var there []string
		for _, candidate := range found {
			of := path.Clean(candidate.Main)
			isGo := candidate.Kind == platform.Go
			in := candidate.Path == folder || isGo && !hasMain && path.Join(candidate.Path, of) == folder
			if in {
				there = append(there, candidate.Describe())
			}
			if in && (!hasMain || isGo && of == main) && (kind == "" || kind == candidate.Kind) {
				matches = append(matches, candidate)
			}
		}
		if taking := slices.DeleteFunc(slices.Clone(matches), func(m detect.Candidate) bool { return m.Not != "" }); len(taking) > 0 {
			matches = taking
		}
		switch {
		case len(matches) == 0 && len(there) > 0:
			return nil, outcome.Usagef("invalid --service %s: %s has only %s", flag, folder, strings.Join(there, ", "))
		case len(matches) == 0:
			return nil, outcome.Usagef("invalid --service %s: folder %s has no main package, no Dockerfile and no site that git tracks%s", flag, folder, candidateList(found))
		case len(matches) > 1:
			return nil, outcome.Usagef("invalid --service %s: %s has several: %s: name the package as FOLDER:PACKAGE, or --kind", flag, folder, strings.Join(there, ", "))
		}
		matches[0].Name, matches[0].Not = name, ""
		taken = append(taken, matches[0])
	}
	return taken, nil
}

func candidateList(found []detect.Candidate) string {
	var list []string
	for _, candidate := range found {
		list = append(list, candidate.Describe())
	}
	if len(list) == 0 {
		return ""
	}
	return ": there are " + strings.Join(list, ", ")
}

// otherKind returns the candidate of another kind for the same service.
func otherKind(found []detect.Candidate, candidate detect.Candidate, kind platform.Kind) (detect.Candidate, error) {
	for _, other := range found {
		if other.Kind == kind && (other.Path == candidate.Path || other.Path == path.Join(candidate.Path, candidate.Main)) {
			other.Name, other.Not = candidate.Name, ""
			return other, nil
		}
	}
	return detect.Candidate{}, outcome.Usagef("service %s cannot have kind %s: %s has no %s", candidate.Name, kind, candidate.Path, strings.Join(platform.Build{Kind: kind}.RequiredFiles(), " or "))
}

func (c Choices) kinds() (map[string]platform.Kind, error) {
	kinds := map[string]platform.Kind{}
	for _, flag := range c.Kinds {
		name, value := pair(flag)
		kind, err := ParseKind(value)
		if err != nil {
			return nil, outcome.Usagef("invalid --kind %s: %w", flag, err)
		}
		if kind == platform.Prebuilt {
			return nil, outcome.Usagef("invalid --kind %s: an image has no folder: add its entry with slipway new service NAME --kind image --image IMAGE", flag)
		}
		kinds[name] = kind
	}
	return kinds, nil
}

// pair splits NAME=VALUE. A value without a name is for the only service.
func pair(flag string) (name, value string) {
	if name, value, ok := strings.Cut(flag, "="); ok && !strings.HasPrefix(flag, "/") {
		return name, value
	}
	return "", flag
}

// values returns the values of a flag by the name of a service.
func values(flag string, given, names []string) (map[string][]string, error) {
	all := map[string][]string{}
	for _, text := range given {
		name, value := pair(text)
		switch {
		case name == "" && len(names) != 1:
			return nil, outcome.Usagef("--%s %s is of one service, and there are %s: write --%s NAME=%[2]s", flag, text, strings.Join(names, ", "), flag)
		case name == "":
			name = names[0]
		case !slices.Contains(names, name):
			return nil, outcome.Usagef("invalid --%s %s: no service %s is taken: it has %s", flag, text, name, strings.Join(names, ", "))
		}
		all[name] = append(all[name], value)
	}
	return all, nil
}

// entries returns the entries of the chosen candidates.
func (c Choices) entries(chosen []detect.Candidate) ([]platform.Service, error) {
	var names []string
	for _, candidate := range chosen {
		if !platform.IsServiceName(candidate.Name) {
			return nil, outcome.Usagef("%q cannot name a service, whose name must be 2 to 25 lower-case letters, digits and hyphens: name it with --service %s=%s", candidate.Name, validName(candidate.Name), candidate.String())
		}
		if slices.Contains(names, candidate.Name) {
			return nil, outcome.Usagef("two services have the name %s: name them with --service NAME=FOLDER[:PACKAGE]", candidate.Name)
		}
		names = append(names, candidate.Name)
	}
	flags := map[string]map[string][]string{}
	for flag, given := range map[string][]string{"port": c.Ports, "health-path": c.HealthPaths, "route": c.Routes, "kind": c.Kinds} {
		of, err := values(flag, given, names)
		if err != nil {
			return nil, err
		}
		flags[flag] = of
	}
	for n := range chosen {
		if err := c.setPort(&chosen[n], flags["port"][chosen[n].Name]); err != nil {
			return nil, err
		}
	}
	home := homeService(chosen)
	var entries []platform.Service
	for n := range chosen {
		candidate := &chosen[n]
		s := platform.Service{Name: candidate.Name, Build: candidate.Build, CPU: 256, Memory: 512, DesiredCount: 1}
		if path.Clean(s.MainPackage()) == path.Clean(platform.DefaultMain) {
			s.Main = ""
		}
		if candidate.Port != 0 {
			s.Port, s.HealthPath, s.DesiredCount, s.Command = candidate.Port, candidate.HealthPath, 2, candidate.Command
			s.Routes = []string{"/" + s.Name, "/" + s.Name + "/*"}
			if s.Name == home {
				s.Routes = []string{platform.CatchAll}
			}
			if paths := flags["health-path"][s.Name]; len(paths) > 0 {
				s.HealthPath = paths[len(paths)-1]
			}
			if routes := flags["route"][s.Name]; len(routes) > 0 {
				s.Routes = routes
			}
			if s.Kind == platform.Go && !candidate.HasHealthCommand {
				s.HealthCheck = &platform.HealthCheck{Command: []string{"NONE"}}
			}
		} else if len(flags["route"][s.Name])+len(flags["health-path"][s.Name]) > 0 {
			return nil, outcome.Usagef("service %s listens on no port, so it has no route and no health path: add --port %[1]s=PORT, or leave them out", s.Name)
		}
		entries = append(entries, s)
	}
	return entries, nil
}

// setPort sets the port that a flag or a person gives, if any.
func (c Choices) setPort(candidate *detect.Candidate, given []string) error {
	if len(given) == 0 && (candidate.Port != 0 || candidate.Worker) {
		return nil
	}
	if len(given) == 0 {
		if c.Ask == nil {
			return outcome.Usagef("the port of service %s (%s) is not known: add --port %[1]s=PORT, or --port %[1]s=0 for a worker", candidate.Name, candidate.String())
		}
		answer, err := c.Ask(fmt.Sprintf("Port that %s (%s) listens on [0 for a worker]: ", candidate.Name, candidate.String()))
		if err != nil {
			return err
		}
		given = []string{answer}
	}
	text := given[len(given)-1]
	port, err := strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return outcome.Usagef("invalid --port %q for service %s: want 1 to 65535, or 0 for a worker", text, candidate.Name)
	}
	candidate.Listen(port)
	candidate.HealthPath = cmp.Or(candidate.HealthPath, "/")
	return nil
}

// homeService returns the name of the service that gets all paths that no other has: the
// only web service, a site, one with a usual name, or the first.
func homeService(chosen []detect.Candidate) string {
	var first string
	for _, usual := range []func(detect.Candidate) bool{
		func(c detect.Candidate) bool { return c.Kind == platform.Nginx },
		func(c detect.Candidate) bool {
			return slices.Contains([]string{"frontend", "web", "www", "ui", "site", "gateway"}, c.Name)
		},
		func(detect.Candidate) bool { return true },
	} {
		for _, candidate := range chosen {
			if candidate.Port != 0 && usual(candidate) && first == "" {
				first = candidate.Name
			}
		}
	}
	return first
}

// validName returns the nearest name that a service can have.
func validName(name string) string {
	name = strings.TrimLeft(platform.Hyphenate(name), "0123456789-")
	name = strings.TrimRight(name[:min(25, len(name))], "-")
	if len(name) < 2 {
		return "service"
	}
	return name
}
