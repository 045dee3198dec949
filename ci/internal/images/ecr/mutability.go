package ecr

import (
	"context"
	"fmt"
	"path"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// describePageSize is ECR's default page size.
const describePageSize = 100

// TagMutable returns for each repository whether an existing tag can be moved to
// another image. A missing repository is an error.
func (a Account) TagMutable(ctx context.Context, repositories []string, tag string) (map[string]bool, error) {
	movable := map[string]bool{}
	for names := range slices.Chunk(repositories, describePageSize) {
		out, err := a.API.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RegistryId: a.registryID(), RepositoryNames: names})
		if err != nil {
			return nil, fmt.Errorf("reading whether tag %s is mutable: %w", tag, err)
		}
		for _, r := range out.Repositories {
			movable[aws.ToString(r.RepositoryName)] = isMutable(r, tag)
		}
	}
	return movable, nil
}

// isMutable implements ECR's rule: the repository's setting, inverted for tags that
// an exclusion filter matches. In a filter, * matches any characters.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-tag-mutability.html
func isMutable(r types.Repository, tag string) bool {
	excluded := slices.ContainsFunc(r.ImageTagMutabilityExclusionFilters, func(f types.ImageTagMutabilityExclusionFilter) bool {
		ok, err := path.Match(aws.ToString(f.Filter), tag)
		return err == nil && ok
	})
	switch r.ImageTagMutability {
	case types.ImageTagMutabilityMutable:
		return true
	case types.ImageTagMutabilityMutableWithExclusion:
		return !excluded
	case types.ImageTagMutabilityImmutableWithExclusion:
		return excluded
	default:
		return false
	}
}
