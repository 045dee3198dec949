// Delivery is an example of a pipeline of one's own on top of slipway's functions.
//
// It is a module like any other: its dagger.json names slipway as a dependency, as
// `dagger install github.com/slipway-cd/slipway@VERSION` writes it, and `dagger develop`
// generates a method for each function of slipway.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"dagger/delivery/internal/dagger"
)

// Delivery delivers one source tree.
type Delivery struct {
	// +private
	Source *dagger.Directory
}

// New takes the source tree.
func New(
	// Root of the source tree, with .git and a services file.
	source *dagger.Directory,
) *Delivery {
	return &Delivery{Source: source}
}

// Verify tests and builds the services, and returns the reports and the images.
//
// The engine runs both concurrently. What is unchanged comes from its cache.
func (m *Delivery) Verify(
	// Minimum coverage in percent, such as 90 or api=95. Default: slipway's.
	//
	// +optional
	minCoverage []string,
	// Build sites without their base image, where its registry cannot be reached.
	//
	// +optional
	withoutBase bool,
) *dagger.Directory {
	slipway := m.slipway(nil, nil)
	return dag.Directory().
		WithDirectory("test", slipway.Test(dagger.SlipwayTestOpts{MinCoverage: minCoverage})).
		WithDirectory("images", slipway.Build(dagger.SlipwayBuildOpts{WithoutBase: withoutBase}))
}

// Ask starts the image of a service and returns the answer of a path: a check of one's own
// between build and release.
func (m *Delivery) Ask(
	ctx context.Context,
	// Name of the service.
	service string,
	// Path to get.
	//
	// +default="/health"
	path string,
	// Port of the service.
	//
	// +default=8000
	port int,
) (string, error) {
	server, err := m.slipway(nil, nil).Image(service).
		WithEnvVariable("PORT", strconv.Itoa(port)).
		WithExposedPort(port).
		AsService(dagger.ContainerAsServiceOpts{UseEntrypoint: true}).
		Start(ctx)
	if err != nil {
		return "", err
	}
	defer server.Stop(ctx) //nolint:errcheck // it ends with the session at the latest
	address, err := server.Endpoint(ctx, dagger.ServiceEndpointOpts{Scheme: "http"})
	if err != nil {
		return "", err
	}
	response, err := http.Get(address + path)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", path, response.Status, body)
	}
	return string(body), err
}

// Release publishes and deploys the commit of the tree, and returns the report as Markdown.
//
// +cache="never"
func (m *Delivery) Release(
	ctx context.Context,
	// AWS credentials: --aws-credentials='cmd://aws configure export-credentials --format process'.
	//
	// +optional
	awsCredentials *dagger.Secret,
	// Emulator to use instead of AWS: see slipway.
	//
	// +optional
	aws *dagger.Service,
) (string, error) {
	slipway := m.slipway(awsCredentials, aws)
	if _, err := slipway.Publish().Report(ctx); err != nil {
		return "", err
	}
	return slipway.Deploy().Markdown(ctx)
}

// slipway returns slipway's functions for the tree.
func (m *Delivery) slipway(awsCredentials *dagger.Secret, aws *dagger.Service) *dagger.Slipway {
	return dag.Slipway(dagger.SlipwayOpts{Source: m.Source, AwsCredentials: awsCredentials, Aws: aws})
}
