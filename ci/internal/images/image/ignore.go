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

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// IgnoreFile lists the files that stay out of a service's image. It is in the
// service's folder and has Docker's syntax:
// https://docs.docker.com/build/concepts/context/#dockerignore-files
const IgnoreFile = ".dockerignore"

// ignoreRules selects the files of a service's folder for its image. A file that
// git tracks is included unless a pattern excludes it. Any other file needs a
// pattern that includes it ("!site/app/**"), such as a file that a tool generates.
type ignoreRules struct {
	excluded *patternmatcher.PatternMatcher
	// included starts by excluding everything, so it matches only what a pattern
	// includes by name.
	included *patternmatcher.PatternMatcher
	// mu guards matching: the library compiles a pattern on first use, and the
	// platforms of a service are built concurrently.
	mu *sync.Mutex
}

// readIgnore reads the ignore file of the service in folder. Without the file
// nothing is excluded.
func readIgnore(dir, folder string) (ignoreRules, error) {
	return readIgnoreFile(dir, path.Join(folder, IgnoreFile))
}

func readIgnoreFile(dir, name string) (ignoreRules, error) {
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
		return ignoreRules{}, outcome.Usagef("%s: %w: correct the pattern", name, err)
	}
	if i.included, err = patternmatcher.New(append([]string{"**"}, patterns...)); err != nil {
		return ignoreRules{}, outcome.Usagef("%s: %w: correct the pattern", name, err)
	}
	// Patterns are compiled on first use: compile them now to find errors.
	if _, err := i.excluded.MatchesOrParentMatches("x"); err != nil {
		return ignoreRules{}, outcome.Usagef("%s: %w: correct the pattern", name, err)
	}
	return i, nil
}

// includes reports whether the image includes a file, whose path is relative to the
// service's folder.
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

// hasInclusions reports whether a pattern includes files that git may not track.
func (i ignoreRules) hasInclusions() bool { return i.excluded.Exclusions() }
