package preflight

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dagger/slipway/internal/rollout"
)

// ecrHost is the host of a private registry, with its account and region.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
var ecrHost = regexp.MustCompile(`^(\d{12})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com|amazonaws\.com\.cn|on\.aws)$`)

// image is a reference in its parts.
type image struct{ host, repository, digest string }

// parseImage takes a reference apart. The host is empty for Docker Hub's short
// names, the digest for a reference by tag.
func parseImage(ref string) image {
	name, digest, _ := strings.Cut(ref, "@")
	host, repository, nested := strings.Cut(name, "/")
	if !nested || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, repository = "", name
	}
	if last := strings.LastIndexByte(repository, '/') + 1; strings.Contains(repository[last:], ":") {
		repository = repository[:last+strings.IndexByte(repository[last:], ':')]
	}
	return image{host, repository, digest}
}

// accepted are the media types that ECR may answer with: every kind of image and
// index. Without them it would convert an index to one of its images.
var accepted = []string{
	string(types.OCIImageIndex), string(types.DockerManifestList), string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}

// checkImages wants every image to be in its repository, for the platform that
// the task definition asks for.
func (r *round) checkImages(ctx context.Context) {
	wanted := users[image]{}
	platforms := map[image]users[string]{} // by os/architecture
	for _, s := range r.subjects {
		i := parseImage(s.Image)
		if i.digest == "" {
			r.found(usage("service %s: image %s is not pinned by a digest: name it as repository@sha256:…", s.Service.Name, s.Image))
			continue
		}
		wanted.add(i, s.Service.Name)
		if platforms[i] == nil {
			platforms[i] = users[string]{}
		}
		platforms[i].add(platformOf(s), s.Service.Name)
	}
	if len(wanted) == 0 {
		return
	}
	if r.ECR == nil {
		r.note("not checked: images: there is no ECR client")
		return
	}
	own := r.ownRegistry(ctx, wanted)
	for i, names := range wanted {
		if !ecrHost.MatchString(i.host) && (own == "" || i.host != own) {
			r.unchecked("image", i.name(), "its registry is not Amazon ECR")
			continue
		}
		r.ask(ctx, func(ctx context.Context) { r.checkImage(ctx, i, names, platforms[i]) })
	}
}

// name is the reference without the tag.
func (i image) name() string {
	name := i.repository + "@" + i.digest
	if i.host != "" {
		name = i.host + "/" + name
	}
	return name
}

// platformOf is what a task definition runs on, linux/amd64 if it does not say.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html
func platformOf(s rollout.Subject) string {
	system, processor := "linux", "amd64"
	if s.Definition != nil && s.Definition.RuntimePlatform != nil {
		if s.Definition.RuntimePlatform.CpuArchitecture == ecstypes.CPUArchitectureArm64 {
			processor = "arm64"
		}
		if strings.HasPrefix(string(s.Definition.RuntimePlatform.OperatingSystemFamily), "WINDOWS") {
			system = "windows"
		}
	}
	return system + "/" + processor
}

// ownRegistry is the host of the caller's registry where its name does not say
// that it is one of ECR: an endpoint of one's own, such as the embedded AWS. It
// is asked for only if some image needs it.
func (r *round) ownRegistry(ctx context.Context, wanted users[image]) string {
	strange := false
	for i := range wanted {
		strange = strange || i.host != "" && !ecrHost.MatchString(i.host)
	}
	if !strange {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	out, err := r.ECR.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		r.found(r.needed("images", "the registry", err, request{"ecr:GetAuthorizationToken", "*"}))
		return ""
	}
	for _, data := range out.AuthorizationData {
		_, host, _ := strings.Cut(aws.ToString(data.ProxyEndpoint), "://")
		return host
	}
	return ""
}

func (r *round) checkImage(ctx context.Context, i image, names []string, platforms users[string]) {
	in := &ecr.BatchGetImageInput{
		RepositoryName: &i.repository, AcceptedMediaTypes: accepted,
		ImageIds: []ecrtypes.ImageIdentifier{{ImageDigest: &i.digest}},
	}
	account, region := "", r.Region
	if m := ecrHost.FindStringSubmatch(i.host); m != nil {
		account, region, in.RegistryId = m[1], m[2], &m[1]
	} else if r.caller != nil {
		account = r.caller.Account
	}
	who := services(names)
	out, err := r.ECR.BatchGetImage(ctx, in)
	switch {
	case isCode(err, "RepositoryNotFoundException"):
		r.found(fail(err, "%s: there is no ECR repository %s%s: create it with Terraform (slipway plan, slipway apply)", who, i.repository, r.here()))
		return
	case err != nil:
		r.found(r.needed(who, "image "+i.name(), err, request{"ecr:BatchGetImage", "arn:aws:ecr:" + region + ":" + account + ":repository/" + i.repository}))
		return
	case len(out.Images) == 0:
		r.found(fail(nil, "%s: ECR repository %s has no image %s: publish it first (slipway publish)", who, i.repository, i.digest))
		return
	}
	there, err := platformsIn(aws.ToString(out.Images[0].ImageManifest))
	switch {
	case err != nil:
		r.found(fail(err, "%s: the manifest of image %s cannot be read: %v: publish it again (slipway publish)", who, i.name(), err))
	case there == nil:
		r.unchecked("the platform of image", i.name(), "it is a single image, whose manifest does not say its platform")
	default:
		for want, names := range platforms {
			if !slices.Contains(there, want) {
				r.found(fail(nil, "%s: image %s is not for %s, which its task definition runs on; it is for %s: build it for %[3]s, or change runtimePlatform",
					services(names), i.name(), want, cmp.Or(strings.Join(there, ", "), "none at all")))
			}
		}
	}
}

// platformsIn lists the platforms of an index as os/architecture; nil says that
// the manifest is that of a single image.
func platformsIn(manifest string) ([]string, error) {
	var index struct {
		Manifests []struct {
			Platform *v1.Platform `json:"platform"`
		} `json:"manifests"`
		Config *json.RawMessage `json:"config"`
	}
	if err := json.Unmarshal([]byte(manifest), &index); err != nil {
		return nil, err
	}
	if index.Config != nil {
		return nil, nil
	}
	list := []string{}
	for _, m := range index.Manifests {
		if m.Platform == nil || m.Platform.OS == "unknown" { // an attestation
			continue
		}
		list = append(list, m.Platform.OS+"/"+m.Platform.Architecture)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}
