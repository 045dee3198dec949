package image

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/slipway/internal/platform"
)

// Where the official Nginx images look for a site and for their configuration.
const (
	siteFolder          = "usr/share/nginx/html"
	configurationFolder = "etc/nginx"
)

// nginxImage puts the site and the Nginx configuration on an unprivileged
// Nginx. Only files that git tracks enter.
func (b Builder) nginxImage(ctx context.Context, service platform.Service) (Image, error) {
	files, err := b.siteFiles(ctx, service)
	if err != nil {
		return Image{}, err
	}
	layer, err := newLayer(files)
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
	return Image{Service: service.Name, Index: index, Baseless: baseless}, nil
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

// siteFiles reads the service's site/ and nginx/ folders.
func (b Builder) siteFiles(ctx context.Context, service platform.Service) ([]file, error) {
	site, err := b.trackedFiles(ctx, path.Join(service.Path, "site"), siteFolder)
	if err != nil {
		return nil, err
	}
	if len(site) == 0 {
		return nil, fmt.Errorf("%s/site has no file that git tracks: git add the site's files", service.Path)
	}
	folder := path.Join(service.Path, "nginx")
	if _, err := os.Stat(filepath.Join(b.Source.Dir, filepath.FromSlash(folder))); errors.Is(err, os.ErrNotExist) {
		return site, nil
	}
	configuration, err := b.trackedFiles(ctx, folder, configurationFolder)
	return append(site, configuration...), err
}

// trackedFiles reads the files below folder that git tracks. Symbolic links
// are followed as long as they stay inside the folder.
func (b Builder) trackedFiles(ctx context.Context, folder, target string) ([]file, error) {
	names, err := b.Source.Files(ctx, folder)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(filepath.Join(b.Source.Dir, filepath.FromSlash(folder)))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", folder, err)
	}
	defer root.Close()
	var files []file
	for _, name := range names {
		data, err := root.ReadFile(filepath.FromSlash(name))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path.Join(folder, name), err)
		}
		files = append(files, file{path: path.Join(target, name), mode: 0o644, data: data, time: contentTime(data)})
	}
	return files, nil
}
