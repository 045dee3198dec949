package rollout

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/config/platform"
)

// PastDeployment is an earlier successful deployment of an image.
type PastDeployment struct {
	// From is when the deployment was complete, To when the next one began.
	From, To time.Time
	// RolledBack is true if the next deployment restored what ran before this one: the
	// release was restored, or rolled back.
	RolledBack bool
}

// FindDeployment returns the last successful deployment of an image, by its digest, to a
// service that runs another one; nil if ECS knows none.
func (e Engine) FindDeployment(ctx context.Context, s platform.Service, digest string) (*PastDeployment, error) {
	var found *PastDeployment
	var later deploymentRecord
	known, err := e.eachDeployment(ctx, s, func(r deploymentRecord) (bool, error) {
		next := later
		later = r
		if r.Status != types.ServiceDeploymentStatusSuccessful {
			return false, nil
		}
		definition, tags, err := e.findDefinition(ctx, r.revision)
		if err != nil || definition == nil || !strings.HasSuffix(imageOf(*definition, s.ContainerName()), "@"+digest) {
			return false, err
		}
		found = &PastDeployment{From: aws.ToTime(r.FinishedAt).UTC(), To: aws.ToTime(next.CreatedAt).UTC()}
		if from := parseTags(tags).from; from != "" && next.revision != "" {
			_, nextTags, err := e.findDefinition(ctx, next.revision)
			found.RolledBack = next.revision == from || parseTags(nextTags).copyOf == from
			return true, err
		}
		return true, nil
	})
	if err == nil && !known {
		err = fmt.Errorf("the deployments of %s cannot be listed (ecs:ListServiceDeployments, ecs:DescribeServiceRevisions), so it is unknown whether an earlier release succeeded", s.ServiceName())
	}
	return found, err
}
