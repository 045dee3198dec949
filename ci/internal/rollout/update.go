package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"golang.org/x/sync/errgroup"
)

// register registers the new revisions, all before the first service is
// updated: a revision that nobody runs changes nothing. They go one after
// another because ECS takes one a second.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
func (e Engine) register(ctx context.Context, moves []*move) error {
	for _, m := range moves {
		if m.definition == nil {
			continue
		}
		m.definition.Tags = releaseTags(m)
		out, err := e.ECS.RegisterTaskDefinition(ctx, m.definition)
		if err != nil {
			return fmt.Errorf("registering a revision of %s: %w", m.target.Service.Family(), err)
		}
		m.to.TaskDefinition = aws.ToString(out.TaskDefinition.TaskDefinitionArn)
		e.Event(m.name(), "registered "+afterSlash(m.to.TaskDefinition))
	}
	return nil
}

func releaseTags(m *move) []types.Tag {
	_, digest, _ := strings.Cut(m.to.Image, "@")
	return []types.Tag{
		{Key: aws.String(TagSHA), Value: &m.to.SHA},
		{Key: aws.String(TagDigest), Value: &digest},
	}
}

// update updates the services, all at the same time. From here on production
// may have changed: an error does not say that it has not.
func (e Engine) update(ctx context.Context, request Request, moves []*move) error {
	failures := make([]error, len(moves))
	var group errgroup.Group
	for n, m := range moves {
		if ctx.Err() != nil {
			break
		}
		m.touched, m.started = true, e.Clock.Now()
		group.Go(func() error {
			failures[n] = e.updateService(ctx, request.Cluster, m)
			return nil
		})
	}
	_ = group.Wait() // failures has the errors, all of them
	return errors.Join(errors.Join(failures...), context.Cause(ctx))
}

func (e Engine) updateService(ctx context.Context, cluster string, m *move) error {
	name := m.target.Service.ServiceName()
	out, err := e.ECS.UpdateService(ctx, &ecs.UpdateServiceInput{
		Cluster: &cluster, Service: &name, TaskDefinition: &m.to.TaskDefinition,
	})
	if err != nil {
		m.err = fmt.Errorf("updating service %s: %w", name, err)
		return m.err
	}
	m.recognise(out.Service.Deployments)
	e.Event(m.name(), fmt.Sprintf("deployment %s started", m.own))
	return nil
}

// nextSteps are the commands that a human runs for what could not be restored.
func nextSteps(cluster string, moves []*move) string {
	var commands []string
	for _, m := range moves {
		if m.touched && m.verdict != arrived {
			commands = append(commands, fmt.Sprintf("aws ecs update-service --cluster %s --service %s --task-definition %s",
				cluster, m.target.Service.ServiceName(), m.from.TaskDefinition))
		}
	}
	return strings.Join(commands, " && ")
}

func afterSlash(arn string) string { return arn[strings.LastIndex(arn, "/")+1:] }
