package ecr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// findConcurrency is the maximum number of concurrent requests.
const findConcurrency = 8

// Find finds the services' images with a tag. found maps the name of each service
// that has one to its reference by digest; missing lists the others, in the order
// of services. A missing repository is a usage error.
//
// It calls ECR's API instead of the registry, because only the API distinguishes a
// missing image from a missing repository.
func (a Account) Find(ctx context.Context, services []platform.Service, tag string) (found map[string]string, missing []platform.Service, err error) {
	registry, err := a.Login(ctx)
	if err != nil {
		return nil, nil, err
	}
	digests := make([]string, len(services))
	noRepository := make([]bool, len(services))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(findConcurrency)
	first := map[string]int{} // by repository, which services may share
	for n, service := range services {
		if _, shared := first[service.Repository()]; shared {
			continue
		}
		first[service.Repository()] = n
		group.Go(func() (err error) {
			digests[n], err = a.digest(ctx, service.Repository(), tag)
			if _, noRepository[n] = errors.AsType[*types.RepositoryNotFoundException](err); noRepository[n] {
				return nil // missing repositories are reported together
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	if slices.Contains(noRepository, true) {
		return nil, nil, noRepositoryError(registry.Host, services, noRepository)
	}
	found = map[string]string{}
	for _, service := range services {
		digest := digests[first[service.Repository()]]
		if digest == "" {
			missing = append(missing, service)
			continue
		}
		found[service.Name] = registry.Host + "/" + service.Repository() + "@" + digest
	}
	return found, missing, nil
}

// digest returns the digest of a tag in a repository, or "".
func (a Account) digest(ctx context.Context, repository, tag string) (string, error) {
	out, err := a.API.DescribeImages(ctx, &ecr.DescribeImagesInput{
		RegistryId: a.registryID(), RepositoryName: &repository, ImageIds: []types.ImageIdentifier{{ImageTag: &tag}},
	})
	switch _, none := errors.AsType[*types.ImageNotFoundException](err); {
	case none:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("looking for tag %s in repository %s: %w", tag, repository, err)
	case len(out.ImageDetails) == 0:
		return "", nil
	}
	return aws.ToString(out.ImageDetails[0].ImageDigest), nil
}

// noRepositoryError is the error about missing repositories.
func noRepositoryError(host string, services []platform.Service, absent []bool) error {
	var names []string
	for n, service := range services {
		if absent[n] {
			names = append(names, service.Repository())
		}
	}
	return outcome.Usagef("the registry %s has no repository %s: %s", host, strings.Join(names, ", nor "), noRepositoryHint)
}
