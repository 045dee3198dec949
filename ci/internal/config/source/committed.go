package source

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // git's object ids
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Git's file modes of symbolic links and submodules.
const (
	linkMode      = "120000"
	submoduleMode = "160000"
)

// attributesFile configures how git converts files.
const attributesFile = ".gitattributes"

// CommittedFiles are the files of some folders in the commit at HEAD and in the index,
// including those of initialized submodules. [CommittedFiles.Check] compares them with
// the work tree. `git status` does not suffice: it skips files that are marked
// assume-unchanged or skip-worktree, and treats files as equal that a filter makes equal.
type CommittedFiles struct {
	tree    Tree
	own     *repository
	entries map[string]*entry // by name, relative to the tree's folder
}

// entry is a file or submodule of a repository.
type entry struct {
	repository    *repository
	name          string // relative to the repository's folder
	mode, id      string // in the commit; empty if it is not there
	tracked       bool   // in the index
	modified      bool   // reported by git status
	uninitialized bool   // a submodule that is not checked out
}

// repository is the tree's own repository or a submodule.
type repository struct {
	Tree
	dir    string // relative to the tree's folder; "" for the tree's own repository
	prefix string // of dir in the repository
}

// File is a file or submodule in the commit or the index.
type File struct {
	Name    string // relative to the folder given to [CommittedFiles.In]
	Tracked bool
	Exists  bool // in the work tree
	// Submodule is set for a submodule that is not checked out.
	Submodule bool
}

// CommittedFiles reads the files of folders, which are relative to the tree's folder.
// Folders outside of the repository are left out.
func (t Tree) CommittedFiles(ctx context.Context, folders ...string) (CommittedFiles, error) {
	h := CommittedFiles{tree: t, own: &repository{Tree: t}, entries: map[string]*entry{}}
	return h, h.read(ctx, h.own, folders)
}

func (h CommittedFiles) read(ctx context.Context, r *repository, folders []string) error {
	prefix, err := r.Git(ctx, "rev-parse", "--show-prefix")
	if err != nil {
		return err
	}
	r.prefix = strings.TrimSuffix(prefix, "\n")
	paths := map[string]bool{}
	var above []string
	for _, folder := range folders {
		folder = path.Clean(folder)
		if r.isOutside(folder) {
			continue
		}
		paths[folder] = true
		for dir := folder; ; dir = path.Dir(dir) {
			paths[path.Join(dir, attributesFile)] = true
			if dir == "." || path.Base(dir) == ".." {
				break
			}
			above = append(above, dir)
		}
	}
	names := slices.Sorted(maps.Keys(paths))
	if len(names) == 0 {
		return nil
	}
	if _, err := r.Git(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"); err == nil {
		list, err := r.Git(ctx, append([]string{"ls-tree", "-z", "-r", "HEAD", "--"}, names...)...)
		if err != nil {
			return err
		}
		inside, err := r.Git(ctx, append([]string{"ls-tree", "-z", "-d", "HEAD", "--"}, append(above, attributesFile)...)...) // ls-tree lists no files of submodules
		if err != nil {
			return err
		}
		for _, line := range splitNUL(list + inside) { // mode type id\tname
			info, name, _ := strings.Cut(line, "\t")
			if fields := strings.Fields(info); len(fields) == 3 && fields[1] != "tree" {
				e := h.entry(r, name)
				e.mode, e.id = fields[0], fields[2]
			}
		}
	} else if ctx.Err() != nil {
		return err
	}
	list, err := r.Git(ctx, append([]string{"--literal-pathspecs", "ls-files", "-s", "-z", "--"}, names...)...)
	if err != nil {
		return err
	}
	for _, line := range splitNUL(list) { // mode id stage\tname
		info, name, _ := strings.Cut(line, "\t")
		e := h.entry(r, name)
		e.tracked = true
		if mode, _, _ := strings.Cut(info, " "); mode == submoduleMode && e.mode == "" {
			e.mode = mode
		}
	}
	list, err = r.Git(ctx, append([]string{"--literal-pathspecs", "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=none", "--"}, append(names, above...)...)...)
	if err != nil {
		return err
	}
	for _, line := range splitNUL(list) { // XY name, from the repository's root
		if name, err := filepath.Rel("/"+r.prefix, "/"+line[min(3, len(line)):]); err == nil {
			h.entry(r, filepath.ToSlash(name)).modified = true
		}
	}
	return h.readSubmodules(ctx, r, folders)
}

// readSubmodules reads the submodules of a repository.
func (h CommittedFiles) readSubmodules(ctx context.Context, r *repository, folders []string) error {
	for name, e := range maps.Clone(h.entries) {
		if e.repository != r || e.mode != submoduleMode {
			continue
		}
		dir := filepath.Join(h.tree.Dir, filepath.FromSlash(name))
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err != nil {
			e.uninitialized = true
			continue
		}
		var below []string // of the submodule
		for _, folder := range folders {
			inside, ok := strings.CutPrefix(path.Clean(folder), e.name+"/")
			if !ok {
				inside = "."
			}
			below = append(below, inside)
		}
		if err := h.read(ctx, &repository{Tree: Tree{dir}, dir: name}, below); err != nil {
			return err
		}
	}
	return nil
}

// isOutside reports whether a name is outside of the repository. Names on another drive
// are absolute.
func (r *repository) isOutside(name string) bool {
	return filepath.IsAbs(filepath.FromSlash(name)) || strings.HasPrefix(path.Join(r.prefix, name)+"/", "../")
}

func (h CommittedFiles) entry(r *repository, name string) *entry {
	full := path.Join(r.dir, name)
	if h.entries[full] == nil {
		h.entries[full] = &entry{repository: r, name: path.Clean(name)}
	}
	return h.entries[full]
}

func splitNUL(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == 0 })
}

// In lists the files of the commit and the index below folder, sorted. It lists a
// submodule that is not checked out as one entry that does not exist.
func (h CommittedFiles) In(folder string) ([]File, error) {
	var files []File
	for _, name := range slices.Sorted(maps.Keys(h.entries)) {
		e := h.entries[name]
		inside, ok := strings.CutPrefix(name, path.Clean(folder)+"/")
		switch {
		case path.Clean(folder) == ".":
			inside, ok = name, !strings.HasPrefix(name, "../")
		case !ok:
			continue
		}
		if !ok || !e.tracked && e.mode == "" || e.mode == submoduleMode && !e.uninitialized {
			continue
		}
		f := File{Name: inside, Tracked: e.tracked, Submodule: e.uninitialized}
		_, err := os.Lstat(filepath.Join(h.tree.Dir, filepath.FromSlash(name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("listing %s: %s: %w", folder, Display(inside), WithoutPath(err))
		}
		f.Exists = err == nil && !e.uninitialized
		files = append(files, f)
	}
	return files, nil
}

// difference is a file that differs from the commit, and how to fix that. The fix is
// computed only for the difference that is reported, because it needs git.
type difference struct {
	name, problem, fix string
	comparison         *comparison // computes fix; nil if fix is set
}

// Check compares files with the commit. It returns a usage error that names the first
// file that differs or is missing, and the fix. Differences that `git status` reports
// count only if exact is set: a developer who builds a changed tree knows of them.
func (h CommittedFiles) Check(ctx context.Context, names []string, exact bool) error {
	differences, err := h.differences(ctx, names, exact)
	if err != nil || len(differences) == 0 {
		return err
	}
	first := slices.MinFunc(differences, func(a, b difference) int { return cmp.Compare(a.name, b.name) })
	if first.comparison != nil {
		if first, err = first.comparison.explain(ctx, first); err != nil {
			return err
		}
	}
	more := ""
	if n := len(differences) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return outcome.Usagef("%s%s %s: %s", Display(first.name), more, first.problem, first.fix)
}

func (h CommittedFiles) differences(ctx context.Context, names []string, exact bool) ([]difference, error) {
	all := map[string]bool{}
	for _, name := range names {
		name = path.Clean(name)
		if h.own.isOutside(name) {
			continue
		}
		all[name] = true
		for dir := path.Dir(name); ; dir = path.Dir(dir) {
			if e := h.entries[dir]; e != nil && e.mode == submoduleMode {
				all[dir] = true
			}
			if attributes := path.Join(dir, attributesFile); h.entries[attributes] != nil {
				all[attributes] = true
			}
			if dir == "." || path.Base(dir) == ".." {
				break
			}
		}
	}
	var differences []difference
	repositories := map[*repository][]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e := h.entries[name]
		switch {
		case e == nil && h.hasParent(name, func(e *entry) bool { return e.uninitialized || e.modified && !e.tracked && !exact }):
		case e == nil && !h.exists(name):
		case e == nil:
			differences = append(differences, difference{name: name, problem: "is part of the image but ignored by git, so no commit contains it", fix: "git add -f " + shellQuote(name) + ", or include it with a pattern in the service's .dockerignore that begins with !"})
		case e.modified && !exact && !e.uninitialized:
		case e.id == "" && !e.uninitialized && e.tracked:
			differences = append(differences, difference{name: name, problem: "is not in the commit", fix: "commit it"})
		case e.id == "" && !e.uninitialized:
			differences = append(differences, difference{name: name, problem: "is part of the image but not in the commit", fix: "git add it and commit"})
		case e.mode == submoduleMode:
			d, err := h.compareSubmodule(ctx, name, e)
			if err != nil {
				return nil, err
			}
			differences = append(differences, d...)
		default:
			repositories[e.repository] = append(repositories[e.repository], name)
		}
	}
	for r, names := range repositories {
		found, err := h.compare(ctx, r, names)
		if err != nil {
			return nil, err
		}
		differences = append(differences, found...)
	}
	return differences, nil
}

// CheckComplete returns a usage error if the work tree lacks files that the commit has in
// folders, for example in a sparse checkout.
func (t Tree) CheckComplete(ctx context.Context, folders ...string) error {
	h, err := t.CommittedFiles(ctx, folders...)
	if err != nil {
		return err
	}
	var names []string
	for name := range h.entries {
		if e := h.entries[name]; e.uninitialized || e.mode != "" && !h.exists(name) {
			names = append(names, name)
		}
	}
	return h.Check(ctx, names, false)
}

// exists reports whether a name is in the work tree.
func (h CommittedFiles) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(h.tree.Dir, filepath.FromSlash(name)))
	return err == nil
}

// hasParent reports whether is holds for a folder above name, such as a submodule that is
// not checked out or an untracked nested repository.
func (h CommittedFiles) hasParent(name string, is func(*entry) bool) bool {
	for dir := path.Dir(name); dir != "." && path.Base(dir) != ".."; dir = path.Dir(dir) {
		if e := h.entries[dir]; e != nil && is(e) {
			return true
		}
	}
	return false
}

func (h CommittedFiles) compareSubmodule(ctx context.Context, name string, e *entry) ([]difference, error) {
	command := e.repository.gitCommand()
	if e.uninitialized {
		return []difference{{name: name, problem: "is a submodule that is not checked out", fix: command + "submodule update --init " + shellQuote(e.name)}}, nil
	}
	head, err := Tree{filepath.Join(h.tree.Dir, filepath.FromSlash(name))}.Git(ctx, "rev-parse", "HEAD")
	if err != nil {
		return nil, err
	}
	if head = strings.TrimSpace(head); head != e.id {
		problem := fmt.Sprintf("is a submodule at commit %.12s, but the commit pins %.12s", head, e.id)
		return []difference{{name: name, problem: problem, fix: command + "submodule update --init " + shellQuote(e.name) + ", or commit it as it is"}}, nil
	}
	return nil, nil
}

// compare compares files of one repository with its commit.
func (h CommittedFiles) compare(ctx context.Context, r *repository, names []string) ([]difference, error) {
	c := comparison{CommittedFiles: h, repository: r}
	if err := c.readAttributes(ctx, names); err != nil {
		return nil, err
	}
	var differences []difference
	for _, name := range names {
		d, err := c.compareFile(name)
		if err != nil {
			return nil, err
		}
		differences = append(differences, d...)
	}
	for some := range slices.Chunk(c.undecided, batchSize) {
		d, err := c.compareWithGit(ctx, some)
		if err != nil {
			return nil, err
		}
		differences = append(differences, d...)
	}
	return differences, nil
}

// batchSize is how many files are passed to a git process. One process for each file
// would be slow, and the contents of a batch are kept in memory.
const batchSize = 50

// comparison compares the files of one repository.
type comparison struct {
	CommittedFiles
	repository *repository
	// attributes of each file that change what git writes to a work tree.
	attributes map[string]map[string]string
	// drivers are the configured commands of filters, by filter and kind.
	drivers map[string]map[string]bool
	// undecided are the files that only git can compare.
	undecided []string
}

// readAttributes reads how git converts the files. It reads the attributes of the index,
// because the work tree may lack .gitattributes.
func (c *comparison) readAttributes(ctx context.Context, names []string) error {
	var list strings.Builder
	for _, name := range names {
		list.WriteString(c.entries[name].name + "\x00")
	}
	output, err := c.repository.gitWithInput(ctx, list.String(), "check-attr", "-z", "--cached", "--stdin", "filter", "ident", "eol", "working-tree-encoding")
	if err != nil {
		return err
	}
	c.attributes, c.drivers = map[string]map[string]string{}, map[string]map[string]bool{}
	fields := strings.Split(output, "\x00")
	for n := 0; n+2 < len(fields); n += 3 {
		name, attribute, value := path.Clean(fields[n]), fields[n+1], fields[n+2]
		if value == "unspecified" || value == "unset" {
			continue
		}
		if c.attributes[name] == nil {
			c.attributes[name] = map[string]string{}
		}
		c.attributes[name][attribute] = value
	}
	if len(c.attributes) == 0 {
		return nil
	}
	output, err = c.repository.Git(ctx, "config", "--null", "--get-regexp", `^filter\..*\.(clean|smudge|process)$`)
	if err != nil && ctx.Err() != nil {
		return err // otherwise no filter is configured
	}
	for _, line := range splitNUL(output) {
		key, command, _ := strings.Cut(line, "\n")
		key = strings.TrimPrefix(key, "filter.")
		dot := strings.LastIndex(key, ".")
		if c.drivers[key[:dot]] == nil {
			c.drivers[key[:dot]] = map[string]bool{}
		}
		c.drivers[key[:dot]][key[dot+1:]] = command != ""
	}
	return nil
}

func (c *comparison) compareFile(name string) ([]difference, error) {
	e := c.entries[name]
	file := filepath.Join(c.tree.Dir, filepath.FromSlash(name))
	info, err := os.Lstat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c.differs(name, "is in the commit but missing in the work tree"), nil
	case err != nil:
		return nil, err
	case e.mode == linkMode && info.Mode()&fs.ModeSymlink == 0:
		return []difference{{name: name, problem: "is a symbolic link in the commit but not in the work tree", fix: "git config core.symlinks true, and " + c.checkoutCommand(name)}}, nil
	case e.mode == linkMode:
		target, err := os.Readlink(file)
		if err == nil && blobID(e.id, []byte(filepath.ToSlash(target))) != e.id {
			return c.differs(name, "points to another target than in the commit"), nil
		}
		return nil, err
	case !info.Mode().IsRegular():
		return c.differs(name, "is a regular file in the commit but not in the work tree"), nil
	}
	data, err := c.readFile(name)
	if err != nil {
		return nil, err
	}
	return c.compareContent(name, data), nil
}

// compareContent compares a file's content with the commit. Files that only git can
// compare it adds to undecided.
func (c *comparison) compareContent(name string, data []byte) []difference {
	e := c.entries[name]
	attributes := c.attributes[e.name]
	filter, drivers := attributes["filter"], c.drivers[attributes["filter"]]
	same := blobID(e.id, data) == e.id
	switch {
	case filter != "" && lfsPointer.Match(data):
		problem := "is a Git LFS pointer in the work tree, not the file itself"
		return []difference{{name: name, problem: problem, fix: c.repository.gitCommand() + "lfs pull (actions/checkout: lfs: true)"}}
	case same && filter == "lfs": // it passes files through that are no pointers
	case same && filter != "" && len(drivers) == 0:
		return c.missingFilter(name, filter)
	case same && !drivers["smudge"] && !drivers["process"] && attributes["ident"] == "" && attributes["eol"] != "crlf" && attributes["working-tree-encoding"] == "":
	default:
		c.undecided = append(c.undecided, name)
	}
	return nil
}

// compareWithGit compares files with what git would write to the work tree, and Git LFS
// files with the hash in their pointer.
func (c *comparison) compareWithGit(ctx context.Context, names []string) (differences []difference, err error) {
	filterOf := func(name string) string { return c.attributes[c.entries[name].name]["filter"] }
	var filtered, others []string
	for _, name := range names {
		if filterOf(name) != "" {
			filtered = append(filtered, name)
		}
	}
	blobs, err := c.readObjects(ctx, filtered)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		filter, pointer := filterOf(name), lfsPointer.FindStringSubmatch(blobs[name])
		switch {
		case pointer != nil:
			data, err := c.readFile(name)
			if err != nil {
				return nil, err
			}
			if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != pointer[1] || strconv.Itoa(len(data)) != pointer[2] {
				differences = append(differences, c.differs(name, "differs from the commit's Git LFS object")...)
			}
		case filter == "lfs":
			differences = append(differences, c.differs(name, "differs from the commit")...)
		case filter != "" && len(c.drivers[filter]) == 0:
			differences = append(differences, c.missingFilter(name, filter)...)
		default:
			others = append(others, name)
		}
	}
	written, err := c.readObjects(ctx, others, "--filters")
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	for _, name := range others {
		e := c.entries[name]
		one, known := written[name]
		if !known { // a filter failed, or the name has a line break
			one, err = c.repository.Git(ctx, append(c.requireFilters(), "cat-file", "--filters", "--path="+path.Join(c.repository.prefix, e.name), e.id)...)
			if err != nil && ctx.Err() != nil {
				return nil, err
			}
			if err != nil {
				problem := fmt.Sprintf("cannot be compared with the commit, because filter=%s fails: %s", filterOf(name), strings.TrimPrefix(err.Error(), "running git cat-file: "))
				differences = append(differences, difference{name: name, problem: problem, fix: "fix the filter, then run " + c.checkoutCommand(name)})
				continue
			}
		}
		data, err := c.readFile(name)
		if err != nil {
			return nil, err
		}
		if one != string(data) {
			differences = append(differences, c.differs(name, "differs from the commit")...)
		}
	}
	return differences, nil
}

// readObjects returns the contents of files in the commit; with --filters, as git would
// write them to the work tree.
func (c *comparison) readObjects(ctx context.Context, names []string, flags ...string) (map[string]string, error) {
	var requested []string
	var list strings.Builder
	mark := rand.Text() // ends an object, because git prints its size before filtering
	for _, name := range names {
		e := c.entries[name]
		line := e.id
		if len(flags) > 0 {
			line += " " + path.Join(c.repository.prefix, e.name)
		}
		if !strings.Contains(line, "\n") {
			requested = append(requested, name)
			list.WriteString(line + "\n" + mark + "\n")
		}
	}
	if len(requested) == 0 {
		return nil, nil
	}
	output, err := c.repository.gitWithInput(ctx, list.String(), append(append(c.requireFilters(), "cat-file", "--batch"), flags...)...)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for n, object := range strings.Split(output, mark+" missing\n")[:len(requested)] {
		_, content, _ := strings.Cut(object, "\n") // id type size
		found[requested[n]] = strings.TrimSuffix(content, "\n")
	}
	return found, nil
}

// requireFilters returns git options that make a failing filter an error; otherwise git
// would use the unfiltered content.
func (c *comparison) requireFilters() (options []string) {
	for filter, kinds := range c.drivers {
		if kinds["smudge"] || kinds["process"] {
			options = append(options, "-c", "filter."+filter+".required=true")
		}
	}
	return options
}

func (c *comparison) missingFilter(name, filter string) []difference {
	problem := fmt.Sprintf("has filter=%s in %s, but git has no such filter", filter, attributesFile)
	return []difference{{name: name, problem: problem, fix: fmt.Sprintf("configure it (git config filter.%s.smudge), then run %s", filter, c.checkoutCommand(name))}}
}

// readFile reads a file of the work tree.
func (c *comparison) readFile(name string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(c.tree.Dir, filepath.FromSlash(name)))
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, fmt.Errorf("reading %s: %w", Display(name), at.Err) // the message has the path already
	}
	return data, err
}

func (c *comparison) differs(name, problem string) []difference {
	return []difference{{name: name, problem: problem, comparison: c}}
}

// explain adds to a difference why `git status` may not report it, and the fix.
func (c *comparison) explain(ctx context.Context, d difference) (difference, error) {
	e := c.entries[d.name]
	tag, err := c.repository.Git(ctx, "--literal-pathspecs", "ls-files", "-v", "--", e.name)
	if err != nil {
		return d, err
	}
	command, checkout := c.repository.gitCommand(), c.checkoutCommand(d.name)
	sparse := ""
	if !c.exists(d.name) {
		sparse, _ = c.repository.Git(ctx, "config", "--type=bool", "--get", "core.sparseCheckout") // fails if it is not set
	}
	skipped := strings.HasPrefix(strings.ToUpper(tag), "S")
	switch {
	case skipped && strings.TrimSpace(sparse) == "true":
		d.problem += " (excluded by a sparse checkout)"
		d.fix = command + "sparse-checkout disable"
	case skipped:
		d.problem += " (marked skip-worktree in git)"
		d.fix = command + "update-index --no-skip-worktree " + shellQuote(e.name) + ", then " + checkout + " or commit it"
	case tag != "" && tag[0] >= 'a' && tag[0] <= 'z':
		d.problem += " (marked assume-unchanged in git)"
		d.fix = command + "update-index --no-assume-unchanged " + shellQuote(e.name) + ", then " + checkout + " or commit it"
	case e.modified:
		d.problem += " (git status)"
		d.fix = "commit it, or " + checkout
	default:
		d.problem += ", which git status does not report"
		d.fix = checkout + ", or commit it"
	}
	return d, nil
}

// checkoutCommand returns the shell command that writes the commit's version of a file. It
// removes the file first, because git does not write files that it considers unchanged.
func (c *comparison) checkoutCommand(name string) string {
	return "rm -f " + shellQuote(name) + " && " + c.repository.gitCommand() + "checkout HEAD -- " + shellQuote(c.entries[name].name)
}

// gitCommand returns the beginning of a git command line for the repository.
func (r *repository) gitCommand() string {
	if r.dir == "" {
		return "git "
	}
	return "git -C " + shellQuote(r.dir) + " "
}

// lfsPointer matches a Git LFS pointer file:
// https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
var lfsPointer = regexp.MustCompile(`\Aversion https?://[^\n]+/spec/v1\r?\n(?:ext-[^\n]+\n)*oid sha256:([0-9a-f]{64})\r?\nsize ([0-9]+)\r?\n?\z`)

// shellSafe matches a name that needs no quotes in a shell.
var shellSafe = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// shellQuote quotes a name for a shell command.
func shellQuote(name string) string {
	if shellSafe.MatchString(name) {
		return name
	}
	return Display("'" + strings.ReplaceAll(name, "'", `'\''`) + "'")
}

// blobID returns git's object id of a content, with the same hash algorithm as id.
func blobID(id string, data []byte) string {
	sum := sha1.New() //nolint:gosec // git's hash
	if len(id) == hex.EncodedLen(sha256.Size) {
		sum = sha256.New()
	}
	fmt.Fprintf(sum, "blob %d\x00", len(data))
	_, _ = sum.Write(data)
	return hex.EncodeToString(sum.Sum(nil))
}
