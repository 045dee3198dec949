package pipeline

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/scaffold"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/release/adopt"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/version"
)

// Init adds the pipeline to a repository. named is the release that the files name; ""
// means that of this build. The services file names none.
func (p Pipeline) Init(ctx context.Context, named string, o scaffold.InitOptions) (result scaffold.Initialized, err error) {
	if named != "" || o.NamesVersion() {
		if o.Version, err = p.versions().Resolve(ctx, "--version", named); err != nil {
			return result, err
		}
	}
	return scaffold.Init(ctx, p.Dir, o)
}

// Upgrade moves the release that the files of the repository name; to "" means to that of
// this build, but not back from a newer one. With check it writes nothing.
func (p Pipeline) Upgrade(ctx context.Context, to string, check bool) (result scaffold.Upgraded, err error) {
	resolver, named := p.versions(), to != ""
	if to, err = resolver.Resolve(ctx, "--to", to); err != nil {
		return result, err
	}
	tree, err := source.Open(ctx, p.Dir)
	if err != nil {
		return result, err
	}
	return scaffold.Upgrade(ctx, tree, to, scaffold.UpgradeOptions{Known: resolver.Known, Check: check, Forward: !named})
}

func (p Pipeline) versions() version.Resolver {
	if p.Versions.Exists == nil {
		return version.NewResolver()
	}
	return p.Versions
}

// FromECSOptions are the options of [Pipeline.InitFromECS].
type FromECSOptions struct {
	// Cluster is the name of an ECS cluster.
	Cluster string
	// Out is the file to write; "" means [platform.ServicesFile] in the source tree.
	Out string
	// Force replaces an existing file.
	Force bool
	// Paths are the folders of entries whose source is in the tree, as NAME=FOLDER. NAME is
	// that of the entry or of the ECS service.
	Paths []string
}

// InitFromECS writes a services file from what an ECS cluster runs.
func (p Pipeline) InitFromECS(ctx context.Context, o FromECSOptions) (adopt.Written, error) {
	out := cmp.Or(o.Out, filepath.Join(p.Dir, filepath.FromSlash(platform.ServicesFile)))
	if err := adopt.CheckTarget(out, o.Force); err != nil {
		return adopt.Written{}, err
	}
	folders, err := p.folders(o.Paths)
	if err != nil {
		return adopt.Written{}, err
	}
	var environment platform.Environment // a tree without a services file may have none
	if p.Environment != "" {
		if environment, err = platform.SelectEnvironment(p.Dir, p.Environment); err != nil {
			return adopt.Written{}, err
		}
	}
	config, err := p.account(ctx, environment)
	if err != nil {
		return adopt.Written{}, err
	}
	var names []string
	used := map[string]bool{}
	reader := adopt.Reader{ECS: ecs.NewFromConfig(config), ELB: elb.NewFromConfig(config), Build: func(entry, service string) (platform.Build, bool) {
		names = append(names, entry)
		for _, name := range []string{entry, service} {
			if build, ok := folders[name]; ok {
				used[name] = true
				return build, true
			}
		}
		return platform.Build{}, false
	}}
	entries, notes, err := reader.Read(ctx, o.Cluster)
	if err != nil {
		return adopt.Written{}, awsauth.Explain(err)
	}
	for name := range folders {
		if !used[name] {
			return adopt.Written{}, outcome.Usagef("invalid --path %s=%s: no service of cluster %s has that name%s", name, folders[name].Path, o.Cluster, nearest(name, names))
		}
	}
	if err := adopt.Write(out, platform.Encode(entries), o.Force); err != nil {
		return adopt.Written{}, err
	}
	written := adopt.Written{Cluster: o.Cluster, File: out, Notes: notes}
	for _, entry := range entries {
		written.Services = append(written.Services, adopt.Entry{Name: entry.Name, Service: entry.ServiceName(), Kind: string(entry.Kind)})
	}
	return written, nil
}

func nearest(name string, names []string) string {
	if near := outcome.Nearest(name, names); near != "" {
		return ": did you mean " + near + "?"
	}
	return ": it has " + strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

// folders returns how the images of entries are built from their folders, by name.
func (p Pipeline) folders(paths []string) (map[string]platform.Build, error) {
	builds := map[string]platform.Build{}
	for _, pair := range paths {
		name, folder, ok := strings.Cut(pair, "=")
		if !ok || name == "" || !filepath.IsLocal(folder) {
			return nil, outcome.Usagef("invalid --path %q: want NAME=FOLDER, with a folder of the source tree, such as api=services/api", pair)
		}
		build := platform.Build{Path: filepath.ToSlash(filepath.Clean(folder))}
		for _, kind := range []platform.Kind{platform.Dockerfile, platform.Go, platform.Nginx} {
			if build.Kind == "" && platform.HasAny(p.Dir, build.Path, platform.Build{Kind: kind}.RequiredFiles()) {
				build.Kind = kind
			}
		}
		if build.Kind == "" {
			return nil, outcome.Usagef("invalid --path %s: folder %s has no Dockerfile, no go.mod and no site: name the folder that the image is built from", pair, build.Path)
		}
		builds[name] = build
	}
	return builds, nil
}
