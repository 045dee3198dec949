package image

import (
	"net/http"

	"dagger/slipway/internal/registry"
)

// newTransport carries requests to the registries of base images.
func newTransport() *http.Transport { return registry.NewTransport() }
