package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Service returns the ECR API.
func (s *Store) Service() wire.Service {
	return wire.Service{
		Name:   "ecr",
		Target: "AmazonEC2ContainerRegistry_V20150921",
		Operations: []wire.Operation{
			wire.NewOperation("GetAuthorizationToken", s.getAuthorizationToken),
			wire.NewOperation("CreateRepository", s.createRepository),
			wire.NewOperation("DescribeRepositories", s.describeRepositories),
			wire.NewOperation("DeleteRepository", s.deleteRepository),
			wire.NewOperation("PutImageTagMutability", s.putImageTagMutability),
			wire.NewOperation("PutLifecyclePolicy", s.putLifecyclePolicy),
			wire.NewOperation("GetLifecyclePolicy", s.getLifecyclePolicy),
			wire.NewOperation("TagResource", s.tagResource),
			wire.NewOperation("UntagResource", s.untagResource),
			wire.NewOperation("ListTagsForResource", s.listTagsForResource),
			wire.NewOperation("DescribeImages", s.describeImages),
			wire.NewOperation("DescribeImageScanFindings", s.describeImageScanFindings),
			wire.NewOperation("ListImages", s.listImages),
			wire.NewOperation("BatchGetImage", s.batchGetImage),
			wire.NewOperation("BatchDeleteImage", s.batchDeleteImage),
			wire.NewOperation("PutImage", s.putImage),
			wire.NewOperation("BatchCheckLayerAvailability", s.batchCheckLayerAvailability),
			wire.NewOperation("InitiateLayerUpload", s.initiateLayerUpload),
			wire.NewOperation("UploadLayerPart", s.uploadLayerPart),
			wire.NewOperation("CompleteLayerUpload", s.completeLayerUpload),
		},
	}
}

func (s *Store) arn(repo string) string { return s.scope.ARN("ecr", "repository/"+repo) }

// awsError returns an error of the store as ECR's API does.
func (s *Store) awsError(err error, repo, tag string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrRepositoryUnknown):
		return wire.Errorf("RepositoryNotFoundException",
			"The repository with name '%s' does not exist in the registry with id '%s'", repo, s.scope.Account)
	case errors.Is(err, ErrTagImmutable):
		return wire.Errorf("ImageTagAlreadyExistsException", "%s", immutableMessage(repo, tag))
	case errors.Is(err, ErrManifestInvalid), errors.Is(err, ErrManifestUnknown):
		return wire.Errorf("InvalidParameterException", "Invalid parameter at 'ImageManifest' failed to satisfy constraint: '%s'", err)
	case errors.Is(err, ErrBlobUnknown):
		return wire.Errorf("LayersNotFoundException", "%s", err)
	case errors.Is(err, ErrDigestMismatch):
		return wire.Errorf("InvalidLayerException", "%s", err)
	case errors.Is(err, errUploadUnknown):
		return wire.Errorf("UploadNotFoundException", "%s", err)
	default:
		return err
	}
}

func (s *Store) getAuthorizationToken(_ context.Context, _ *ecr.GetAuthorizationTokenInput) (*ecr.GetAuthorizationTokenOutput, error) {
	password, expires := s.issueToken()
	return &ecr.GetAuthorizationTokenOutput{AuthorizationData: []ecrtypes.AuthorizationData{{
		AuthorizationToken: new(base64.StdEncoding.EncodeToString([]byte("AWS:" + password))),
		ExpiresAt:          &expires,
		ProxyEndpoint:      new("http://" + s.host),
	}}}, nil
}

// repositoryNamePattern is ECR's constraint on repository names.
var repositoryNamePattern = regexp.MustCompile(`^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$`)

func (s *Store) createRepository(ctx context.Context, in *ecr.CreateRepositoryInput) (*ecr.CreateRepositoryOutput, error) {
	name := aws.ToString(in.RepositoryName)
	wire.AddResources(ctx, s.arn(name))
	if len(name) < 2 || len(name) > 256 || !repositoryNamePattern.MatchString(name) {
		return nil, wire.Errorf("InvalidParameterException",
			"Invalid parameter at 'repositoryName' failed to satisfy constraint: 'must satisfy regular expression '%s''", repositoryNamePattern)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.repos[name]; ok {
		return nil, wire.Errorf("RepositoryAlreadyExistsException",
			"The repository with name '%s' already exists in the registry with id '%s'", name, s.scope.Account)
	}
	r := &repository{
		name: name, created: s.now(), mutability: in.ImageTagMutability, exclusions: in.ImageTagMutabilityExclusionFilters,
		encryption: in.EncryptionConfiguration, resourceTags: map[string]string{},
		manifests: map[digest]*Manifest{}, tags: map[string]digest{}, blobs: map[digest]int64{},
	}
	if r.mutability == "" {
		r.mutability = ecrtypes.ImageTagMutabilityMutable
	}
	if r.encryption == nil {
		r.encryption = &ecrtypes.EncryptionConfiguration{EncryptionType: ecrtypes.EncryptionTypeAes256}
	}
	if in.ImageScanningConfiguration != nil {
		r.scanOnPush = in.ImageScanningConfiguration.ScanOnPush
	}
	for _, t := range in.Tags {
		r.resourceTags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	s.repos[name] = r
	return &ecr.CreateRepositoryOutput{Repository: s.describe(r)}, nil
}

func (s *Store) describe(r *repository) *ecrtypes.Repository {
	return &ecrtypes.Repository{
		RepositoryName: &r.name, RepositoryArn: new(s.arn(r.name)), RepositoryUri: new(s.host + "/" + r.name),
		RegistryId: &s.scope.Account, CreatedAt: &r.created,
		ImageTagMutability: r.mutability, ImageTagMutabilityExclusionFilters: r.exclusions,
		ImageScanningConfiguration: &ecrtypes.ImageScanningConfiguration{ScanOnPush: r.scanOnPush},
		EncryptionConfiguration:    r.encryption,
	}
}

func (s *Store) describeRepositories(ctx context.Context, in *ecr.DescribeRepositoriesInput) (*ecr.DescribeRepositoriesOutput, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := in.RepositoryNames
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(s.repos))
	}
	all := []ecrtypes.Repository{}
	for _, name := range names {
		wire.AddResources(ctx, s.arn(name))
		r, err := s.repo(name)
		if err != nil {
			return nil, s.awsError(err, name, "")
		}
		all = append(all, *s.describe(r))
	}
	page, next, err := wire.Paginate(all, in.NextToken, in.MaxResults, 100)
	return &ecr.DescribeRepositoriesOutput{Repositories: page, NextToken: next}, err
}

func (s *Store) deleteRepository(ctx context.Context, in *ecr.DeleteRepositoryInput) (*ecr.DeleteRepositoryOutput, error) {
	name := aws.ToString(in.RepositoryName)
	wire.AddResources(ctx, s.arn(name))
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.repo(name)
	if err != nil {
		return nil, s.awsError(err, name, "")
	}
	if len(r.manifests) > 0 && !in.Force {
		return nil, wire.Errorf("RepositoryNotEmptyException",
			"The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", name, s.scope.Account)
	}
	delete(s.repos, name)
	return &ecr.DeleteRepositoryOutput{Repository: s.describe(r)}, nil
}

func (s *Store) putImageTagMutability(ctx context.Context, in *ecr.PutImageTagMutabilityInput) (*ecr.PutImageTagMutabilityOutput, error) {
	out := &ecr.PutImageTagMutabilityOutput{RegistryId: &s.scope.Account, RepositoryName: in.RepositoryName, ImageTagMutability: in.ImageTagMutability}
	return out, s.withRepository(ctx, aws.ToString(in.RepositoryName), func(r *repository) error {
		r.mutability, r.exclusions = in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters
		return nil
	})
}

func (s *Store) putLifecyclePolicy(ctx context.Context, in *ecr.PutLifecyclePolicyInput) (*ecr.PutLifecyclePolicyOutput, error) {
	out := &ecr.PutLifecyclePolicyOutput{RegistryId: &s.scope.Account, RepositoryName: in.RepositoryName, LifecyclePolicyText: in.LifecyclePolicyText}
	return out, s.withRepository(ctx, aws.ToString(in.RepositoryName), func(r *repository) error {
		r.lifecycle = aws.ToString(in.LifecyclePolicyText)
		return nil
	})
}

func (s *Store) getLifecyclePolicy(ctx context.Context, in *ecr.GetLifecyclePolicyInput) (*ecr.GetLifecyclePolicyOutput, error) {
	out := &ecr.GetLifecyclePolicyOutput{RegistryId: &s.scope.Account, RepositoryName: in.RepositoryName}
	return out, s.withRepository(ctx, aws.ToString(in.RepositoryName), func(r *repository) error {
		if r.lifecycle == "" {
			return wire.Errorf("LifecyclePolicyNotFoundException",
				"Lifecycle policy does not exist for the repository with name '%s' in the registry with id '%s'", r.name, s.scope.Account)
		}
		out.LifecyclePolicyText = new(r.lifecycle)
		return nil
	})
}

// withRepository runs f on a repository under the lock.
func (s *Store) withRepository(ctx context.Context, name string, f func(*repository) error) error {
	wire.AddResources(ctx, s.arn(name))
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.repo(name)
	if err != nil {
		return s.awsError(err, name, "")
	}
	return f(r)
}

func (s *Store) tagResource(ctx context.Context, in *ecr.TagResourceInput) (*ecr.TagResourceOutput, error) {
	return &ecr.TagResourceOutput{}, s.withRepository(ctx, s.repositoryName(in.ResourceArn), func(r *repository) error {
		for _, t := range in.Tags {
			r.resourceTags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		return nil
	})
}

func (s *Store) untagResource(ctx context.Context, in *ecr.UntagResourceInput) (*ecr.UntagResourceOutput, error) {
	return &ecr.UntagResourceOutput{}, s.withRepository(ctx, s.repositoryName(in.ResourceArn), func(r *repository) error {
		for _, key := range in.TagKeys {
			delete(r.resourceTags, key)
		}
		return nil
	})
}

func (s *Store) listTagsForResource(ctx context.Context, in *ecr.ListTagsForResourceInput) (*ecr.ListTagsForResourceOutput, error) {
	out := &ecr.ListTagsForResourceOutput{Tags: []ecrtypes.Tag{}}
	return out, s.withRepository(ctx, s.repositoryName(in.ResourceArn), func(r *repository) error {
		for _, key := range slices.Sorted(maps.Keys(r.resourceTags)) {
			out.Tags = append(out.Tags, ecrtypes.Tag{Key: &key, Value: new(r.resourceTags[key])})
		}
		return nil
	})
}

func (s *Store) repositoryName(arn *string) string {
	return strings.TrimPrefix(aws.ToString(arn), s.arn(""))
}
