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
	"strconv"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
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
		if err := decodeStrictly(entries[name], &service); err != nil {
			return Platform{}, fmt.Errorf("service %q: %w", name, err)
		}
		var given struct {
			DesiredCount *int `json:"desired_count"`
		}
		_ = json.Unmarshal(entries[name], &given) // was decoded before
		if given.DesiredCount == nil && !service.IsJob() {
			service.DesiredCount = DefaultDesiredCount
		}
		p.Services = append(p.Services, service)
	}
	p.shareImages()
	return p, p.validate()
}

// shareImages gives entries with equal builds one repository: that of the first of them
// by name, unless one of them names it.
func (p Platform) shareImages() {
	entries := map[string][]int{}
	for n := range p.Services {
		s := &p.Services[n]
		s.shared, s.Shared = "", nil
		entries[s.Key()] = append(entries[s.Key()], n)
	}
	for _, equal := range entries {
		if len(equal) == 1 {
			continue
		}
		first := p.Services[equal[0]]
		shared := &Shared{Name: first.Name}
		for _, n := range equal {
			s := &p.Services[n]
			shared.add(*s)
			s.Shared, s.shared = shared, first.Repository()
		}
	}
}

// Key returns a string that is equal for equal builds.
func (b Build) Key() string {
	switch b.Kind {
	case Go:
		b.Main = path.Clean(b.MainPackage())
	case Dockerfile:
		b.Dockerfile = b.DockerfilePath()
	}
	if len(b.BuildTags) == 0 {
		b.BuildTags = nil // as if absent
	}
	if len(b.Files) == 0 {
		b.Files = nil
	}
	if len(b.BuildArgs) == 0 {
		b.BuildArgs = nil
	}
	if len(b.BuildSecrets) == 0 {
		b.BuildSecrets = nil
	}
	text, _ := json.Marshal(b) // a struct of strings, lists and maps of them
	return string(text)
}

// decodeStrictly decodes an object and refuses what the JSON decoder would ignore: unknown
// fields, a key that is given twice, and null as a value of a map.
func decodeStrictly[T any](object json.RawMessage, to *T) error {
	decoder := json.NewDecoder(bytes.NewReader(object))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(to); err != nil {
		err = describeJSON(nil, err)
		if field, ok := strings.CutPrefix(err.Error(), "unknown field "); ok {
			if near := outcome.Nearest(strings.Trim(field, `"`), fieldNames(reflect.TypeFor[T]())); near != "" {
				return fmt.Errorf("%w: did you mean %q?", err, near)
			}
		}
		return err
	}
	return checkJSON(object, reflect.TypeFor[T]())
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
		field := embedded.ReplaceAllString(mismatch.Field, "$1")
		return fmt.Errorf("%s must be %s, not %s", cmp.Or(field, "the document"), jsonKind(mismatch.Type), mismatch.Value)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// fieldNames returns the JSON names of the fields of a type and of the types in it.
func fieldNames(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return fieldNames(t.Elem())
	case reflect.Struct:
		var names []string
		for field := range t.Fields() {
			if name := field.Tag.Get("json"); name != "" && name != "-" {
				names = append(names, name)
			}
			names = append(names, fieldNames(field.Type)...)
		}
		return names
	}
	return nil
}

// embedded matches the embedded structs of [Service] in the path of a field.
var embedded = regexp.MustCompile(`(^|\.)(Build|Names|Container)\.`)

// jsonKind returns the JSON type for a Go type.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int:
		return "a whole number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}

// findDuplicate returns a key that occurs twice in an object. The JSON decoder would
// silently use the last one.
func findDuplicate(object json.RawMessage) string {
	duplicate, seen := "", map[string]bool{}
	for key := range members(object) {
		if seen[key] && duplicate == "" {
			duplicate = key
		}
		seen[key] = true
	}
	return duplicate
}

// members ranges over the keys of a JSON object and their values.
func members(object json.RawMessage) func(func(string, json.RawMessage) bool) {
	return func(yield func(string, json.RawMessage) bool) {
		decoder := json.NewDecoder(bytes.NewReader(object))
		if brace, err := decoder.Token(); err != nil || brace != json.Delim('{') {
			return
		}
		for decoder.More() {
			key, err := decoder.Token()
			if err != nil {
				return
			}
			var value json.RawMessage
			if name, _ := key.(string); decoder.Decode(&value) != nil || !yield(name, value) {
				return
			}
		}
	}
}

// checkJSON finds what the decoder of a type silently accepts: a key that is given twice,
// and null as a value of a map.
func checkJSON(value json.RawMessage, t reflect.Type, at ...string) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice:
		var elements []json.RawMessage
		_ = json.Unmarshal(value, &elements) // was decoded before
		for n, element := range elements {
			if err := checkJSON(element, t.Elem(), append(at, strconv.Itoa(n))...); err != nil {
				return err
			}
		}
		return nil
	case reflect.Struct, reflect.Map:
	default:
		return nil
	}
	if key := findDuplicate(value); key != "" {
		return fmt.Errorf("%q is given twice: remove one", strings.Join(append(at, key), "."))
	}
	for key, member := range members(value) {
		path := append(slices.Clip(at), key)
		of := fieldType(t, key)
		if t.Kind() == reflect.Map && string(member) == "null" {
			return fmt.Errorf("%s is null: give a value, or remove it", strings.Join(path, "."))
		}
		if of == nil {
			continue
		}
		if err := checkJSON(member, of, path...); err != nil {
			return err
		}
	}
	return nil
}

// fieldType returns the type of a field by its JSON name, or that of a map's values; nil if
// the type has no such field.
func fieldType(t reflect.Type, name string) reflect.Type {
	if t.Kind() == reflect.Map {
		return t.Elem()
	}
	for _, field := range reflect.VisibleFields(t) {
		if tag, _, _ := strings.Cut(field.Tag.Get("json"), ","); tag == name {
			return field.Type
		}
	}
	return nil
}

// HasAny reports whether a folder of the source tree at dir has one of the files.
func HasAny(dir, folder string, files []string) bool {
	return slices.ContainsFunc(files, func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(path.Join(folder, name))))
		return err == nil
	})
}

// CheckFolders checks that each service's folder exists and has what its kind needs.
func (p Platform) CheckFolders(dir string) error {
	var problems []error
	for _, s := range p.Services {
		if s.Kind == Prebuilt {
			continue
		}
		if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(s.Path))); err != nil || !info.IsDir() {
			problems = append(problems, fmt.Errorf("service %q: folder %s does not exist: create it, or correct path", s.Name, s.Path))
			continue
		}
		if needs := s.RequiredFiles(); !HasAny(dir, s.Path, needs) {
			problems = append(problems, fmt.Errorf("service %q: %s has no %s: a service of kind %q needs one", s.Name, s.Path, strings.Join(needs, " or "), s.Kind))
		} else if s.Kind == Dockerfile {
			if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(s.DockerfilePath()))); err == nil && info.IsDir() {
				problems = append(problems, fmt.Errorf("service %q: dockerfile %s is a folder: name the file in it", s.Name, s.DockerfilePath()))
			}
		}
	}
	if err := joinOneLine(problems); err != nil {
		return outcome.Usagef("%s: %w", ServicesFile, err)
	}
	return nil
}
