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

// Latest says what shall become of the tag latest.
type Latest struct {
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
	LatestLeft      = "left"
)

// Moved is what became of the tag latest.
type Moved struct {
	Result string `json:"result"`
	// Reason says why it was left.
	Reason string `json:"reason,omitempty"`
}

// latest moves the tag latest, as far as it may. What keeps the registry from
// moving it is told, and no failure: nothing depends on latest.
func (c *connection) latest(ctx context.Context, p Publication, digest v1.Hash, pushed bool) (Moved, error) {
	switch {
	case !p.Latest.Move:
		return Moved{LatestLeft, p.Latest.Reason}, nil
	case !pushed && !p.Latest.Always:
		return Moved{LatestLeft, "tag " + p.Tag + " was published before"}, nil
	}
	held, err := c.find(ctx, c.name.Tag(latestTag))
	if err == nil && held == digest {
		return Moved{Result: LatestUnchanged}, nil
	}
	if err == nil {
		err = c.pusher.Put(ctx, c.name.Tag(latestTag), p.Index)
	}
	switch {
	case err == nil:
		return Moved{Result: LatestMoved}, nil
	case ctx.Err() != nil:
		return Moved{}, c.explain(ctx, "moving latest", err)
	case immutable(err):
		return Moved{LatestLeft, fmt.Sprintf("repository %s does not let it move", c.name.RepositoryStr())}, nil
	}
	return Moved{LatestLeft, c.explain(ctx, "moving latest", err).Error()}, nil
}

// immutable tells the answer of a registry that does not move a tag; ECR's is
// TAG_INVALID with status 400.
func immutable(err error) bool {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return false
	}
	return answer.StatusCode == http.StatusConflict || answer.StatusCode == http.StatusPreconditionFailed ||
		slices.ContainsFunc(answer.Errors, func(d transport.Diagnostic) bool { return d.Code == transport.TagInvalidErrorCode })
}
