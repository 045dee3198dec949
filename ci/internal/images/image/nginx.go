package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/source"
	"dagger/slipway/internal/images/leak"
	"dagger/slipway/internal/report/outcome"
)

// Where the official Nginx images look for a site and for their configuration.
const (
	siteFolder          = "usr/share/nginx/html"
	configurationFolder = "etc/nginx"
)

// nginxImage puts the site and the Nginx configuration on an unprivileged
// Nginx. What enters is said by git and [IgnoreFile].
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
			c.Labels = withLabel(c.Labels, SiteLabel, "/"+siteFolder)
			c.ExposedPorts = map[string]struct{}{strconv.Itoa(service.Port) + "/tcp": {}}
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
	img := Image{Service: service, Index: index, Baseless: baseless}
	if unlocked := b.Lock.Unlocked(service); unlocked != "" && baseless == "" {
		img.Note = "for this machine only: " + unlocked
	}
	return img, nil
}

// nginxBases is the base for each platform, or the empty image for each and
// the reason.
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
		if b.Whole {
			return nil, "", fmt.Errorf("%w, and without it the image is good for a rehearsal only: check the network and the proxy of what builds", err)
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

// siteFiles reads what the service's folder gives to its image: site/ and,
// where a tool writes the site, dist/, as well as the configuration in nginx/.
func (b Builder) siteFiles(ctx context.Context, service platform.Service) ([]file, error) {
	rules, err := readIgnore(b.Source.Dir, service.Path)
	if err != nil {
		return nil, err
	}
	held, err := b.Source.Held(ctx, append(deciding(service), service.Path)...)
	if err != nil {
		return nil, err
	}
	names, compared, err := b.names(ctx, held, service.Path, rules)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(filepath.Join(b.Source.Dir, filepath.FromSlash(service.Path)))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", service.Path, err)
	}
	defer root.Close()
	var files []file
	empty := true
	for _, part := range siteParts {
		read, err := readFiles(root, service.Path, part.folder, part.target, names)
		if err != nil {
			return nil, err
		}
		empty = empty && (len(read) == 0 || part.target != siteFolder)
		files = append(files, read...)
	}
	if err := held.Check(ctx, append(compared, deciding(service)...), b.Exact); err != nil {
		return nil, err
	}
	if empty {
		return nil, fmt.Errorf("%s/site has no file that git tracks: git add the site's files", service.Path)
	}
	return files, nil
}

// siteParts are the folders of a service that an image takes from, and where to.
var siteParts = []sitePart{
	{"site", siteFolder}, {"dist", siteFolder}, {"nginx", configurationFolder},
}

type sitePart struct{ folder, target string }

// names are the files of a service's folder that enter its image, relative to
// that folder, and those that the commit decides, relative to the tree: they are
// compared with it, and some of them may be missing.
func (b Builder) names(ctx context.Context, held source.Held, folder string, rules ignore) (entering, compared []string, err error) {
	known, err := held.Below(folder)
	if err != nil {
		return nil, nil, err
	}
	names := map[string]bool{}
	for _, file := range known {
		enters, err := rules.enters(file.Name, true)
		if err != nil {
			return nil, nil, err
		}
		if !enters || leak.Private(file.Name) {
			continue
		}
		if file.Here && file.Tracked {
			names[file.Name] = true
		}
		if part, _, _ := strings.Cut(file.Name, "/"); slices.ContainsFunc(siteParts, func(p sitePart) bool { return p.folder == part }) {
			compared = append(compared, path.Join(folder, file.Name))
		}
	}
	for name := range maps.Clone(names) {
		target, err := b.linked(folder, name)
		if err != nil || target == "" {
			continue // reading it says why
		}
		if made, err := rules.enters(target, false); err != nil || !made {
			compared = append(compared, path.Join(folder, target))
		}
	}
	if !rules.explicit() {
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
		enters, err := rules.enters(relative, false)
		if enters && !leak.Private(relative) {
			names[relative] = true
		}
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	return slices.Sorted(maps.Keys(names)), compared, nil
}

// linked is the file of the service's folder that a symbolic link leads to, whose
// content is what enters; "" for what is no link.
func (b Builder) linked(folder, name string) (string, error) {
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

// readFiles reads those of names that are below folder, for the same place
// below target. Symbolic links are followed as long as they stay inside the
// folder. A file with a secret in it is refused.
func readFiles(root *os.Root, service, folder, target string, names []string) ([]file, error) {
	below, err := root.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s/%s: %w", service, folder, cause(err))
	}
	defer below.Close()
	var files []file
	for _, name := range names {
		inside, ok := strings.CutPrefix(name, folder+"/")
		if !ok {
			continue
		}
		full := path.Join(service, name)
		data, err := below.ReadFile(filepath.FromSlash(inside))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", source.Display(full), cause(err))
		}
		if found, leaks := leak.Find(data); leaks {
			return nil, outcome.Refusedf("%s:%d has %s, which everybody who may pull the image could read: remove it, or keep the file out with %s/%s", source.Display(full), found.Line, found.Kind, service, IgnoreFile)
		}
		files = append(files, file{path: path.Join(target, inside), mode: 0o644, data: data, time: contentTime(data)})
	}
	return files, nil
}

// cause is err without the path in it, which its reader names better.
func cause(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
