package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// latestTag is the only mutable tag.
const latestTag = "latest"

// LatestPolicy specifies whether to move the tag latest.
type LatestPolicy struct {
	// Move moves the tag to the published image, unless the commit's own tag
	// existed before: publishing an old commit again must not move latest back.
	// Always moves it even then.
	Move, Always bool
	// Reason is why the tag is not moved.
	Reason string
}

// The results for the tag latest.
const (
	LatestMoved     = "moved"
	LatestUnchanged = "unchanged" // it already names the image
	LatestNotMoved  = "left"
)

// LatestResult is the result for the tag latest.
type LatestResult struct {
	Result string `json:"result"`
	// Reason is why it was not moved.
	Reason string `json:"reason,omitempty"`
}

// latest moves the tag latest as the policy specifies. A registry that does not
// move it is reported and not an error: nothing depends on latest.
func (c *connection) latest(ctx context.Context, p Publication, digest v1.Hash, pushed bool) (LatestResult, error) {
	switch {
	case !p.Latest.Move:
		return LatestResult{LatestNotMoved, p.Latest.Reason}, nil
	case !pushed && !p.Latest.Always:
		return LatestResult{LatestNotMoved, "tag " + p.Tag + " already existed"}, nil
	}
	current, err := c.resolve(ctx, c.name.Tag(latestTag))
	if err == nil && current == digest {
		return LatestResult{Result: LatestUnchanged}, nil
	}
	if err == nil {
		err = c.pusher.Put(ctx, c.name.Tag(latestTag), p.Index)
	}
	switch {
	case err == nil:
		return LatestResult{Result: LatestMoved}, nil
	case ctx.Err() != nil:
		return LatestResult{}, c.explain(ctx, "moving latest", err)
	case isImmutable(err):
		return LatestResult{LatestNotMoved, fmt.Sprintf("repository %s has immutable tags", c.name.RepositoryStr())}, nil
	}
	return LatestResult{LatestNotMoved, c.explain(ctx, "moving latest", err).Error()}, nil
}

// isImmutable reports whether the registry refuses to move a tag. ECR responds with
// TAG_INVALID and status 400.
func isImmutable(err error) bool {
	var response *transport.Error
	if !errors.As(err, &response) {
		return false
	}
	return response.StatusCode == http.StatusConflict || response.StatusCode == http.StatusPreconditionFailed ||
		hasErrorCode(response, transport.TagInvalidErrorCode)
}
