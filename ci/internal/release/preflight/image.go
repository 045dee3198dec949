package preflight

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dagger/slipway/internal/release/rollout"
)

// ecrHost is the host of a private registry, with its account and region.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
var ecrHost = regexp.MustCompile(`^(\d{12})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com|amazonaws\.com\.cn|on\.aws)$`)

// imageRef is a reference in its parts.
type imageRef struct{ host, repository, tag, digest string }

// parseImageRef takes a reference apart. The host is empty for Docker Hub's short
// names. What is pinned by a digest has no tag, what names neither the tag latest.
func parseImageRef(ref string) imageRef {
	name, digest, _ := strings.Cut(ref, "@")
	host, repository, nested := strings.Cut(name, "/")
	if !nested || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, repository = "", name
	}
	tag := "latest"
	if last := strings.LastIndexByte(repository, '/') + 1; strings.Contains(repository[last:], ":") {
		at := last + strings.IndexByte(repository[last:], ':')
		repository, tag = repository[:at], repository[at+1:]
	}
	if digest != "" {
		tag = ""
	}
	return imageRef{host, repository, tag, digest}
}

// acceptedMediaTypes are the media types that ECR may answer with: every kind of image and
// index. Without them it would convert an index to one of its images.
var acceptedMediaTypes = []string{
	string(types.OCIImageIndex), string(types.DockerManifestList), string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}

// purpose is what a service needs an image for.
type purpose int

const (
	forRelease purpose = iota // what the release brings
	forSidecar                // another container of the new tasks
	forRestore                // a container of the tasks that run now: the way back
)

// imageUse is one container's need of an image.
type imageUse struct {
	purpose
	service, container, platform string // os/architecture
}

// checkImages wants the image of every container to be in its repository, for the
// platform that the task definition asks for, and those that run now as well: a
// release that fails puts them back.
func (r *run) checkImages(ctx context.Context) {
	wanted := map[imageRef][]imageUse{}
	for _, s := range r.changes {
		i := parseImageRef(s.Image)
		if i.digest == "" {
			r.add(usage("service %s: image %s is not pinned by a digest: name it as repository@sha256:…", s.Service.Name, s.Image))
			continue
		}
		wanted[i] = append(wanted[i], imageUse{forRelease, s.Service.Name, s.Service.Container(), platformOf(s)})
		for _, n := range otherImages(s) {
			wanted[n.imageRef] = append(wanted[n.imageRef], n.imageUse)
		}
	}
	if len(wanted) == 0 {
		return
	}
	if r.ECR == nil {
		r.note("not checked: images: there is no ECR client")
		return
	}
	own := r.callerRegistry(ctx, wanted)
	for i, needs := range wanted {
		if !ecrHost.MatchString(i.host) && (own == "" || i.host != own) {
			r.skip("image", i.String(), "its registry is not Amazon ECR")
			continue
		}
		r.call(ctx, func(ctx context.Context) { r.checkImage(ctx, i, needs) })
	}
}

// usedImage is a need and its image.
type usedImage struct {
	imageRef
	imageUse
}

// otherImages are a service's needs of images beside the one that is released. There is
// no way back to lose where nothing runs.
func otherImages(s rollout.ServiceChange) (list []usedImage) {
	seen := map[imageRef]bool{parseImageRef(s.Image): true}
	add := func(p purpose, containers []ecstypes.ContainerDefinition) {
		for _, c := range containers {
			name, i := aws.ToString(c.Name), parseImageRef(aws.ToString(c.Image))
			if seen[i] || p == forSidecar && name == s.Service.Container() {
				continue
			}
			seen[i] = true
			list = append(list, usedImage{i, imageUse{p, s.Service.Name, name, platformOf(s)}})
		}
	}
	if s.Definition != nil {
		add(forSidecar, s.Definition.ContainerDefinitions)
	}
	if s.Previous != nil && s.ECSService.RunningCount > 0 {
		add(forRestore, s.Previous.ContainerDefinitions)
	}
	return list
}

// String is the reference: by digest where it has one.
func (i imageRef) String() string {
	name := i.repository + "@" + i.digest
	if i.digest == "" {
		name = i.repository + ":" + i.tag
	}
	if i.host != "" {
		name = i.host + "/" + name
	}
	return name
}

// platformOf is what a task definition runs on, linux/amd64 if it does not say.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RuntimePlatform.html
func platformOf(s rollout.ServiceChange) string {
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

// callerRegistry is the host of the caller's registry where its name does not say
// that it is one of ECR: an endpoint of one's own, such as the embedded AWS. It
// is asked for only if some image needs it.
func (r *run) callerRegistry(ctx context.Context, wanted map[imageRef][]imageUse) string {
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
		r.add(r.requiredError("images", "the registry", err, apiCall{"ecr:GetAuthorizationToken", "*"}))
		return ""
	}
	for _, data := range out.AuthorizationData {
		_, host, _ := strings.Cut(aws.ToString(data.ProxyEndpoint), "://")
		return host
	}
	return ""
}

func (r *run) checkImage(ctx context.Context, i imageRef, needs []imageUse) {
	in := &ecr.BatchGetImageInput{RepositoryName: &i.repository, AcceptedMediaTypes: acceptedMediaTypes}
	if i.digest != "" {
		in.ImageIds = []ecrtypes.ImageIdentifier{{ImageDigest: &i.digest}}
	} else {
		in.ImageIds = []ecrtypes.ImageIdentifier{{ImageTag: &i.tag}}
	}
	account, region := "", r.Region
	if m := ecrHost.FindStringSubmatch(i.host); m != nil {
		account, region, in.RegistryId = m[1], m[2], &m[1]
	} else if r.caller != nil {
		account = r.caller.Account
	}
	out, err := r.ECR.BatchGetImage(ctx, in, func(o *ecr.Options) { o.Region = cmp.Or(region, o.Region) })
	noRepository := isCode(err, "RepositoryNotFoundException")
	asked := apiCall{"ecr:BatchGetImage", "arn:aws:ecr:" + region + ":" + account + ":repository/" + i.repository}
	who, asOthers := serviceList(servicesFor(needs, forRelease)), servicesFor(needs, forSidecar, forRestore)
	switch {
	case noRepository || err == nil && len(out.Images) == 0:
		r.reportMissing(ctx, i, needs, noRepository, err)
		return
	case err != nil:
		if who != "" {
			r.add(r.requiredError(who, "image "+i.String(), err, asked))
		}
		if len(asOthers) > 0 {
			r.skip("image", i.String(), r.readError(err, asked))
		}
		return
	}
	there, err := indexPlatforms(aws.ToString(out.Images[0].ImageManifest))
	switch {
	case err != nil && who != "":
		r.add(fail(err, "%s: the manifest of image %s cannot be read: %v: publish it again (slipway publish)", who, i.String(), err))
	case there == nil && who != "":
		r.skip("the platform of image", i.String(), "it is a single image, whose manifest does not say its platform")
	case there != nil:
		r.comparePlatforms(i, needs, there)
	}
}

// reportMissing tells that an image is not there, by what it is needed for.
func (r *run) reportMissing(ctx context.Context, i imageRef, needs []imageUse, noRepository bool, cause error) {
	if who := serviceList(servicesFor(needs, forRelease)); who != "" && noRepository {
		r.add(fail(cause, "%s: there is no ECR repository %s%s: create it with Terraform (slipway plan, slipway apply)", who, i.repository, r.location()))
	} else if who != "" {
		r.add(fail(nil, "%s: ECR repository %s has no image %s: publish it first (slipway publish)", who, i.repository, i.digest))
	}
	if len(servicesFor(needs, forSidecar, forRestore)) == 0 || !r.isReleaseRepository(i) && r.hasPullThroughRule(ctx, i) {
		return
	}
	for _, n := range needs {
		what := fmt.Sprintf("image %s of container %s", i.String(), n.container)
		switch {
		case n.purpose == forSidecar:
			r.add(usage("service %s: %s is not in Amazon ECR, so no new task could start: push it again, or name another in the task definition", n.service, what))
		case n.purpose == forRestore && r.AllowNoRollback:
			r.note("service %s: there is no way back: %s, which runs now, is gone from Amazon ECR", n.service, what)
		case n.purpose == forRestore:
			r.add(refuse("service %s: %s, which runs now, is gone from Amazon ECR, so a release that fails could not be put back: push it again, or go without a way back (--allow-no-rollback)", n.service, what))
		}
	}
}

// isReleaseRepository tells whether releases publish to an image's repository, so that
// nothing else brings what is gone from there.
func (r *run) isReleaseRepository(i imageRef) bool {
	return slices.ContainsFunc(r.changes, func(s rollout.ServiceChange) bool {
		own := parseImageRef(s.Image)
		return own.host == i.host && own.repository == i.repository
	})
}

// hasPullThroughRule tells whether a rule of the registry brings an image when it is
// pulled; where that cannot be known, it is left unchecked as well.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache.html
func (r *run) hasPullThroughRule(ctx context.Context, i imageRef) bool {
	in := &ecr.DescribePullThroughCacheRulesInput{}
	if m := ecrHost.FindStringSubmatch(i.host); m != nil {
		in.RegistryId = &m[1]
	}
	for {
		out, err := r.ECR.DescribePullThroughCacheRules(ctx, in)
		if isCode(err, "UnknownOperationException") { // an endpoint of one's own, without such rules
			return false
		}
		if err != nil {
			r.skip("whether a pull-through cache rule brings image", i.String(), r.readError(err, apiCall{"ecr:DescribePullThroughCacheRules", "*"}))
			return true
		}
		for _, rule := range out.PullThroughCacheRules {
			if prefix := aws.ToString(rule.EcrRepositoryPrefix); prefix == "ROOT" || strings.HasPrefix(i.repository, prefix+"/") {
				r.skip("image", i.String(), "it is not cached, and comes by pull-through cache rule "+prefix+" when it is pulled")
				return true
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(out.NextToken) == "" {
			return false
		}
	}
}

func (r *run) comparePlatforms(i imageRef, needs []imageUse, there []string) {
	lacking := usedBy[string]{}
	for _, n := range needs {
		switch {
		case n.purpose == forRestore || slices.Contains(there, n.platform): // what runs now runs
		case n.purpose == forSidecar:
			r.add(usage("service %s: image %s of container %s is not for %s, which its task definition runs on; it is for %s: name one that is",
				n.service, i.String(), n.container, n.platform, cmp.Or(strings.Join(there, ", "), "none at all")))
		default:
			lacking.add(n.platform, n.service)
		}
	}
	for want, names := range lacking {
		r.add(fail(nil, "%s: image %s is not for %s, which its task definition runs on; it is for %s: build it for %[3]s, or change runtimePlatform",
			serviceList(names), i.String(), want, cmp.Or(strings.Join(there, ", "), "none at all")))
	}
}

// servicesFor are the services that need an image for some part.
func servicesFor(needs []imageUse, parts ...purpose) (names []string) {
	for _, n := range needs {
		if slices.Contains(parts, n.purpose) {
			names = append(names, n.service)
		}
	}
	return names
}

// indexPlatforms lists the platforms of an index as os/architecture; nil says that
// the manifest is that of a single image.
func indexPlatforms(manifest string) ([]string, error) {
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
