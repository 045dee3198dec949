package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// PastDeployment is an earlier successful deployment of an image.
type PastDeployment struct {
	// From is when the deployment was complete, To when the next one began.
	From, To time.Time
	// RolledBack is true if a later deployment brought back a revision from before this one:
	// the release was restored, or rolled back.
	RolledBack bool
}

// FindDeployment returns the last successful deployment of an image, by its digest, to a
// service that runs another one; nil if ECS knows none.
func (e Engine) FindDeployment(ctx context.Context, s platform.Service, digest string) (*PastDeployment, error) {
	var found *PastDeployment
	var later deploymentRecord
	var laterRevisions []string
	known, err := e.eachDeployment(ctx, s, func(r deploymentRecord) (bool, error) {
		next := later
		later = r
		if r.revision == "" {
			return false, nil
		}
		definition, tags, err := e.findDefinition(ctx, r.revision)
		if err != nil {
			return false, err
		}
		revision := cmp.Or(parseTags(tags).copyOf, r.revision)
		if r.Status != types.ServiceDeploymentStatusSuccessful || definition == nil || !strings.HasSuffix(imageOf(*definition, s.ContainerName()), "@"+digest) {
			laterRevisions = append(laterRevisions, revision)
			return false, nil
		}
		isBefore := func(later string) bool {
			return familyOf(later) == familyOf(revision) && registeredAfter(revision, later)
		}
		found = &PastDeployment{
			From: aws.ToTime(r.FinishedAt).UTC(), To: aws.ToTime(next.CreatedAt).UTC(), RolledBack: slices.ContainsFunc(laterRevisions, isBefore),
		}
		return true, nil
	})
	if err == nil && !known {
		err = fmt.Errorf("the deployments of %s cannot be listed (ecs:ListServiceDeployments, ecs:DescribeServiceRevisions), so it is unknown whether an earlier release succeeded", s.ServiceName())
	}
	return found, err
}
