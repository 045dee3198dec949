package ecs

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

func tagMap(tags []types.Tag) map[string]string {
	values := map[string]string{}
	for _, t := range tags {
		values[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return values
}

func (c *ControlPlane) setTags(arn string, tags []types.Tag) {
	if c.tags[arn] == nil {
		c.tags[arn] = map[string]string{}
	}
	maps.Copy(c.tags[arn], tagMap(tags))
}

func (c *ControlPlane) listTags(arn string) []types.Tag {
	tags := []types.Tag{}
	for _, key := range slices.Sorted(maps.Keys(c.tags[arn])) {
		tags = append(tags, types.Tag{Key: &key, Value: new(c.tags[arn][key])})
	}
	return tags
}

// addServiceResource records the service that a call changes, with its tags.
func (c *ControlPlane) addServiceResource(ctx context.Context, cl *cluster, ref *string) {
	arn := c.cfg.Scope.ARN("ecs", "service/"+cl.name+"/"+wire.ResourceName(aws.ToString(ref)))
	wire.AddResources(ctx, arn)
	wire.AddResourceTags(ctx, c.tags[arn])
}

// requireTagResource records the permission that a call with tags needs, and the tags.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/supported-iam-actions-tagging.html
func requireTagResource(ctx context.Context, call, arn string, tags []types.Tag) {
	wire.RequireTagging(ctx, "ecs", "TagResource", call, arn, tagMap(tags))
}

func (c *ControlPlane) tagResource(ctx context.Context, in *awsecs.TagResourceInput) (*awsecs.TagResourceOutput, error) {
	arn := aws.ToString(in.ResourceArn)
	wire.AddResources(ctx, arn)
	if err := c.exists(arn); err != nil {
		return nil, err
	}
	wire.AddResourceTags(ctx, c.tags[arn])
	wire.AddRequestTags(ctx, tagMap(in.Tags))
	c.setTags(arn, in.Tags)
	return &awsecs.TagResourceOutput{}, nil
}

func (c *ControlPlane) untagResource(ctx context.Context, in *awsecs.UntagResourceInput) (*awsecs.UntagResourceOutput, error) {
	arn := aws.ToString(in.ResourceArn)
	wire.AddResources(ctx, arn)
	if err := c.exists(arn); err != nil {
		return nil, err
	}
	for _, key := range in.TagKeys {
		delete(c.tags[arn], key)
	}
	return &awsecs.UntagResourceOutput{}, nil
}

func (c *ControlPlane) listTagsForResource(ctx context.Context, in *awsecs.ListTagsForResourceInput) (*awsecs.ListTagsForResourceOutput, error) {
	arn := aws.ToString(in.ResourceArn)
	wire.AddResources(ctx, arn)
	if err := c.exists(arn); err != nil {
		return nil, err
	}
	return &awsecs.ListTagsForResourceOutput{Tags: c.listTags(arn)}, nil
}

// exists returns an error if no resource has the ARN.
func (c *ControlPlane) exists(arn string) error {
	if _, ok := c.tasks[arn]; ok {
		return nil
	}
	if cl, ok := c.clusters[wire.ResourceName(arn)]; ok && cl.arn == arn {
		return nil
	}
	for _, cl := range c.clusters {
		if s, ok := cl.services[wire.ResourceName(arn)]; ok && s.arn == arn {
			return nil
		}
	}
	if d, err := c.findTaskDefinition(arn); err == nil && aws.ToString(d.TaskDefinitionArn) == arn {
		return nil
	}
	return wire.Errorf("InvalidParameterException", "The specified resource is not found: %s", arn)
}
