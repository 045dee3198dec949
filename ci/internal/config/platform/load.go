package platform

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/report/outcome"
)

// Load reads and validates the services file of the source tree at dir, and checks that
// the folders that it names exist. Every error is a usage error that names the file, the
// entry and the fix; it contains all errors of the file.
func Load(dir string) (Platform, error) {
	p, err := Read(dir)
	if err != nil {
		return Platform{}, err
	}
	return p, p.CheckFolders(dir)
}

// LoadTree is [Load] for a git work tree. If a folder is missing because it is not
// checked out, the error says so.
func LoadTree(ctx context.Context, tree source.Tree) (Platform, error) {
	p, err := Read(tree.Dir)
	if err != nil {
		return Platform{}, err
	}
	if err := p.CheckFolders(tree.Dir); err != nil {
		var folders []string
		for _, s := range p.Services {
			folders = append(folders, s.Path)
		}
		if incomplete := tree.CheckComplete(ctx, folders...); outcome.Of(incomplete) == outcome.Usage { // git failed otherwise
			return p, incomplete
		}
		return p, err
	}
	return p, nil
}

// Read is [Load] without checking folders, for commands that do not build.
func Read(dir string) (Platform, error) {
	file := filepath.Join(dir, filepath.FromSlash(ServicesFile))
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Platform{}, outcome.Usagef("no services file at %s: run from the root of the source tree or name it with --source", file)
	}
	if err != nil {
		return Platform{}, outcome.Usagef("reading the services file: %w", err)
	}
	p, err := Parse(data)
	if err != nil {
		return Platform{}, outcome.Usagef("%s: %w", ServicesFile, err)
	}
	return p, nil
}

// Parse decodes and validates a services file, but does not check folders. The file may
// contain other Terraform variables beside "services"; an unknown field of an entry is an
// error.
func Parse(data []byte) (Platform, error) {
	var file struct {
		Services json.RawMessage `json:"services"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return Platform{}, describeJSON(data, err)
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(file.Services, &entries); file.Services != nil && err != nil {
		return Platform{}, fmt.Errorf(`"services": %w`, describeJSON(nil, err))
	}
	if len(entries) == 0 {
		return Platform{}, errors.New(`"services" is empty: add at least one entry`)
	}
	if duplicate := findDuplicate(file.Services); duplicate != "" {
		return Platform{}, fmt.Errorf("service %q is defined twice: rename one of them", duplicate)
	}
	var p Platform
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		service := Service{Name: name}
		decoder := json.NewDecoder(bytes.NewReader(entries[name]))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&service); err != nil {
			return Platform{}, fmt.Errorf("service %q: %w", name, describeJSON(nil, err))
		}
		p.Services = append(p.Services, service)
	}
	return p, p.validate()
}

// describeJSON rewrites an error of the JSON decoder without Go's terms. It adds the line
// of a syntax error in data.
func describeJSON(data []byte, err error) error {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		line := 1 + bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n"))
		return fmt.Errorf("line %d is not JSON: %w", line, err)
	case errors.As(err, &mismatch):
		return fmt.Errorf("%s must be %s, not %s", cmp.Or(mismatch.Field, "the document"), jsonKind(mismatch.Type), mismatch.Value)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// jsonKind returns the JSON type for a Go type.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}

// findDuplicate returns a key that occurs twice in the object "services". The JSON decoder
// would silently use the last one.
func findDuplicate(services json.RawMessage) string {
	decoder := json.NewDecoder(bytes.NewReader(services))
	seen := map[string]bool{}
	_, err := decoder.Token() // the brace
	for err == nil && decoder.More() {
		var key json.Token
		if key, err = decoder.Token(); err != nil {
			break
		}
		name, _ := key.(string)
		if seen[name] {
			return name
		}
		seen[name] = true
		var value json.RawMessage
		err = decoder.Decode(&value)
	}
	return ""
}

// serviceName allows fewer names than ECS does, so that every derived name is valid, such
// as that of a target group, which has at most 32 characters:
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html
var serviceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,23}[a-z0-9]$`)

// fargateMemory lists the memory sizes, in MiB, that Fargate offers for a CPU size:
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
var fargateMemory = map[int][]int{
	256:   {512, 1024, 2048},
	512:   sizes(1024, 4096, 1024),
	1024:  sizes(2048, 8192, 1024),
	2048:  sizes(4096, 16384, 1024),
	4096:  sizes(8192, 30720, 1024),
	8192:  sizes(16384, 61440, 4096),
	16384: sizes(32768, 122880, 8192),
}

func sizes(low, high, step int) []int {
	var all []int
	for size := low; size <= high; size += step {
		all = append(all, size)
	}
	return all
}

func (p Platform) validate() error {
	var problems []error
	portOf, routeOf := map[int]string{}, map[string]string{}
	for _, s := range p.Services {
		for _, problem := range s.validate() {
			problems = append(problems, fmt.Errorf("service %q: %w", s.Name, problem))
		}
		if other, taken := portOf[s.Port]; taken {
			problems = append(problems, fmt.Errorf("services %q and %q both have port %d: give one of them another", other, s.Name, s.Port))
		}
		portOf[s.Port] = s.Name
		for _, route := range s.Routes {
			if other, taken := routeOf[route]; taken {
				problems = append(problems, fmt.Errorf("services %q and %q both have route %q: give it to one of them", other, s.Name, route))
			}
			routeOf[route] = s.Name
		}
	}
	return joinOneLine(append(problems, checkPriorities(p.Services)...))
}

func (s Service) validate() []error {
	var problems []error
	complain := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(format, args...))
	}
	if !serviceName.MatchString(s.Name) {
		complain("the name must be 2 to 25 lower-case letters, digits and hyphens")
	}
	if s.Path == "" || path.IsAbs(s.Path) || path.Clean(s.Path) != s.Path || !filepath.IsLocal(s.Path) {
		complain("path %q must name a folder inside the source tree", s.Path)
	}
	if s.Kind != Go && s.Kind != Nginx {
		complain("kind %q must be %q or %q", s.Kind, Go, Nginx)
	}
	if s.Port < 1024 || s.Port > 65535 {
		complain("port %d must be between 1024 and 65535 (containers run unprivileged)", s.Port)
	}
	if !strings.HasPrefix(s.HealthPath, "/") {
		complain(`health_path %q must begin with "/"`, s.HealthPath)
	}
	if len(s.Routes) == 0 {
		complain(`routes is empty: name at least one path pattern, such as "/%s/*"`, s.Name)
	}
	for _, route := range s.Routes {
		if !strings.HasPrefix(route, "/") || len(route) > 128 {
			complain(`route %q must begin with "/" and have at most 128 characters`, route)
		}
	}
	if memory, ok := fargateMemory[s.CPU]; !ok {
		complain("cpu %d is not a Fargate size: want one of %v", s.CPU, slices.Sorted(maps.Keys(fargateMemory)))
	} else if !slices.Contains(memory, s.Memory) {
		complain("memory %d is not available with cpu %d: want one of %v", s.Memory, s.CPU, memory)
	}
	if s.DesiredCount < 0 || s.DesiredCount > 5000 {
		complain("desired_count %d must be between 0 and 5000", s.DesiredCount)
	}
	return problems
}

// CheckFolders checks that each service's folder exists and has what its kind needs.
func (p Platform) CheckFolders(dir string) error {
	needs := map[Kind]string{Go: "go.mod", Nginx: "site"}
	var problems []error
	for _, s := range p.Services {
		folder := filepath.Join(dir, filepath.FromSlash(s.Path))
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			problems = append(problems, fmt.Errorf("service %q: folder %s does not exist: create it, or correct path", s.Name, s.Path))
			continue
		}
		if _, err := os.Stat(filepath.Join(folder, needs[s.Kind])); err != nil {
			problems = append(problems, fmt.Errorf("service %q: %s has no %s: a service of kind %q needs one", s.Name, s.Path, needs[s.Kind], s.Kind))
		}
	}
	if err := joinOneLine(problems); err != nil {
		return outcome.Usagef("%s: %w", ServicesFile, err)
	}
	return nil
}

// joinOneLine joins errors on one line. It returns nil for none.
func joinOneLine(problems []error) error {
	if len(problems) == 0 {
		return nil
	}
	line := make([]string, len(problems))
	for i, problem := range problems {
		line[i] = problem.Error()
	}
	return errors.New(strings.Join(line, "; "))
}
