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

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// ecrHost matches the host of a private ECR registry, with its account and region.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/Registries.html
var ecrHost = regexp.MustCompile(`^(\d{12})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com|amazonaws\.com\.cn|on\.aws)$`)

// imageRef is a parsed image reference.
type imageRef struct{ host, repository, tag, digest string }

// parseImageRef parses an image reference. The host is "" for short names of Docker Hub.
// A reference with a digest has no tag; one with neither has the tag latest.
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

// acceptedMediaTypes are the media types of all images and indexes. If ECR is not told
// that an index is accepted, it returns one of its images instead.
var acceptedMediaTypes = []string{
	string(types.OCIImageIndex), string(types.DockerManifestList), string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}

// purpose is what an image is used for.
type purpose int

const (
	forRelease purpose = iota // the image to release
	forSidecar                // another container of the new task definition
	forRestore                // a container of the running task definition, which a failed release restores
)

// imageUse is the use of an image by a container.
type imageUse struct {
	purpose
	service, container, platform string // os/architecture
}

// checkImages checks that the image of every container exists for the platform of its
// task definition, and that the running images exist for a restore.
func (r *run) checkImages(ctx context.Context) {
	wanted := map[imageRef][]imageUse{}
	for _, s := range r.changes {
		i := parseImageRef(s.Image)
		if i.digest == "" {
			r.add(usage("service %s: image %s is not pinned to a digest: use repository@sha256:…", s.Service.Name, s.Image))
			continue
		}
		wanted[i] = append(wanted[i], imageUse{forRelease, s.Service.Name, s.Service.ContainerName(), platformOf(s)})
		for _, u := range otherImages(s) {
			wanted[u.imageRef] = append(wanted[u.imageRef], u.imageUse)
		}
	}
	if len(wanted) == 0 {
		return
	}
	if r.ECR == nil {
		r.note("not checked: images: no ECR client")
		return
	}
	own := r.callerRegistry(ctx, wanted)
	for i, uses := range wanted {
		if !ecrHost.MatchString(i.host) && (own == "" || i.host != own) {
			r.skip("image", i.String(), "its registry is not Amazon ECR")
			continue
		}
		r.call(ctx, func(ctx context.Context) { r.checkImage(ctx, i, uses) })
	}
}

// usedImage is an image and its use.
type usedImage struct {
	imageRef
	imageUse
}

// otherImages returns the images that a service uses besides the one to release. Where
// no task runs, no image has to be restored.
func otherImages(s rollout.ServiceChange) (list []usedImage) {
	seen := map[imageRef]bool{parseImageRef(s.Image): true}
	add := func(p purpose, containers []ecstypes.ContainerDefinition) {
		for _, c := range containers {
			name, i := aws.ToString(c.Name), parseImageRef(aws.ToString(c.Image))
			if seen[i] || p == forSidecar && name == s.Service.ContainerName() {
				continue
			}
			seen[i] = true
			list = append(list, usedImage{i, imageUse{p, s.Service.Name, name, platformOf(s)}})
		}
	}
	if s.Definition != nil {
		add(forSidecar, s.Definition.ContainerDefinitions)
	}
	if s.Previous != nil && runsTasks(s) {
		add(forRestore, s.Previous.ContainerDefinitions)
	}
	return list
}

// String returns the reference, by digest if it has one.
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

// platformOf returns the platform of a task definition, linux/amd64 by default.
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

// callerRegistry returns the host of the caller's registry if an image has a host that
// is not recognized as ECR's, such as that of the embedded AWS; "" otherwise.
func (r *run) callerRegistry(ctx context.Context, wanted map[imageRef][]imageUse) string {
	custom := false
	for i := range wanted {
		custom = custom || i.host != "" && !ecrHost.MatchString(i.host)
	}
	if !custom {
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

func (r *run) checkImage(ctx context.Context, i imageRef, uses []imageUse) {
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
	noRepository := rollout.IsCode(err, "RepositoryNotFoundException")
	call := apiCall{"ecr:BatchGetImage", "arn:aws:ecr:" + region + ":" + account + ":repository/" + i.repository}
	who, others := serviceList(servicesFor(uses, forRelease)), servicesFor(uses, forSidecar, forRestore)
	switch {
	case noRepository || err == nil && len(out.Images) == 0:
		r.reportMissing(ctx, i, uses, noRepository, err)
		return
	case err != nil:
		if who != "" {
			r.add(r.requiredError(who, "image "+i.String(), err, call))
		}
		if len(others) > 0 {
			r.skip("image", i.String(), r.readError(err, call))
		}
		return
	}
	platforms, err := indexPlatforms(aws.ToString(out.Images[0].ImageManifest))
	switch {
	case err != nil && who != "":
		r.add(fail(err, "%s: cannot parse the manifest of image %s: %v: publish it again (slipway publish)", who, i.String(), err))
	case platforms == nil && who != "":
		r.skip("platform of image", i.String(), "the manifest of a single image has no platform")
	case platforms != nil:
		r.comparePlatforms(i, uses, platforms)
	}
}

// reportMissing reports a missing image by its uses.
func (r *run) reportMissing(ctx context.Context, i imageRef, uses []imageUse, noRepository bool, cause error) {
	if who := serviceList(servicesFor(uses, forRelease)); who != "" && noRepository {
		r.add(fail(cause, "%s: ECR repository %s does not exist%s: create it with Terraform (slipway plan, slipway apply)", who, i.repository, r.location()))
	} else if who != "" {
		r.add(fail(nil, "%s: ECR repository %s has no image %s: publish it first (slipway publish)", who, i.repository, i.digest))
	}
	if len(servicesFor(uses, forSidecar, forRestore)) == 0 || !r.isReleaseRepository(i) && r.hasPullThroughRule(ctx, i) {
		return
	}
	for _, n := range uses {
		what := fmt.Sprintf("image %s of container %s", i.String(), n.container)
		switch {
		case n.purpose == forSidecar:
			r.add(usage("service %s: %s does not exist in Amazon ECR, so new tasks cannot start: push it again, or change the image in the task definition", n.service, what))
		case n.purpose == forRestore && r.AllowNoRollback:
			r.note("service %s: a failed release cannot be restored: %s, which runs now, is gone from Amazon ECR", n.service, what)
		case n.purpose == forRestore:
			r.add(refuse("service %s: %s, which runs now, is gone from Amazon ECR, so a failed release could not be restored: push it again, or accept that (--allow-no-rollback)", n.service, what))
		}
	}
}

// isReleaseRepository reports whether releases publish to an image's repository, so that
// no pull-through cache rule fetches its images.
func (r *run) isReleaseRepository(i imageRef) bool {
	return slices.ContainsFunc(r.changes, func(s rollout.ServiceChange) bool {
		own := parseImageRef(s.Image)
		return own.host == i.host && own.repository == i.repository
	})
}

// hasPullThroughRule reports whether a pull-through cache rule of the registry fetches
// an image when it is pulled, or whether that is unknown; then it adds a note.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/pull-through-cache.html
func (r *run) hasPullThroughRule(ctx context.Context, i imageRef) bool {
	in := &ecr.DescribePullThroughCacheRulesInput{}
	if m := ecrHost.FindStringSubmatch(i.host); m != nil {
		in.RegistryId = &m[1]
	}
	for {
		out, err := r.ECR.DescribePullThroughCacheRules(ctx, in)
		if rollout.IsCode(err, "UnknownOperationException") { // a custom endpoint without such rules
			return false
		}
		if err != nil {
			r.skip("pull-through cache rule of image", i.String(), r.readError(err, apiCall{"ecr:DescribePullThroughCacheRules", "*"}))
			return true
		}
		for _, rule := range out.PullThroughCacheRules {
			if prefix := aws.ToString(rule.EcrRepositoryPrefix); prefix == "ROOT" || strings.HasPrefix(i.repository, prefix+"/") {
				r.skip("image", i.String(), "it is not cached yet; pull-through cache rule "+prefix+" fetches it")
				return true
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(out.NextToken) == "" {
			return false
		}
	}
}

func (r *run) comparePlatforms(i imageRef, uses []imageUse, platforms []string) {
	missing := usedBy[string]{}
	for _, n := range uses {
		switch {
		case n.purpose == forRestore || slices.Contains(platforms, n.platform): // running tasks have shown that theirs fits
		case n.purpose == forSidecar:
			r.add(usage("service %s: image %s of container %s does not support %s, the platform of its task definition; it supports %s: use an image that does",
				n.service, i.String(), n.container, n.platform, cmp.Or(strings.Join(platforms, ", "), "no platform")))
		default:
			missing.add(n.platform, n.service)
		}
	}
	for want, names := range missing {
		r.add(fail(nil, "%s: image %s does not support %s, the platform of its task definition; it supports %s: build it for %[3]s, or change runtimePlatform",
			serviceList(names), i.String(), want, cmp.Or(strings.Join(platforms, ", "), "no platform")))
	}
}

// servicesFor returns the services that use an image for one of the purposes.
func servicesFor(uses []imageUse, parts ...purpose) (names []string) {
	for _, n := range uses {
		if slices.Contains(parts, n.purpose) {
			names = append(names, n.service)
		}
	}
	return names
}

// indexPlatforms returns the platforms of an image index as os/architecture, or nil if
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
