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

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/report/outcome"
)

// findConcurrency is how many repositories are asked at a time.
const findConcurrency = 8

// Find looks for the services' images under tag. found has the reference by
// digest of each service that has one; missing are the others, in the
// order of services. A repository that does not exist is a usage error:
// no image can ever be there.
//
// ECR's API is asked, not the registry, because only the API tells an image that
// is missing from a repository that is.
func (a Account) Find(ctx context.Context, services []platform.Service, tag string) (found map[string]string, missing []platform.Service, err error) {
	registry, err := a.Login(ctx)
	if err != nil {
		return nil, nil, err
	}
	digests := make([]string, len(services))
	noRepository := make([]bool, len(services))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(findConcurrency)
	for n, service := range services {
		group.Go(func() (err error) {
			digests[n], err = a.digest(ctx, service.Repository(), tag)
			var none *types.RepositoryNotFoundException
			if noRepository[n] = errors.As(err, &none); noRepository[n] {
				return nil // all of them are told at once
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
	for n, service := range services {
		if digests[n] == "" {
			missing = append(missing, service)
			continue
		}
		found[service.Name] = registry.Host + "/" + service.Repository() + "@" + digests[n]
	}
	return found, missing, nil
}

// digest is what tag names in a repository, "" if nothing.
func (a Account) digest(ctx context.Context, repository, tag string) (string, error) {
	out, err := a.API.DescribeImages(ctx, &ecr.DescribeImagesInput{
		RepositoryName: &repository, ImageIds: []types.ImageIdentifier{{ImageTag: &tag}},
	})
	var none *types.ImageNotFoundException
	switch {
	case errors.As(err, &none):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("looking for tag %s in repository %s: %w", tag, repository, err)
	case len(out.ImageDetails) == 0:
		return "", nil
	}
	return aws.ToString(out.ImageDetails[0].ImageDigest), nil
}

// noRepositoryError is the error about repositories that do not exist.
func noRepositoryError(host string, services []platform.Service, absent []bool) error {
	var names []string
	for n, service := range services {
		if absent[n] {
			names = append(names, service.Repository())
		}
	}
	return outcome.Usagef("the registry %s has no repository %s: %s", host, strings.Join(names, ", nor "), noRepositoryHint)
}
