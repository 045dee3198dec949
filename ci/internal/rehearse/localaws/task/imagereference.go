package task

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/registry"
)

// preferredPlatforms returns the image platforms in the order of preference: this
// machine's, Linux on its architecture, and the task definition's.
func preferredPlatforms(architecture string) []v1.Platform {
	if architecture != "arm64" {
		architecture = "amd64"
	}
	return []v1.Platform{
		{OS: runtime.GOOS, Architecture: runtime.GOARCH},
		{OS: "linux", Architecture: runtime.GOARCH},
		{OS: "linux", Architecture: architecture},
	}
}

// toPullError returns the error of a failed pull with Fargate's stoppedReason.
func toPullError(ref string, err error) error {
	var platform registry.PlatformError
	switch {
	case errors.Is(err, registry.ErrManifestUnknown), errors.Is(err, registry.ErrRepositoryUnknown):
		return resolveError(ref, ref+": not found")
	case errors.As(err, &platform):
		return &PullError{"pull image manifest has been retried 1 time(s): " + platform.Error()}
	default:
		return resolveError(ref, err.Error())
	}
}

func resolveError(ref, reason string) error {
	return &PullError{fmt.Sprintf("pull image manifest has been retried 1 time(s): failed to resolve ref %s: %s", ref, reason)}
}

// normalizeReference completes a reference without a host as the container runtime
// does.
func normalizeReference(ref string) string {
	first, _, nested := strings.Cut(ref, "/")
	switch {
	case !nested:
		ref = "docker.io/library/" + ref
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		ref = "docker.io/" + ref
	}
	if last := ref[strings.LastIndexByte(ref, '/'):]; !strings.ContainsAny(last, ":@") {
		ref += ":latest"
	}
	return ref
}
