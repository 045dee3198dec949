package registry

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

type digest = v1.Hash

func (s *Store) describeImages(ctx context.Context, in *ecr.DescribeImagesInput) (*ecr.DescribeImagesOutput, error) {
	details := []ecrtypes.ImageDetail{}
	err := s.withRepository(ctx, aws.ToString(in.RepositoryName), func(r *repository) error {
		chosen := r.sortedManifests()
		if len(in.ImageIds) > 0 {
			chosen = nil
			for _, id := range in.ImageIds {
				m, err := r.find(referenceOf(id))
				if err != nil {
					return s.imageNotFound(r.name, id)
				}
				if !slices.Contains(chosen, m) {
					chosen = append(chosen, m)
				}
			}
		}
		for _, m := range chosen {
			tags := r.tagsOf(m.Digest)
			if in.Filter == nil || matchesTagStatus(in.Filter.TagStatus, len(tags)) {
				details = append(details, s.imageDetail(r, m, tags))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Paginate(details, in.NextToken, in.MaxResults, 100)
	return &ecr.DescribeImagesOutput{ImageDetails: page, NextToken: next}, err
}

func (s *Store) imageNotFound(repo string, id ecrtypes.ImageIdentifier) error {
	quoted := func(p *string) string {
		if p == nil {
			return "null"
		}
		return *p
	}
	return wire.Errorf("ImageNotFoundException",
		"The image with imageId {imageDigest:'%s', imageTag:'%s'} does not exist within the repository with name '%s' in the registry with id '%s'",
		quoted(id.ImageDigest), quoted(id.ImageTag), repo, s.scope.Account)
}

func matchesTagStatus(status ecrtypes.TagStatus, tags int) bool {
	switch status {
	case ecrtypes.TagStatusTagged:
		return tags > 0
	case ecrtypes.TagStatusUntagged:
		return tags == 0
	default:
		return true
	}
}

func (s *Store) imageDetail(r *repository, m *Manifest, tags []string) ecrtypes.ImageDetail {
	d := ecrtypes.ImageDetail{
		RegistryId: &s.scope.Account, RepositoryName: &r.name, ImageDigest: new(m.Digest.String()), ImageTags: tags,
		ImageSizeInBytes: new(r.pullSize(m)), ImagePushedAt: &m.PushedAt, ImageManifestMediaType: &m.MediaType,
	}
	if kind := m.parsed.artifactType(); kind != "" {
		d.ArtifactMediaType = &kind
	}
	if m.parsed.Subject != nil {
		d.SubjectManifestDigest = new(m.parsed.Subject.Digest.String())
	}
	return d
}

// pullSize returns the size of an image's layers, or of those of all images of an index.
func (r *repository) pullSize(m *Manifest) int64 {
	total := int64(0)
	for _, l := range m.parsed.Layers {
		total += l.Size
	}
	for _, d := range m.parsed.Manifests {
		if child, ok := r.manifests[d.Digest]; ok {
			total += r.pullSize(child)
		}
	}
	return total
}

// sortedManifests returns a repository's manifests, oldest first.
func (r *repository) sortedManifests() []*Manifest {
	return slices.SortedFunc(maps.Values(r.manifests), func(a, b *Manifest) int {
		return cmp.Or(a.PushedAt.Compare(b.PushedAt), strings.Compare(a.Digest.Hex, b.Digest.Hex))
	})
}

func referenceOf(id ecrtypes.ImageIdentifier) string {
	if id.ImageDigest != nil {
		return *id.ImageDigest
	}
	return aws.ToString(id.ImageTag)
}

func (s *Store) listImages(ctx context.Context, in *ecr.ListImagesInput) (*ecr.ListImagesOutput, error) {
	ids := []ecrtypes.ImageIdentifier{}
	err := s.withRepository(ctx, aws.ToString(in.RepositoryName), func(r *repository) error {
		for _, m := range r.sortedManifests() {
			tags := r.tagsOf(m.Digest)
			if in.Filter != nil && !matchesTagStatus(in.Filter.TagStatus, len(tags)) {
				continue
			}
			for _, tag := range tags {
				ids = append(ids, ecrtypes.ImageIdentifier{ImageDigest: new(m.Digest.String()), ImageTag: &tag})
			}
			if len(tags) == 0 {
				ids = append(ids, ecrtypes.ImageIdentifier{ImageDigest: new(m.Digest.String())})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	page, next, err := wire.Paginate(ids, in.NextToken, in.MaxResults, 100)
	return &ecr.ListImagesOutput{ImageIds: page, NextToken: next}, err
}

func (s *Store) batchGetImage(ctx context.Context, in *ecr.BatchGetImageInput) (*ecr.BatchGetImageOutput, error) {
	out := &ecr.BatchGetImageOutput{Images: []ecrtypes.Image{}, Failures: []ecrtypes.ImageFailure{}}
	return out, s.withRepository(ctx, aws.ToString(in.RepositoryName), func(r *repository) error {
		for _, id := range in.ImageIds {
			m, err := r.find(referenceOf(id))
			if err != nil {
				out.Failures = append(out.Failures, imageNotFoundFailure(id))
				continue
			}
			out.Images = append(out.Images, s.image(r, m, id.ImageTag))
		}
		return nil
	})
}

func imageNotFoundFailure(id ecrtypes.ImageIdentifier) ecrtypes.ImageFailure {
	return ecrtypes.ImageFailure{
		ImageId: &id, FailureCode: ecrtypes.ImageFailureCodeImageNotFound, FailureReason: new("Requested image not found"),
	}
}

func (s *Store) image(r *repository, m *Manifest, tag *string) ecrtypes.Image {
	return ecrtypes.Image{
		RegistryId: &s.scope.Account, RepositoryName: &r.name,
		ImageId:       &ecrtypes.ImageIdentifier{ImageDigest: new(m.Digest.String()), ImageTag: tag},
		ImageManifest: new(string(m.Raw)), ImageManifestMediaType: &m.MediaType,
	}
}

func (s *Store) batchDeleteImage(ctx context.Context, in *ecr.BatchDeleteImageInput) (*ecr.BatchDeleteImageOutput, error) {
	out := &ecr.BatchDeleteImageOutput{ImageIds: []ecrtypes.ImageIdentifier{}, Failures: []ecrtypes.ImageFailure{}}
	return out, s.withRepository(ctx, aws.ToString(in.RepositoryName), func(r *repository) error {
		for _, id := range in.ImageIds {
			m, err := r.remove(referenceOf(id))
			if err != nil {
				out.Failures = append(out.Failures, imageNotFoundFailure(id))
				continue
			}
			out.ImageIds = append(out.ImageIds, ecrtypes.ImageIdentifier{ImageDigest: new(m.Digest.String()), ImageTag: id.ImageTag})
		}
		return nil
	})
}

func (s *Store) putImage(ctx context.Context, in *ecr.PutImageInput) (*ecr.PutImageOutput, error) {
	name, tag := aws.ToString(in.RepositoryName), aws.ToString(in.ImageTag)
	wire.AddResources(ctx, s.arn(name))
	ref := tag
	if ref == "" {
		ref = aws.ToString(in.ImageDigest)
	}
	sum, _, err := v1.SHA256(strings.NewReader(aws.ToString(in.ImageManifest)))
	if err != nil {
		return nil, fmt.Errorf("hashing a manifest for %s: %w", name, err)
	}
	if known, err := s.Manifest(name, cmp.Or(ref, sum.String())); err == nil && known.Digest == sum {
		return nil, wire.Errorf("ImageAlreadyExistsException",
			"Image with digest '%s' and tag '%s' already exists in the repository with name '%s' in registry with id '%s'", sum, tag, name, s.scope.Account)
	}
	m, err := s.PutManifest(name, ref, aws.ToString(in.ImageManifestMediaType), []byte(aws.ToString(in.ImageManifest)))
	if err != nil {
		return nil, s.awsError(err, name, tag)
	}
	out := &ecr.PutImageOutput{}
	return out, s.withRepository(ctx, name, func(r *repository) error {
		out.Image = new(s.image(r, m, in.ImageTag))
		return nil
	})
}
