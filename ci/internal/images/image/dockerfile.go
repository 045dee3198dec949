package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// InputsAnnotation is the annotation of the index of a Dockerfile's image with the digest
// of everything that it was built from. Such builds are not reproducible, so a
// service is unchanged if this digest is.
const InputsAnnotation = "dev.slipway.inputs"

// InputsTag returns the tag by which an image of the same inputs is found; "" for an
// image that was not built from a Dockerfile.
func (i Image) InputsTag() string {
	manifest, err := i.Index.IndexManifest()
	if err != nil || i.MissingBase != "" {
		return ""
	}
	return inputsTag(manifest.Annotations[InputsAnnotation])
}

func inputsTag(digest string) string {
	if digest == "" {
		return ""
	}
	return "inputs-" + strings.TrimPrefix(digest, "sha256:")
}

// DockerfileBuild is the build of a Dockerfile for one platform.
type DockerfileBuild struct {
	// Name is shown in reports and traces.
	Name string
	// Dir is a directory with the context and, named by Dockerfile, the Dockerfile.
	Dir      string
	Platform v1.Platform
	Build    platform.Build
	// Secrets are the values of the build secrets, by id.
	Secrets leak.Values
}

// The contents of [DockerfileBuild.Dir].
const (
	ContextFolder  = "context"
	DockerfileName = "Dockerfile"
	// ArchiveName and LayoutName are what a builder writes: an archive of one image in the
	// format of docker save or OCI's, or an OCI layout.
	ArchiveName = "image.tar"
	LayoutName  = "layout"
)

// DockerfileBuilder builds Dockerfiles. An executor that is one, as that of the Dagger
// module, is used instead of the programs of this machine.
type DockerfileBuilder interface {
	// BuildSecret returns the value of a build secret; ok is false if there is none.
	BuildSecret(ctx context.Context, id string) (value string, ok bool, err error)
	// BuildDockerfile builds an image and writes it to the directory of the build, as
	// [ArchiveName] or [LayoutName]. If the build fails, the error is a [*BuildError].
	BuildDockerfile(ctx context.Context, build DockerfileBuild) error
}

// BuildError is the error of a failed build of a Dockerfile.
type BuildError struct {
	// Builder is the name of the program, and Output what it wrote.
	Builder, Output string
}

// outputLines is the number of lines of a builder's output in an error.
const outputLines = 20

func (e *BuildError) Error() string {
	lines := strings.Split(strings.TrimSpace(e.Output), "\n")
	return e.Builder + " failed: " + strings.Join(lines[max(0, len(lines)-outputLines):], "\n")
}

// dockerfileImage builds the service's Dockerfile for each platform. The context has the
// service's files that git tracks, without those that the ignore file excludes.
func (b Builder) dockerfileImage(ctx context.Context, service platform.Service) (Image, error) {
	files, err := b.contextFiles(ctx, service)
	if err != nil {
		return Image{}, err
	}
	inputs, err := inputsDigest(service, b.Platforms, files)
	if err != nil {
		return Image{}, err
	}
	if b.Published != nil {
		index, err := b.Published(ctx, service.Repository(), inputsTag(inputs))
		if err != nil || index != nil {
			return Image{Service: service, Index: index}, err
		}
	}
	builder, err := b.dockerfileBuilder(ctx)
	if err != nil {
		if b.Offline && errors.Is(err, errNoBuilder) {
			return b.standIn(service, errNoBuilder.Error())
		}
		return Image{}, err
	}
	secrets, err := buildSecrets(ctx, builder, service)
	if err != nil {
		return Image{}, err
	}
	var platforms []v1.Platform
	var images []v1.Image
	for _, target := range b.Platforms { // sequentially: each builder uses all cores
		img, err := b.buildDockerfile(ctx, builder, service, target, files, secrets)
		if failed := (*BuildError)(nil); errors.As(err, &failed) {
			switch {
			case b.Offline && unreachable.MatchString(failed.Output):
				return b.standIn(service, "a registry of its Dockerfile "+errUnreachable.Error())
			case foreign.MatchString(failed.Output) && !target.Satisfies(HostPlatform()) && !required(service, target) && len(b.Platforms) > 1:
				continue
			}
		}
		if err != nil {
			return Image{}, err
		}
		platforms, images = append(platforms, target), append(images, img)
	}
	has := "the builder cannot run programs of other platforms than " + HostPlatform().String()
	if err := b.checkArchitectures(service, platforms, has); err != nil {
		return Image{}, err
	}
	index := mutate.Annotations(newIndex(platforms, images, annotations(service)), map[string]string{InputsAnnotation: inputs}).(v1.ImageIndex)
	return Image{Service: service, Index: index, Note: b.missingPlatforms(platforms, has)}, nil
}

// The outputs of builders when they cannot run programs of another platform, find no
// base image for it, or cannot reach a registry.
var (
	foreign     = regexp.MustCompile(`(?i)exec format error|no match for platform|no image found in (?:manifest list|image index) for|does not match the specified platform|no matching manifest`)
	unreachable = regexp.MustCompile(`(?i)dial tcp|no such host|i/o timeout|connection refused|TLS handshake timeout|network is unreachable|proxyconnect tcp`)
)

// buildSecrets returns the values of the service's build secrets.
func buildSecrets(ctx context.Context, builder DockerfileBuilder, service platform.Service) (leak.Values, error) {
	values := leak.Values{}
	for _, id := range service.BuildSecrets {
		value, ok, err := builder.BuildSecret(ctx, id)
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading build secret %s: %w", id, err)
		case !ok || strings.TrimSpace(value) == "":
			return nil, outcome.Usagef("build secret %s of %s has no value: set the environment variable %s, or with Dagger --build-secrets=env://%s", id, service.Name, id, id)
		}
		values[id] = value
	}
	return values, nil
}

// buildDockerfile builds the image of one platform and reads it.
func (b Builder) buildDockerfile(ctx context.Context, builder DockerfileBuilder, service platform.Service, target v1.Platform, files []contextFile, secrets leak.Values) (v1.Image, error) {
	dir, err := os.MkdirTemp("", "slipway-dockerfile-")
	if err != nil {
		return nil, fmt.Errorf("creating a temporary directory for the build: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := writeContext(dir, service, files); err != nil {
		return nil, fmt.Errorf("copying the build context: %w", err)
	}
	err = builder.BuildDockerfile(ctx, DockerfileBuild{
		Name: fmt.Sprintf("build the Dockerfile of %s for %s", service.Name, target),
		Dir:  dir, Platform: target, Build: service.Build, Secrets: secrets,
	})
	if failed := (*BuildError)(nil); errors.As(err, &failed) {
		failed.Output = leak.Redact(secrets.Redact(strings.ReplaceAll(failed.Output, dir+string(filepath.Separator), "")))
		return nil, fmt.Errorf("%s for %s: %w", service.DockerfilePath(), target, failed)
	}
	if err != nil {
		return nil, err
	}
	img, err := openBuilt(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the image that was built from %s: %w", service.DockerfilePath(), err)
	}
	return img, checkSecrets(service, img, secrets)
}

// checkSecrets refuses an image that contains a build secret.
func checkSecrets(service platform.Service, img v1.Image, secrets leak.Values) error {
	if len(secrets) == 0 {
		return nil
	}
	refusal := func(id, at string) error {
		return outcome.Usagef("build secret %s of %s is in %s of the image, which anyone who can pull it could read: use it in %s only with RUN --mount=type=secret,id=%s, and write it to no file", id, service.Name, at, service.DockerfilePath(), id)
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	if id, _ := secrets.Find(bytes.NewReader(config)); id != "" {
		return refusal(id, "the configuration or history")
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for n, layer := range layers {
		content, err := layer.Uncompressed()
		if err != nil {
			return fmt.Errorf("reading layer %d: %w", n+1, err)
		}
		id, err := secrets.Find(content)
		_ = content.Close()
		if err != nil {
			return fmt.Errorf("reading layer %d: %w", n+1, err)
		}
		if id != "" {
			return refusal(id, fmt.Sprintf("layer %d", n+1))
		}
	}
	return nil
}

// contextFile is a file of a build context. Its name is relative to the service's
// folder; that of a Dockerfile outside of it begins with "..".
type contextFile struct {
	name   string
	mode   fs.FileMode // permission bits
	link   string      // target, of a symbolic link
	data   []byte
	hidden bool // the Dockerfile, which the ignore file excludes from the context
}

// contextFiles reads the files of a Dockerfile's build: those of the service's folder that
// git tracks and the ignore file does not exclude, and the Dockerfile. It refuses files
// that differ from the commit or contain a secret.
func (b Builder) contextFiles(ctx context.Context, service platform.Service) ([]contextFile, error) {
	dockerfile, err := filepath.Rel(filepath.FromSlash(service.Path), filepath.FromSlash(service.DockerfilePath()))
	if err != nil {
		return nil, outcome.Usagef("dockerfile %q of %s: %w", service.Dockerfile, service.Name, err)
	}
	dockerfile = filepath.ToSlash(dockerfile)
	ignore := path.Join(service.Path, IgnoreFile)
	if own := service.DockerfilePath() + IgnoreFile; b.isFile(own) { // as BuildKit does
		ignore = own
	}
	rules, err := readIgnoreFile(b.Source.Dir, ignore)
	if err != nil {
		return nil, err
	}
	committed, err := b.Source.CommittedFiles(ctx, append(inputFiles(service), service.Path, service.DockerfilePath(), ignore)...)
	if err != nil {
		return nil, err
	}
	known, err := committed.In(service.Path)
	if err != nil {
		return nil, err
	}
	compared := append(inputFiles(service), service.DockerfilePath(), ignore)
	names := map[string]bool{dockerfile: false} // whether the context has it
	for _, file := range known {
		enters, err := rules.includes(file.Name, true)
		if err != nil {
			return nil, err
		}
		if !enters || leak.IsPrivateFile(file.Name) || file.Name == IgnoreFile { // its rules are applied here
			continue
		}
		compared = append(compared, path.Join(service.Path, file.Name))
		if file.Exists && file.Tracked {
			names[file.Name] = true
		}
	}
	if err := committed.Check(ctx, compared, b.RequireCommitted); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(b.Source.Dir)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", service.Path, err)
	}
	defer root.Close()
	var files []contextFile
	for _, name := range slices.Sorted(maps.Keys(names)) {
		full := path.Join(service.Path, name)
		file, err := readContextFile(root, full)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", source.Display(full), source.WithoutPath(err))
		}
		if file.link != "" && name == dockerfile {
			return nil, outcome.Usagef("%s is a symbolic link: set dockerfile of %s to the file itself, such as %q", source.Display(full), service.Name, path.Join(path.Dir(name), file.link))
		}
		if err := checkLeak(full, file.data, ignore); err != nil {
			return nil, err
		}
		file.name, file.hidden = name, !names[name]
		files = append(files, file)
	}
	return files, nil
}

func (b Builder) isFile(name string) bool {
	info, err := os.Stat(filepath.Join(b.Source.Dir, filepath.FromSlash(name)))
	return err == nil && info.Mode().IsRegular()
}

// readContextFile reads a file of the tree. Its mode is that of git.
func readContextFile(root *os.Root, name string) (contextFile, error) {
	name = filepath.FromSlash(name)
	info, err := root.Lstat(name)
	if err != nil {
		return contextFile{}, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := root.Readlink(name)
		return contextFile{link: filepath.ToSlash(target)}, err
	}
	data, err := root.ReadFile(name)
	if info.Mode()&0o100 != 0 {
		return contextFile{data: data, mode: 0o755}, err
	}
	return contextFile{data: data, mode: 0o644}, err
}

// writeContext writes the directory of a build.
func writeContext(dir string, service platform.Service, files []contextFile) error {
	top := filepath.Join(dir, ContextFolder)
	if err := os.Mkdir(top, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		name := filepath.Join(top, filepath.FromSlash(file.name))
		if path.Join(service.Path, file.name) == service.DockerfilePath() {
			if err := os.WriteFile(filepath.Join(dir, DockerfileName), file.data, 0o644); err != nil {
				return err
			}
		}
		if file.hidden {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		var err error
		if file.link != "" {
			err = os.Symlink(filepath.FromSlash(file.link), name)
		} else {
			err = os.WriteFile(name, file.data, file.mode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inputsDigest returns the digest of everything that a Dockerfile's image is built from:
// the files, the settings of the entry, the platforms. It does not cover what the
// Dockerfile fetches, such as a base image that is named by a tag, nor the values of
// build secrets, which a digest could reveal.
func inputsDigest(service platform.Service, platforms []v1.Platform, files []contextFile) (string, error) {
	sum := sha256.New()
	settings, err := json.Marshal(struct {
		Version       int
		Build         string
		Platforms     []string
		Architectures []string
	}{1, service.Key(), platformNames(platforms), slices.Sorted(slices.Values(service.ImageOf().Architectures))})
	if err != nil {
		return "", err
	}
	fmt.Fprintf(sum, "%s\n", settings)
	for _, file := range files {
		content := sha256.Sum256(file.data)
		fmt.Fprintf(sum, "%q %v %q %t %x\n", file.name, file.mode, file.link, file.hidden, content)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), nil
}
