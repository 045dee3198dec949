package policy_test

import (
	"context"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/cli"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal/rehearsaltest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/test/policy"
)

// previewPolicy is enough for previews beside the services of the prefix ecs, and allows
// changes of nothing else: names alone do not tell, since a service may be called "products".
// IAM cannot limit ecs:DeregisterTaskDefinition, so it is not granted.
const previewPolicy = `{"Version": "2012-10-17", "Statement": [
  {"Sid": "Read", "Effect": "Allow", "Resource": "*", "Action": [
    "ecr:GetAuthorizationToken", "ecs:DescribeTaskDefinition", "ecs:ListServices", "ecs:ListTaskDefinitionFamilies", "ecs:ListTaskDefinitions",
    "elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTags",
    "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth", "logs:DescribeLogGroups"]},
  {"Sid": "Images", "Effect": "Allow", "Resource": "arn:aws:ecr:us-east-1:000000000000:repository/ecs-microservices-*", "Action": [
    "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImages", "ecr:DescribeRepositories",
    "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart"]},
  {"Sid": "ReadCluster", "Effect": "Allow", "Resource": "arn:aws:ecs:us-east-1:000000000000:cluster/ecs-cluster", "Action": "ecs:DescribeClusters"},
  {"Sid": "ReadServices", "Effect": "Allow", "Resource": "arn:aws:ecs:us-east-1:000000000000:service/ecs-cluster/*", "Action": "ecs:DescribeServices"},
  {"Sid": "ReadTasks", "Effect": "Allow", "Resource": "*", "Action": ["ecs:ListTasks", "ecs:DescribeTasks"],
    "Condition": {"ArnEquals": {"ecs:cluster": "arn:aws:ecs:us-east-1:000000000000:cluster/ecs-cluster"}}},
  {"Sid": "Watch", "Effect": "Allow", "Action": ["ecs:DescribeServiceDeployments", "ecs:ListServiceDeployments", "ecs:StopServiceDeployment"], "Resource": [
    "arn:aws:ecs:us-east-1:000000000000:service/ecs-cluster/ecs-pr*-*", "arn:aws:ecs:us-east-1:000000000000:service-deployment/ecs-cluster/ecs-pr*-*/*"]},
  {"Sid": "Register", "Effect": "Allow", "Action": "ecs:RegisterTaskDefinition", "Resource": "arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-pr*-*:*",
    "Condition": {"Null": {"aws:RequestTag/slipway:preview": "false"}}},
  {"Sid": "Create", "Effect": "Allow", "Action": "ecs:CreateService", "Resource": "arn:aws:ecs:us-east-1:000000000000:service/ecs-cluster/ecs-pr*-*",
    "Condition": {"Null": {"aws:RequestTag/slipway:preview": "false"}, "ArnLike": {"ecs:task-definition": "arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-pr*-*:*"}}},
  {"Sid": "TagCreated", "Effect": "Allow", "Action": "ecs:TagResource",
    "Resource": ["arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-pr*-*:*", "arn:aws:ecs:us-east-1:000000000000:service/ecs-cluster/ecs-pr*-*"],
    "Condition": {"StringEquals": {"ecs:CreateAction": ["RegisterTaskDefinition", "CreateService"]}}},
  {"Sid": "Tag", "Effect": "Allow", "Action": "ecs:TagResource", "Resource": "arn:aws:ecs:us-east-1:000000000000:service/ecs-cluster/ecs-pr*-*",
    "Condition": {"Null": {"aws:ResourceTag/slipway:preview": "false"}}},
  {"Sid": "Update", "Effect": "Allow", "Action": "ecs:UpdateService", "Resource": "arn:aws:ecs:us-east-1:000000000000:service/ecs-cluster/ecs-pr*-*",
    "Condition": {"Null": {"aws:ResourceTag/slipway:preview": "false"}, "ArnLike": {"ecs:task-definition": "arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-pr*-*:*"}}},
  {"Sid": "Delete", "Effect": "Allow", "Action": "ecs:DeleteService", "Resource": "arn:aws:ecs:us-east-1:000000000000:service/ecs-cluster/ecs-pr*-*",
    "Condition": {"Null": {"aws:ResourceTag/slipway:preview": "false"}}},
  {"Sid": "PassRoles", "Effect": "Allow", "Action": "iam:PassRole",
    "Resource": ["arn:aws:iam::000000000000:role/ecs-*-task-role", "arn:aws:iam::000000000000:role/ecs-task-execution-role"],
    "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}},
  {"Sid": "CreateFront", "Effect": "Allow", "Action": ["elasticloadbalancing:CreateTargetGroup", "elasticloadbalancing:CreateRule"],
    "Resource": ["arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/ecs-pr*-*/*", "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/app/ecs-alb/*/*"],
    "Condition": {"Null": {"aws:RequestTag/slipway:preview": "false"}}},
  {"Sid": "TagCreatedFront", "Effect": "Allow", "Action": "elasticloadbalancing:AddTags",
    "Resource": ["arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/ecs-pr*-*/*", "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener-rule/app/ecs-alb/*/*/*"],
    "Condition": {"StringEquals": {"elasticloadbalancing:CreateAction": ["CreateTargetGroup", "CreateRule"]}}},
  {"Sid": "ChangeFront", "Effect": "Allow", "Action": ["elasticloadbalancing:AddTags", "elasticloadbalancing:DeleteRule", "elasticloadbalancing:DeleteTargetGroup", "elasticloadbalancing:ModifyTargetGroupAttributes"],
    "Resource": ["arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/ecs-pr*-*/*", "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener-rule/app/ecs-alb/*/*/*"],
    "Condition": {"Null": {"aws:ResourceTag/slipway:preview": "false"}}},
  {"Sid": "Logs", "Effect": "Allow", "Action": "logs:GetLogEvents", "Resource": "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/ecs-*:log-stream:pr*"}
]}`

// TestPreviewPolicy makes, updates, interrupts, breaks and removes previews.
func TestPreviewPolicy(t *testing.T) {
	calls := previewCalls(t)
	rendered := grants(t, map[string]any{"environments": map[string]any{"production": map[string]any{"previews": true}}})
	bootstraps := use(parseRole(t, rendered, "preview"))
	// Of service deployments it asks for a tag, which the embedded AWS does not record.
	bootstraps.add(t, slices.DeleteFunc(slices.Clone(calls), func(c localaws.Call) bool { return c.Action == "StopServiceDeployment" }))
	require.Empty(t, bootstraps.Denied(), "the pipeline calls what bootstrap's role may not")

	role := use(parse(t, previewPolicy))
	role.add(t, calls)
	require.Empty(t, role.Denied())
	unused := slices.DeleteFunc(role.unused(), func(g policy.Grant) bool {
		return g.Sid == "Watch" && (strings.Contains(g.Text, "List") || strings.Contains(g.Text, ":service/")) // after a lost response
	})
	require.Empty(t, unused)

	const services, groups = "arn:aws:ecs:us-east-1:000000000000:service/ecs-cluster/", "arn:aws:elasticloadbalancing:us-east-1:000000000000:"
	tag := []string{"7"}
	for name, request := range map[string]policy.Request{
		"the environment's service":           {Action: "ecs:UpdateService", Resource: services + "ecs-api-service"},
		"one whose name is like a preview's":  {Action: "ecs:DeleteService", Resource: services + "ecs-products-service"},
		"a service taken over by its tag":     {Action: "ecs:TagResource", Resource: services + "ecs-products-service", Context: map[string][]string{"aws:RequestTag/slipway:preview": tag}},
		"the environment's revisions":         {Action: "ecs:DeregisterTaskDefinition", Resource: "*"},
		"a revision of the environment":       {Action: "ecs:RegisterTaskDefinition", Resource: "arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-api-task:*", Context: map[string][]string{"aws:RequestTag/slipway:preview": tag}},
		"a service without the tag":           {Action: "ecs:CreateService", Resource: services + "ecs-pr7-api"},
		"the environment's rule":              {Action: "elasticloadbalancing:DeleteRule", Resource: groups + "listener-rule/app/ecs-alb/1/2/3"},
		"the environment's rule, by its tag":  {Action: "elasticloadbalancing:AddTags", Resource: groups + "listener-rule/app/ecs-alb/1/2/3", Context: map[string][]string{"aws:RequestTag/slipway:preview": tag}},
		"the environment's target group":      {Action: "elasticloadbalancing:DeleteTargetGroup", Resource: groups + "targetgroup/ecs-api-tg/1", Context: map[string][]string{"aws:ResourceTag/slipway:preview": tag}},
		"the listener":                        {Action: "elasticloadbalancing:ModifyListener", Resource: groups + "listener/app/ecs-alb/1/2"},
		"another load balancer":               {Action: "elasticloadbalancing:CreateRule", Resource: groups + "listener/app/shop-alb/1/2", Context: map[string][]string{"aws:RequestTag/slipway:preview": tag}},
		"the environment's preview revisions": {Action: "ecs:UpdateService", Resource: services + "ecs-pr7-api", Context: map[string][]string{"aws:ResourceTag/slipway:preview": tag, "ecs:task-definition": {"arn:aws:ecs:us-east-1:000000000000:task-definition/ecs-api-task:1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			decided := use(parse(t, previewPolicy))
			require.NoError(t, decided.Add(request))
			require.NotEmpty(t, decided.Denied())
		})
	}
}

// previewCalls returns the calls of every command of previews, by a role that may not
// deregister.
func previewCalls(t *testing.T) []localaws.Call {
	t.Helper()
	seen := -1
	calls := rehearse(t, rehearsal.Happy, func(dir, endpoint string) {
		rehearsaltest.SetEnv(t, endpoint)
		sourcetest.Write(t, dir, "terraform/environments/staging.tfvars.json", `{"environment": "staging"}`)
		commit(t, dir, "one")
		at := func(code outcome.Code, args ...string) {
			t.Helper()
			run(t, code, append(append([]string{"preview"}, args...), "--source", dir)...)
		}
		at(outcome.Done, "list")
		at(outcome.Done, "up", "--pr", "7", "--host-suffix", "preview.example.com")
		commit(t, dir, "two")
		at(outcome.Done, "up", "--pr", "7") // with other rules
		commit(t, dir, "three")
		at(outcome.Interrupted, "up", "--pr", "7")
		sourcetest.Write(t, dir, "api/note.go", "package main\n\nfunc init() { panic(1) }\n")
		commit(t, dir, "broken")
		require.Equal(t, outcome.Restored, cli.Run(context.WithoutCancel(t.Context()), []string{"preview", "up", "--pr", "7", "--source", dir}, io.Discard, t.Output(), nil))
		at(outcome.Done, "list")
		at(outcome.Done, "sweep", "--open", "none")
		at(outcome.Done, "down", "--pr", "7")
	})
	for n, call := range calls {
		if call.Action == "ListServices" && seen < 0 {
			seen = n
		}
	}
	require.GreaterOrEqual(t, seen, 0)
	return slices.DeleteFunc(calls[seen:], func(c localaws.Call) bool { return c.Action == "DeregisterTaskDefinition" })
}
