package image

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"dagger/slipway/internal/report/outcome"
)

// IgnoreFile names what stays out of a service's image, in the service's own
// folder. Its syntax is Docker's:
// https://docs.docker.com/build/concepts/context/#dockerignore-files
const IgnoreFile = ".dockerignore"

// ignoreRules says which files of a service's folder enter its image. Those that
// git tracks do unless a pattern excludes them; any other file needs a pattern
// that includes it ("!site/app/**"), which is how files that a tool made enter.
type ignoreRules struct {
	excluded *patternmatcher.PatternMatcher
	// included begins with everything excluded: what it lets through is named
	// by a pattern of its own.
	included *patternmatcher.PatternMatcher
	// mu is held while one matches: the library compiles a pattern when it first
	// matches it, and the platforms of a service are built at the same time.
	mu *sync.Mutex
}

// readIgnore reads the ignore file of the service in folder; having none is
// excluding nothing.
func readIgnore(dir, folder string) (ignoreRules, error) {
	name := path.Join(folder, IgnoreFile)
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ignoreRules{}, outcome.Usagef("reading %s: %w", name, err)
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(data))
	if err != nil {
		return ignoreRules{}, outcome.Usagef("reading %s: %w", name, err)
	}
	i := ignoreRules{mu: new(sync.Mutex)}
	if i.excluded, err = patternmatcher.New(patterns); err != nil {
		return ignoreRules{}, outcome.Usagef("%s: %w: mend the pattern", name, err)
	}
	if i.included, err = patternmatcher.New(append([]string{"**"}, patterns...)); err != nil {
		return ignoreRules{}, outcome.Usagef("%s: %w: mend the pattern", name, err)
	}
	// Patterns are compiled when they are first used.
	if _, err := i.excluded.MatchesOrParentMatches("x"); err != nil {
		return ignoreRules{}, outcome.Usagef("%s: %w: mend the pattern", name, err)
	}
	return i, nil
}

// includes tells whether a file, relative to the service's folder, enters.
func (i ignoreRules) includes(file string, tracked bool) (bool, error) {
	matcher := i.included
	if tracked {
		matcher = i.excluded
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	out, err := matcher.MatchesOrParentMatches(filepath.FromSlash(file))
	if err != nil {
		return false, fmt.Errorf("matching %q: %w", file, err)
	}
	return !out, nil
}

// hasInclusions tells whether any file enters that git may not track.
func (i ignoreRules) hasInclusions() bool { return i.excluded.Exclusions() }
