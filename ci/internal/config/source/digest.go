package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Keys of parts in [Tree.Digests] that are no path.
const (
	// Whole is the whole tree.
	Whole = ""
	// Pages are the Markdown files, and only the names of all other files.
	Pages = "*.md"
)

// Digests returns digests of the files that git tracks or does not ignore: one for the
// [Whole] tree, one for its [Pages], one for each file and folder in its root, and for each of
// those folders one for each folder in it and one for its own files. A digest depends on names,
// contents and executable bits only. See [Part] and [FilesOf].
func (t Tree) Digests(ctx context.Context) (map[string]string, error) {
	files, err := t.WorkFiles(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the tree's files: %w", err)
	}
	slices.Sort(files)
	entries := map[string]*strings.Builder{Whole: {}, Pages: {}}
	for _, name := range files {
		entry, err := digest(filepath.Join(t.Dir, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, but still in the index
		}
		if err != nil {
			return nil, fmt.Errorf("reading the tree's files: %w", err)
		}
		top, below, _ := strings.Cut(name, "/")
		parts := []string{Whole, top}
		if path.Ext(name) == ".md" {
			parts = append(parts, Pages)
		} else {
			fmt.Fprintf(entries[Pages], "%q\n", name)
		}
		if folder, _, deeper := strings.Cut(below, "/"); deeper {
			parts = append(parts, path.Join(top, folder))
		} else if below != "" {
			parts = append(parts, FilesOf(top))
		}
		for _, part := range parts {
			if entries[part] == nil {
				entries[part] = &strings.Builder{}
			}
			fmt.Fprintf(entries[part], "%s %q\n", entry, name)
		}
	}
	digests := map[string]string{}
	for part, text := range entries {
		sum := sha256.Sum256([]byte(text.String()))
		digests[part] = hex.EncodeToString(sum[:])
	}
	return digests, nil
}

// digest returns the type, executable bit and content hash of a file; for a symbolic
// link, the hash of its target.
func digest(name string) (string, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(name)
		if err != nil {
			return "", err
		}
		_, _ = io.WriteString(sum, target)
	case info.Mode().IsRegular():
		file, err := os.Open(name)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(sum, file)
		if err := errors.Join(err, file.Close()); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s %t %x", info.Mode().Type(), info.Mode()&0o100 != 0, sum.Sum(nil)), nil
}

// Part returns the smallest part of the tree that contains a file and has a digest, such
// as docs/schema, so that tests of that part do not run again for every other page.
func Part(name string) string {
	steps := strings.Split(path.Clean(name), "/")
	if len(steps) > 2 {
		return path.Join(steps[:2]...)
	}
	return steps[0]
}

// FilesOf returns the name of the part with the files directly in a folder of the root.
func FilesOf(folder string) string { return folder + "/*" }

// DigestVariable returns the name of the environment variable that passes tests the
// digest of a part of the tree, such as SLIPWAY_TREE_TERRAFORM. Go's test cache tracks
// only files in the test's own module: tests that read other files also read this
// variable.
// https://pkg.go.dev/cmd/go#hdr-Test_packages
func DigestVariable(part string) string {
	if part == Whole {
		return "SLIPWAY_TREE"
	}
	name := func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}
	return "SLIPWAY_TREE_" + strings.Map(name, part)
}
