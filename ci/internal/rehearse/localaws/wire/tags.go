package wire

import "context"

// AddResourceTags records the tags of a resource that a call changes, as condition keys.
func AddResourceTags(ctx context.Context, tags map[string]string) {
	for key, value := range tags {
		AddCondition(ctx, "aws:ResourceTag/"+key, value)
	}
}

// AddRequestTags records the tags that a call sets, as condition keys.
func AddRequestTags(ctx context.Context, tags map[string]string) {
	for key, value := range tags {
		AddCondition(ctx, requestTag+key, value)
	}
}

const requestTag = "aws:RequestTag/"

// RequireTagging records the permission that a call with tags needs besides its own, to
// tag what it creates, and the tags. tagging is the service's action for that, and call
// the name of the call.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_tags.html
func RequireTagging(ctx context.Context, service, tagging, call, arn string, tags map[string]string) {
	if len(tags) == 0 {
		return
	}
	AddRequestTags(ctx, tags)
	conditions := map[string]string{service + ":CreateAction": call}
	for key, value := range tags {
		conditions[requestTag+key] = value
	}
	RequirePermission(ctx, service, tagging, arn, conditions)
}
