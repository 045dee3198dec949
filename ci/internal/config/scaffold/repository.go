package scaffold

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"golang.org/x/mod/modfile"

	"github.com/slipway-cd/slipway/ci/internal/config/detect"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/version"
)

// repositoryTemplates are the files that call the pipeline by its version.
//
//go:embed repository
var repositoryTemplates embed.FS

// The files that [Init] writes, beside the services file.
const (
	platformRoot  = "terraform/main.tf"
	platformLock  = "terraform/.terraform.lock.hcl"
	bootstrapRoot = "terraform/bootstrap/main.tf"
	bootstrapLock = "terraform/bootstrap/.terraform.lock.hcl"
	daggerModule  = "dagger.json"
	workflows     = ".github/workflows"
)

// DefaultWorkflow is the file name of the workflow.
const DefaultWorkflow = "ci.yml"

// daggerEngine is the version of the Dagger engine that the module needs.
const daggerEngine = "v0.21.8"

// servicesPart is the services file: without it, that of the repository stays.
const servicesPart = "services"

// parts are what can be left out of a repository.
var parts = []string{servicesPart, "terraform", "workflow", "dagger"}

// InitOptions are the options of [Init].
type InitOptions struct {
	Choices
	// Version is the release of slipway that the files name.
	Version string
	// GitHub is the repository on GitHub, as OWNER/REPO; "" means that of the remote
	// "origin", if it is on GitHub.
	GitHub string
	// Region is the AWS region.
	Region string
	// Workflow is the file name of the workflow; "" means [DefaultWorkflow].
	Workflow string
	// Without are the parts to leave out: services, terraform, workflow, dagger.
	Without []string
	// Force replaces existing files.
	Force bool
}

// NamesVersion reports whether a file to write names the release of slipway.
func (o InitOptions) NamesVersion() bool {
	return slices.ContainsFunc(parts, func(part string) bool { return part != servicesPart && !slices.Contains(o.Without, part) })
}

// repository is a repository to which the pipeline is added.
type repository struct {
	tree    source.Tree
	options InitOptions
	data    repositoryData
	// top is the path from the tree to the root of the repository, such as "../..".
	top string
}

// repositoryData is the data of the templates.
type repositoryData struct {
	Name, GitHub, Branch, Folder, Region, DefaultRegion, Workflow, Version, Repository, Action, Engine string
}

// Init adds the pipeline to the repository at dir: the services file, and the files that call
// the pipeline by its version. It writes all or nothing.
func Init(ctx context.Context, dir string, o InitOptions) (Initialized, error) {
	r, err := openRepository(ctx, dir, o)
	if err != nil {
		return Initialized{}, err
	}
	result, err := r.services(ctx)
	if err != nil {
		return Initialized{}, err
	}
	if result.Files, err = r.write(ctx, result.Services); err != nil {
		return Initialized{}, err
	}
	result.Version, result.Next = o.Version, followingCommands
	return result, nil
}

// openRepository checks a repository and the options, and that no file is in the way. It
// writes nothing.
func openRepository(ctx context.Context, dir string, o InitOptions) (*repository, error) {
	tree, err := source.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	if _, err := tree.Revision(ctx); err != nil {
		return nil, err
	}
	r := &repository{tree: tree, options: o}
	if err := r.describe(ctx); err != nil {
		return nil, err
	}
	return r, r.checkFiles()
}

var (
	gitHubName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$`)
	workflowName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*\.ya?ml$`)
)

// describe fills the data of the templates.
func (r *repository) describe(ctx context.Context) error {
	o := r.options
	origin, err := r.tree.Origin(ctx)
	if err != nil {
		return err
	}
	_, gitHub, _ := strings.Cut(origin.Repository, "://github.com/")
	folder, top, err := r.tree.Prefix(ctx)
	if err != nil {
		return err
	}
	r.top = top
	r.data = repositoryData{
		Folder: folder, GitHub: cmp.Or(o.GitHub, gitHub), Branch: "main", Region: cmp.Or(o.Region, platform.DefaultRegion), DefaultRegion: platform.DefaultRegion,
		Workflow: cmp.Or(o.Workflow, DefaultWorkflow), Version: o.Version, Repository: version.Repository,
		Action: strings.TrimPrefix(version.Repository, "github.com/"), Engine: daggerEngine,
	}
	switch {
	case r.data.GitHub != "" && !gitHubName.MatchString(r.data.GitHub):
		return outcome.Usagef("invalid --github %q: want OWNER/REPO", r.data.GitHub)
	case !platform.IsRegion(r.data.Region):
		return outcome.Usagef("invalid --region %q: want an AWS region like %s", r.data.Region, platform.DefaultRegion)
	case !workflowName.MatchString(r.data.Workflow):
		return outcome.Usagef("invalid --workflow %q: want a file name like %s", r.data.Workflow, DefaultWorkflow)
	}
	for _, part := range o.Without {
		if !slices.Contains(parts, part) {
			return outcome.Usagef("invalid --without %q: want of %s", part, strings.Join(parts, ", "))
		}
	}
	if head, err := r.tree.Git(ctx, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"); err == nil {
		r.data.Branch = strings.TrimPrefix(strings.TrimSpace(head), "origin/")
	}
	r.data.Name = r.name()
	return nil
}

// name returns the tree's name: that of the repository on GitHub, of the Go module in its
// root, or of its folder.
func (r *repository) name() string {
	if r.data.GitHub != "" && r.data.Folder == "" {
		return path.Base(r.data.GitHub)
	}
	if data, err := os.ReadFile(filepath.Join(r.tree.Dir, "go.mod")); err == nil && modfile.ModulePath(data) != "" {
		return path.Base(modfile.ModulePath(data))
	}
	full, err := filepath.Abs(r.tree.Dir)
	if err != nil {
		return "services"
	}
	return filepath.Base(full)
}

// targets returns the files to write and their templates; "" for the services file.
func (r *repository) targets() []file {
	var files []file
	add := func(part, name, from string) {
		if !slices.Contains(r.options.Without, part) {
			files = append(files, file{name, []byte(from)})
		}
	}
	add(servicesPart, platform.ServicesFile, "")
	add("terraform", platformRoot, "main.tf.tmpl")
	add("terraform", platformLock, "terraform.lock.hcl") // plan does not write one
	add("terraform", bootstrapRoot, "bootstrap.tf.tmpl")
	add("terraform", bootstrapLock, "terraform.lock.hcl")
	add("workflow", path.Join(r.top, workflows, r.data.Workflow), "workflow.yml.tmpl")
	add("dagger", daggerModule, "dagger.json.tmpl")
	return files
}

// checkFiles checks that no file is in the way.
func (r *repository) checkFiles() error {
	for _, target := range r.targets() {
		if err := r.checkFolder(target.name); err != nil {
			return err
		}
		at := filepath.Join(r.tree.Dir, filepath.FromSlash(target.name))
		info, err := os.Lstat(at)
		if err == nil && !info.Mode().IsRegular() {
			return outcome.Usagef("%s is no regular file: remove it", target.name)
		}
		if err == nil && !r.options.Force {
			return existsError(target.name)
		}
		if ext := path.Ext(target.name); path.Dir(target.name) == path.Join(r.top, workflows) && err != nil {
			other := strings.TrimSuffix(target.name, ext) + map[string]string{".yml": ".yaml", ".yaml": ".yml"}[ext]
			if _, err := os.Lstat(filepath.Join(r.tree.Dir, filepath.FromSlash(other))); err == nil {
				return existsError(other)
			}
		}
	}
	return nil
}

// checkFolder checks that the folders of a file are folders, and no links.
func (r *repository) checkFolder(name string) error {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if info, err := os.Lstat(filepath.Join(r.tree.Dir, filepath.FromSlash(dir))); err == nil && !info.IsDir() {
			return outcome.Usagef("%s is no folder, so %s cannot be written: rename it", dir, name)
		}
	}
	return nil
}

func existsError(name string) error {
	mend := "replace it with --force"
	switch {
	case name == platform.ServicesFile:
		mend = "keep it with --without services, or replace it with --force"
	case strings.Contains(name, workflows+"/"):
		mend = "name another with --workflow FILE, such as slipway.yml, or replace it with --force"
	case strings.HasPrefix(name, "terraform/"):
		mend = "leave it with --without terraform, or replace it with --force"
	case name == daggerModule:
		mend = "leave it with --without dagger and run dagger install, or replace it with --force"
	}
	return outcome.Usagef("%s exists and is not overwritten: %s", name, mend)
}

// services returns the services of the services file, if that stays, or else those that
// the repository's files have.
func (r *repository) services(ctx context.Context) (Initialized, error) {
	var result Initialized
	if slices.Contains(r.options.Without, servicesPart) {
		p, err := platform.LoadTree(ctx, r.tree)
		for _, s := range p.Services {
			result.Services = append(result.Services, newTaken(s, "it is in "+platform.ServicesFile))
		}
		return result, err
	}
	found, err := detect.Find(ctx, r.tree, r.data.Name)
	if err != nil {
		return Initialized{}, err
	}
	if len(found) == 0 {
		return Initialized{}, r.nothingFound(ctx)
	}
	chosen, err := r.options.choose(found)
	if err != nil {
		return Initialized{}, err
	}
	entries, err := r.options.entries(chosen)
	if err != nil {
		return Initialized{}, err
	}
	for n, entry := range entries {
		result.Services = append(result.Services, newTaken(entry, chosen[n].Reasons...))
	}
	for _, candidate := range found {
		if !slices.ContainsFunc(chosen, func(c detect.Candidate) bool { return c.Describe() == candidate.Describe() }) {
			result.Skipped = append(result.Skipped, Skipped{candidate.Describe(), cmp.Or(candidate.Not, "not chosen")})
		}
	}
	return result, nil
}

// nothingFound is the error of a repository without services.
func (r *repository) nothingFound(ctx context.Context) error {
	mend := "add one, or read a cluster with --from-ecs CLUSTER"
	if r.data.Folder != "" {
		mend = "it is the folder " + r.data.Folder + " of a repository: run slipway init --source " + filepath.Join(r.tree.Dir, r.top)
	}
	if list, err := r.tree.Git(ctx, "ls-files", "-s"); err == nil {
		for line := range strings.Lines(list) {
			info, name, _ := strings.Cut(strings.TrimSpace(line), "\t")
			switch {
			case strings.HasPrefix(info, "160000 "):
				mend = name + " is a submodule, a repository of its own: run slipway init in it"
			case path.Base(name) == "go.mod":
				mend = name + " is of a library: add a main package, or read a cluster with --from-ecs CLUSTER"
			}
		}
	}
	return outcome.Usagef("no service found in %s: no file that git tracks is a Go main package, a Dockerfile or an index.html: %s", r.tree.Dir, mend)
}

// write writes the files and returns their names.
func (r *repository) write(ctx context.Context, services []Taken) ([]string, error) {
	var entries []platform.Service
	for _, s := range services {
		entries = append(entries, s.Entry)
	}
	encoded := platform.Encode(entries)
	p, err := platform.Parse(encoded)
	if err == nil {
		err = p.CheckFolders(r.tree.Dir)
	}
	if err != nil {
		return nil, outcome.With(outcome.Usage, err)
	}
	files := r.targets()
	for n, target := range files {
		if len(target.data) == 0 {
			files[n].data = encoded
			continue
		}
		if files[n].data, err = r.render(string(target.data)); err != nil {
			return nil, err
		}
	}
	ignore, err := r.ignore(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		names = append(names, f.name)
	}
	if ignore != nil {
		names = append(names, ignore.name+" (extended)")
	}
	if err := r.writeFiles(files, ignore); err != nil {
		return nil, fmt.Errorf("adding the pipeline: %w: nothing was written", err)
	}
	return names, nil
}

func (r *repository) render(name string) ([]byte, error) {
	parsed, err := template.New(name).Delims("[[", "]]").ParseFS(repositoryTemplates, path.Join("repository", name))
	if err != nil {
		return nil, err
	}
	var content bytes.Buffer
	if err := parsed.Execute(&content, r.data); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

// ignored are the files of tools that git must not track: a pattern and a file of each.
var ignored = [][2]string{{".slipway/", ".slipway/file"}, {".terraform/", ".terraform/file"}, {"*.tfstate*", "bootstrap/terraform.tfstate"}}

// ignore returns the .gitignore with what tools write; nil if git ignores that already.
func (r *repository) ignore(ctx context.Context) (*file, error) {
	var missing string
	for _, i := range ignored {
		if _, err := r.tree.Git(ctx, "check-ignore", "--quiet", "--no-index", "terraform/"+i[1]); err != nil {
			missing += i[0] + "\n"
		}
	}
	if missing == "" {
		return nil, nil //nolint:nilnil // none is needed
	}
	const name = ".gitignore"
	before, err := os.ReadFile(filepath.Join(r.tree.Dir, name))
	if err != nil {
		if _, exists := os.Lstat(filepath.Join(r.tree.Dir, name)); exists == nil {
			return nil, outcome.Usagef("%s cannot be read (%w): remove it", name, source.WithoutPath(err))
		}
	}
	if len(before) > 0 && !bytes.HasSuffix(before, []byte("\n")) {
		before = append(before, '\n')
	}
	return &file{name, append(before, missing...)}, nil
}

// writeFiles writes the files, all or nothing. Without force, one that exists meanwhile is an
// error.
func (r *repository) writeFiles(files []file, ignore *file) (err error) {
	var done undo
	defer done.after(&err)
	put := func(f file, replaces bool) error {
		name := filepath.Join(r.tree.Dir, filepath.FromSlash(f.name))
		if err := done.makeParent(name); err != nil {
			return err
		}
		if _, err := os.Lstat(name); err == nil && replaces {
			return done.replace(name, f.data)
		}
		err := source.CreateFileAtomic(name, f.data, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return existsError(f.name)
		}
		if err == nil {
			done = append(done, func() error { return os.Remove(name) })
		}
		return err
	}
	for _, f := range files {
		if err := put(f, r.options.Force); err != nil {
			return err
		}
	}
	if ignore == nil {
		return nil
	}
	return put(*ignore, true)
}
