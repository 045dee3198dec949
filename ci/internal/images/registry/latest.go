package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// latestTag is the one tag that moves.
const latestTag = "latest"

// LatestPolicy says what shall become of the tag latest.
type LatestPolicy struct {
	// Move moves it to what is published. It stays where the tag of the publication
	// was there before, unless Always: to publish an old commit again shall not
	// bring latest back to it.
	Move, Always bool
	// Reason says why it is not moved.
	Reason string
}

// What became of the tag latest.
const (
	LatestMoved     = "moved"
	LatestUnchanged = "unchanged" // it named the image already
	LatestNotMoved  = "left"
)

// LatestResult is what became of the tag latest.
type LatestResult struct {
	Result string `json:"result"`
	// Reason says why it was left.
	Reason string `json:"reason,omitempty"`
}

// latest moves the tag latest, as far as it may. What keeps the registry from
// moving it is told, and no failure: nothing depends on latest.
func (c *connection) latest(ctx context.Context, p Publication, digest v1.Hash, pushed bool) (LatestResult, error) {
	switch {
	case !p.Latest.Move:
		return LatestResult{LatestNotMoved, p.Latest.Reason}, nil
	case !pushed && !p.Latest.Always:
		return LatestResult{LatestNotMoved, "tag " + p.Tag + " was published before"}, nil
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
		return LatestResult{LatestNotMoved, fmt.Sprintf("repository %s does not let it move", c.name.RepositoryStr())}, nil
	}
	return LatestResult{LatestNotMoved, c.explain(ctx, "moving latest", err).Error()}, nil
}

// isImmutable tells the answer of a registry that does not move a tag; ECR's is
// TAG_INVALID with status 400.
func isImmutable(err error) bool {
	var response *transport.Error
	if !errors.As(err, &response) {
		return false
	}
	return response.StatusCode == http.StatusConflict || response.StatusCode == http.StatusPreconditionFailed ||
		slices.ContainsFunc(response.Errors, func(d transport.Diagnostic) bool { return d.Code == transport.TagInvalidErrorCode })
}
