// Package detect finds the services of a repository by its files: main packages of Go
// modules, Dockerfiles and static sites. It runs no code of the repository and uses no
// network. Every finding has its reasons.
package detect

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
)

// Candidate is a folder, or a main package, of which an entry of the services file can be
// made.
type Candidate struct {
	// Name is the name that its folder, package or repository gives it. It may be one that
	// the services file does not allow.
	Name string
	platform.Build
	// Port is the port that it listens on; 0 if that is not known, or for a worker.
	Port int
	// Worker reports whether its code listens on no port.
	Worker bool
	// PortFlag is the command-line flag that sets the port, without dashes, or "".
	PortFlag string
	// ReadsPort reports whether it listens on the value of the variable PORT.
	ReadsPort bool
	// HealthPath is the path of its health check.
	HealthPath string
	// HasHealthCommand reports whether the binary has the subcommand healthcheck.
	HasHealthCommand bool
	// Command are its arguments, if it needs any to listen on Port.
	Command []string
	// Reasons say what was found.
	Reasons []string
	// Not says why it is not a service that is taken without being named; "" if it is one.
	Not string
}

// String returns the candidate's folder and package, as in the value of a flag.
func (c Candidate) String() string {
	if c.Kind != platform.Go || c.Main == "." {
		return c.Path
	}
	return c.Path + ":" + c.Main
}

// Describe returns the candidate's kind and where it is.
func (c Candidate) Describe() string { return string(c.Kind) + " in " + c.String() }

// because adds a reason.
func (c *Candidate) because(format string, args ...any) {
	c.Reasons = append(c.Reasons, fmt.Sprintf(format, args...))
}

// Listen sets the port that the container is given, and the arguments with which it listens
// there.
func (c *Candidate) Listen(port int) {
	if c.Kind == platform.Go && c.Port != port && !c.ReadsPort && c.PortFlag != "" {
		c.Command = []string{fmt.Sprintf("--%s=%d", c.PortFlag, port)}
		c.because("flag %s sets the port", c.PortFlag)
	}
	c.Port = port
}

// tree are the files of a repository.
type tree struct {
	dir string
	has map[string]bool
	// names are the names of the files by folder.
	names map[string][]string
	// folders are the folders with files, parents before their children.
	folders []string
	// name is the name of the repository.
	name string
}

// Find returns the candidates of a repository by path. name is that of the repository,
// after which a service in its root is named. Only files that git tracks count.
func Find(ctx context.Context, of source.Tree, name string) ([]Candidate, error) {
	files, err := of.Files(ctx, ".")
	if err != nil {
		return nil, err
	}
	t := &tree{dir: of.Dir, name: name, has: map[string]bool{}, names: map[string][]string{}}
	for _, file := range files {
		if isForeign(file) {
			continue
		}
		t.has[file] = true
		dir := path.Dir(file)
		t.names[dir] = append(t.names[dir], path.Base(file))
	}
	t.folders = sortedFolders(t.names)
	found := t.mainPackages(ctx)
	for _, c := range found {
		if c.Not == "" {
			t.describeListener(c)
		}
	}
	found = append(found, t.dockerfiles(found)...)
	found = append(found, t.sites(found)...)
	var all []Candidate
	for _, c := range found {
		if c.Not == "" {
			c.Not = c.unusual()
		}
		all = append(all, *c)
	}
	slices.SortStableFunc(all, func(a, b Candidate) int { return strings.Compare(a.Describe(), b.Describe()) })
	return all, nil
}

// foreignFolder matches folders whose files are of other projects, or of no service.
var foreignFolder = regexp.MustCompile(`^(vendor|node_modules|testdata|third_party|\..+|_.+)$`)

func isForeign(file string) bool {
	for part := range strings.SplitSeq(path.Dir(file), "/") {
		if part != "." && foreignFolder.MatchString(part) {
			return true
		}
	}
	return false
}

// sideFolder matches folders of programs that are not delivered.
var sideFolder = regexp.MustCompile(`^(examples?|samples?|demos?|tests?|testing|e2e|integration|benchmarks?|bench|mocks?|fakes?|hack|tools?|scripts?|docs?)$`)

// unusual returns why a candidate is in a folder that usually has no service; "" otherwise.
func (c *Candidate) unusual() string {
	for part := range strings.SplitSeq(path.Join(c.Path, c.Main), "/") {
		if sideFolder.MatchString(part) {
			return "in a folder " + part
		}
	}
	return ""
}

// read returns a file's content, or nil if it cannot be read.
func (t *tree) read(file string) []byte {
	data, err := os.ReadFile(filepath.Join(t.dir, filepath.FromSlash(file)))
	if err != nil {
		return nil
	}
	return data
}

// nameOf returns the name of a service in a folder.
func (t *tree) nameOf(folder string) string {
	if folder == "." {
		return t.name
	}
	return path.Base(folder)
}

func isWithin(folder, other string) bool {
	return other == "." || folder == other || strings.HasPrefix(folder, other+"/")
}

// sites returns static sites: folders with an index.html that belong to no other candidate.
func (t *tree) sites(others []*Candidate) []*Candidate {
	var found []*Candidate
	for _, folder := range t.folders {
		if !t.has[path.Join(folder, "index.html")] || slices.ContainsFunc(slices.Concat(others, found), func(c *Candidate) bool { return isWithin(folder, c.Path) }) {
			continue
		}
		c := &Candidate{Build: platform.Build{Kind: platform.Nginx, Path: folder}, HealthPath: "/healthz", Port: 8080}
		c.because("%s: a static site", path.Join(folder, "index.html"))
		if path.Base(folder) == "site" || path.Base(folder) == "dist" { // as in a tree of slipway
			c.Path = path.Dir(folder)
		}
		for _, dependencies := range []string{"package.json", "composer.json", "pom.xml"} {
			if t.has[path.Join(c.Path, dependencies)] {
				c.Not = "the folder has " + dependencies + ", so the page is built by a tool"
			}
		}
		c.Name = t.nameOf(c.Path)
		found = append(found, c)
	}
	return found
}

// sortedFolders returns the folders, parents before their children.
func sortedFolders(folders map[string][]string) []string {
	return slices.SortedFunc(maps.Keys(folders), func(a, b string) int {
		if depth := strings.Count(a, "/") - strings.Count(b, "/"); depth != 0 && a != "." && b != "." {
			return depth
		}
		return strings.Compare(a, b) // "." comes first
	})
}
