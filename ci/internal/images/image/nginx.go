package image

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// The paths of the site and the configuration in the official Nginx images.
const (
	siteDir   = "usr/share/nginx/html"
	configDir = "etc/nginx"
)

// nginxImage adds the site and the Nginx configuration to an unprivileged Nginx
// image. Git and [IgnoreFile] select the files.
func (b Builder) nginxImage(ctx context.Context, service platform.Service) (Image, error) {
	files, err := b.siteFiles(ctx, service)
	if err != nil {
		return Image{}, err
	}
	layer, err := newLayer(cache{b.Cache}, files)
	if err != nil {
		return Image{}, err
	}
	bases, baseless, err := b.nginxBases(ctx)
	if err != nil {
		return Image{}, err
	}
	images := make([]v1.Image, len(b.Platforms))
	for n, target := range b.Platforms {
		images[n], err = addLayer(bases[n], layer, target, func(c *v1.Config) {
			c.Labels = withLabel(c.Labels, SiteLabel, "/"+siteDir)
			c.ExposedPorts = exposedPorts(service)
			if baseless == "" {
				c.Entrypoint, c.Cmd = []string{"nginx", "-g", "daemon off;"}, nil
				c.StopSignal = "SIGQUIT" // Nginx finishes requests on QUIT and drops them on TERM
			}
		})
		if err != nil {
			return Image{}, err
		}
	}
	index := newIndex(b.Platforms, images, annotations(service))
	img := Image{Service: service, Index: index, MissingBase: baseless}
	if baseless == "" {
		img.Bases = []Pin{b.Lock.Images["nginx"]}
	}
	if unlocked := b.Lock.UnlockedBase(service); unlocked != "" && baseless == "" {
		img.Note = "for this machine only: " + unlocked
	}
	return img, nil
}

// nginxBases returns the base image for each platform, or empty images and the
// reason.
func (b Builder) nginxBases(ctx context.Context) ([]v1.Image, string, error) {
	reference := b.Lock.Reference("nginx")
	bases := make([]v1.Image, len(b.Platforms))
	reason := "a rehearsal needs none"
	if !b.Offline {
		err := pullBases(ctx, reference, b.Platforms, bases)
		if err == nil {
			return bases, "", nil
		}
		if !errors.Is(err, errUnreachable) {
			return nil, "", err
		}
		if b.RequireBase {
			return nil, "", fmt.Errorf("%w, and without it the image is good for a rehearsal only (--without-base): check the network and the proxy of what builds", err)
		}
		reason = err.Error()
	}
	for n := range bases {
		bases[n] = scratch()
	}
	return bases, reason, nil
}

func withLabel(labels map[string]string, name, value string) map[string]string {
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[name] = value
	return labels
}

// siteFiles reads the files of a service's image: the site in site/ and, if a tool
// generates it, dist/; the configuration in nginx/.
func (b Builder) siteFiles(ctx context.Context, service platform.Service) ([]file, error) {
	var files []file
	empty, whole := true, false
	err := b.readCommitted(ctx, service, nil, func(root *os.Root, names []string) error {
		parts := siteParts
		if whole = b.isWholeFolder(service.Path, names); whole {
			parts = wholeFolder
		}
		for _, part := range parts {
			read, err := readFiles(root, service.Path, part.folder, part.target, names)
			if err != nil {
				return err
			}
			empty = empty && (len(read) == 0 || part.target != siteDir)
			files = append(files, read...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if empty {
		return nil, fmt.Errorf("%s/site has no file that git tracks: git add the site's files", service.Path)
	}
	if whole && !slices.ContainsFunc(files, func(f file) bool { return f.path == configDir+"/nginx.conf" }) {
		files = append(files, defaultConfig(service))
	}
	return files, nil
}

// wholeFolder are the parts of a service without a folder site: its pages are in the
// service's folder itself.
var wholeFolder = []sitePart{{".", siteDir}, {"nginx", configDir}}

// isWholeFolder reports whether the pages are in the service's folder itself, and no tool
// builds them.
func (b Builder) isWholeFolder(folder string, names []string) bool {
	return slices.Contains(names, "index.html") && !platform.HasAny(b.Source.Dir, folder, []string{"site", "dist", "package.json"})
}

// notPages matches files of such a folder that are not of the site: those of tools and of
// the pipeline.
var notPages = regexp.MustCompile(`^((nginx|terraform)/|ci/images\.lock\.json$|\.|.*/\.|dagger\.json$|Dockerfile$|[^/]*\.md$|LICENSE)`)

//go:embed nginx.conf
var nginxConf string

// defaultConfig returns the configuration of a site without one.
func defaultConfig(service platform.Service) file {
	var listen []string
	for _, port := range service.ImageOf().Ports {
		listen = append(listen, fmt.Sprintf("listen            %d;", port))
	}
	data := []byte(strings.Replace(nginxConf, "# listen", strings.Join(listen, "\n        "), 1))
	return file{path: configDir + "/nginx.conf", mode: 0o644, data: data, time: contentTime(data)}
}

// siteParts maps the folders of a service to their paths in the image.
var siteParts = []sitePart{
	{"site", siteDir}, {"dist", siteDir}, {"nginx", configDir},
}

type sitePart struct{ folder, target string }

// readCommitted calls read with the service's folder and the names of the files to include in
// its image, which wanted selects as in [Builder.imageFiles]. Then it checks that they are
// as in the commit.
func (b Builder) readCommitted(ctx context.Context, service platform.Service, wanted func(name string) bool, read func(root *os.Root, names []string) error) error {
	rules, err := readIgnore(b.Source.Dir, service.Path)
	if err != nil {
		return err
	}
	committed, err := b.Source.CommittedFiles(ctx, append(inputFiles(service), service.Path)...)
	if err != nil {
		return err
	}
	names, compared, err := b.imageFiles(ctx, committed, service.Path, rules, wanted)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Join(b.Source.Dir, filepath.FromSlash(service.Path)))
	if err != nil {
		return fmt.Errorf("reading %s: %w", service.Path, err)
	}
	defer root.Close()
	if err := read(root, names); err != nil {
		return err
	}
	return committed.Check(ctx, append(compared, inputFiles(service)...), b.RequireCommitted)
}

// imageFiles returns the files to include in a service's image, relative to its
// folder; and the files to compare with the commit, relative to the tree, some of
// which may be missing. wanted selects them; nil means those of a site.
func (b Builder) imageFiles(ctx context.Context, committed source.CommittedFiles, folder string, rules ignoreRules, wanted func(name string) bool) (included, compared []string, err error) {
	known, err := committed.In(folder)
	if err != nil {
		return nil, nil, err
	}
	names := map[string]bool{}
	for _, file := range known {
		enters, err := rules.includes(file.Name, true)
		if err != nil {
			return nil, nil, err
		}
		if !enters || leak.IsPrivateFile(file.Name) || wanted != nil && !wanted(file.Name) {
			continue
		}
		if file.Exists && file.Tracked {
			names[file.Name] = true
		}
		if part, _, _ := strings.Cut(file.Name, "/"); wanted != nil || slices.ContainsFunc(siteParts, func(p sitePart) bool { return p.folder == part }) {
			compared = append(compared, path.Join(folder, file.Name))
		}
	}
	if all := slices.Sorted(maps.Keys(names)); wanted == nil && b.isWholeFolder(folder, all) {
		for _, name := range all {
			compared = append(compared, path.Join(folder, name))
		}
	}
	for name := range maps.Clone(names) {
		target, err := b.linkTarget(folder, name)
		if err != nil || target == "" {
			continue // reading it reports the error
		}
		if made, err := rules.includes(target, false); err != nil || !made {
			compared = append(compared, path.Join(folder, target))
		}
	}
	if !rules.hasInclusions() {
		return slices.Sorted(maps.Keys(names)), compared, nil
	}
	top := filepath.Join(b.Source.Dir, filepath.FromSlash(folder))
	err = filepath.WalkDir(top, func(file string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || entry.IsDir() {
			return err
		}
		relative, err := filepath.Rel(top, file)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		enters, err := rules.includes(relative, false)
		if enters && !leak.IsPrivateFile(relative) && (wanted == nil || wanted(relative)) {
			names[relative] = true
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	return slices.Sorted(maps.Keys(names)), compared, nil
}

// linkTarget returns the file in the service's folder that a symbolic link resolves
// to, whose content the image gets; "" if name is not a symbolic link.
func (b Builder) linkTarget(folder, name string) (string, error) {
	top := filepath.Join(b.Source.Dir, filepath.FromSlash(folder))
	file := filepath.Join(top, filepath.FromSlash(name))
	if info, err := os.Lstat(file); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return "", err
	}
	top, err := filepath.EvalSymlinks(top)
	if err != nil {
		return "", err
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return "", err
	}
	relative, err := filepath.Rel(top, file)
	return filepath.ToSlash(relative), err
}

// readFiles reads the files of names below folder, to be placed below target. It
// follows symbolic links inside the folder and refuses a file that contains a
// secret.
func readFiles(root *os.Root, service, folder, target string, names []string) ([]file, error) {
	below, err := root.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s/%s: %w", service, folder, source.WithoutPath(err))
	}
	defer below.Close()
	var files []file
	for _, name := range names {
		inside, ok := strings.CutPrefix(name, folder+"/")
		if folder == "." {
			inside, ok = name, !notPages.MatchString(name)
		}
		if !ok {
			continue
		}
		f, err := readFile(below, inside, service, name)
		if err != nil {
			return nil, err
		}
		f.path = path.Join(target, inside)
		files = append(files, f)
	}
	return files, nil
}

// readFile reads a file of a service, whose path below root is inside.
func readFile(root *os.Root, inside, service, name string) (file, error) {
	full := path.Join(service, name)
	data, err := root.ReadFile(filepath.FromSlash(inside))
	if err != nil {
		return file{}, fmt.Errorf("reading %s: %w", source.Display(full), source.WithoutPath(err))
	}
	if err := checkLeak(full, data, service+"/"+IgnoreFile); err != nil {
		return file{}, err
	}
	return file{path: name, mode: 0o644, data: data, time: contentTime(data)}, nil
}

// checkLeak refuses a file of the tree that contains a secret.
func checkLeak(file string, data []byte, ignore string) error {
	found, leaks := leak.Find(data)
	if !leaks {
		return nil
	}
	return outcome.Refusedf("%s:%d contains %s, which anyone who can pull the image could read: remove it, or exclude the file in %s", source.Display(file), found.Line, found.Kind, ignore)
}
