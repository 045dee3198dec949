package gotest

import (
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// module is a module under test.
type module struct {
	tree       fs.FS    // the source tree
	roots      []string // absolute paths of the tree, on the host and in containers
	dir        string   // slash-separated, relative to the tree
	importPath string
}

// place is a line of the source tree; the zero place means unknown.
type place struct {
	file string
	line int
}

var (
	// A line of t.Log or t.Error. Continuation lines are indented more.
	logLine = regexp.MustCompile(`(?m)^    ([^\s:]+\.go):(\d+): ?(.*)$`)
	// The second line of a stack frame of the runtime or the race detector.
	frameLine = regexp.MustCompile(`(?m)^\s+(\S.*\.go):(\d+)(?: \+0x[0-9a-f]+)?$`)
	// A message of the compiler or vet.
	buildLine = regexp.MustCompile(`(?m)^(?:vet: )?(\S+\.go):(\d+)(?::\d+)?: (.*)$`)

	crashLine = regexp.MustCompile(`(?m)^(?:panic: |fatal error: |WARNING: DATA RACE)`)
)

// dirOf returns the directory of a package.
func (m module) dirOf(pkg string) string {
	relative := strings.TrimPrefix(strings.TrimPrefix(pkg, m.importPath), "/")
	return path.Join(m.dir, relative)
}

// find returns the place in the tree of a path that a tool printed, which ran in dir.
func (m module) find(text, line, dir string) (place, bool) {
	var candidates []string
	for _, root := range m.roots {
		if rest, inside := strings.CutPrefix(text, strings.TrimSuffix(root, "/")+"/"); inside {
			candidates = append(candidates, rest)
		}
	}
	// With -trimpath, paths begin with the import path.
	if rest, inside := strings.CutPrefix(text, m.importPath+"/"); inside {
		candidates = append(candidates, path.Join(m.dir, rest))
	}
	candidates = append(candidates, path.Join(dir, text), path.Join(m.dir, text))
	for _, name := range candidates {
		if info, err := fs.Stat(m.tree, name); err == nil && info.Mode().IsRegular() {
			number, err := strconv.Atoi(line)
			return place{name, number}, err == nil
		}
	}
	return place{}, false
}

// locate returns the place that the output of a test or build of pkg refers to, and its
// message on one line.
func (m module) locate(pkg, output string) (at place, message string) {
	dir := m.dirOf(pkg)
	if crash := crashLine.FindStringIndex(output); crash != nil {
		message = crashMessage(output[crash[0]:])
		for _, frame := range frameLine.FindAllStringSubmatch(output[crash[0]:], -1) {
			if at, found := m.find(frame[1], frame[2], dir); found {
				return at, message
			}
		}
		return place{}, message
	}
	// Use the last line: the failure that ends a test is logged last.
	logs := logLine.FindAllStringSubmatchIndex(output, -1)
	for i := len(logs) - 1; i >= 0; i-- {
		l := logs[i]
		if at, found := m.find(output[l[2]:l[3]], output[l[4]:l[5]], dir); found {
			return at, logMessage(output[l[6]:l[7]], output[l[1]:])
		}
	}
	for _, b := range buildLine.FindAllStringSubmatch(output, -1) {
		if at, found := m.find(b[1], b[2], m.dir); found {
			return at, b[3]
		}
	}
	if strings.HasPrefix(output, "got:\n") {
		return place{}, "the example's output differs from its comment"
	}
	return place{}, firstLine(output)
}

func crashMessage(output string) string {
	line := firstLine(output)
	if line == "WARNING: DATA RACE" {
		return "data race"
	}
	line, _, _ = strings.Cut(line, " [recovered")
	return line
}

// logMessage returns the message of a log line, which may be on the following lines;
// testify labels it there.
func logMessage(text, rest string) string {
	if strings.TrimSpace(text) != "" {
		return strings.TrimSpace(text)
	}
	if _, after, labelled := strings.Cut(rest, "\tError:"); labelled {
		return firstLine(after)
	}
	return firstLine(rest)
}

func firstLine(text string) string {
	text = strings.TrimSpace(text)
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}

// declaration returns the place of the top-level function of a test of pkg.
func (m module) declaration(pkg, test string) place {
	name, _, _ := strings.Cut(test, "/")
	declares, err := regexp.Compile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
	if err != nil {
		return place{}
	}
	files, _ := fs.Glob(m.tree, path.Join(m.dirOf(pkg), "*_test.go"))
	for _, file := range files {
		source, err := fs.ReadFile(m.tree, file)
		if err != nil {
			continue
		}
		if at := declares.FindIndex(source); at != nil {
			return place{file, 1 + strings.Count(string(source[:at[0]]), "\n")}
		}
	}
	return place{}
}
