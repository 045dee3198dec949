package policy_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/policy"
	"github.com/slipway-cd/slipway/ci/test/terraform"
)

// account is the account number of the embedded AWS.
const account = "000000000000"

// grants renders bootstrap's policies with additional variables.
func grants(t *testing.T, more map[string]any) terraform.Grants {
	t.Helper()
	variables := map[string]any{"account_id": account, "github_repository": "acme/shop"}
	for name, value := range more {
		variables[name] = value
	}
	return terraform.Render(t, variables)
}

// rolePolicies returns the policies of a role.
func rolePolicies(t *testing.T, role string) policy.Policies {
	t.Helper()
	rendered := grants(t, nil)
	require.Contains(t, rendered.Roles, role)
	var texts []string
	for _, name := range rendered.Roles[role] {
		texts = append(texts, rendered.Policies[name])
	}
	return parse(t, texts...)
}

// TestEveryPolicyIsUnderstood parses every policy of bootstrap.
func TestEveryPolicyIsUnderstood(t *testing.T) {
	all := environments(t, map[string]any{"promote_from": "staging"}, map[string]any{"previews": true, "promoted_by": []string{"live"}}).Policies
	maps.Copy(all, grants(t, map[string]any{"services": []string{"backend", "frontend"}}).Policies)
	for name, text := range all {
		var err error
		if strings.Contains(name, "trust-") {
			_, err = policy.ParseTrust(text)
		} else {
			_, err = policy.Parse(text)
		}
		require.NoError(t, err, name)
	}
}

// TestEveryGrantIsSpelledOut forbids grants by wildcard or exclusion, which would
// include actions that AWS adds later.
func TestEveryGrantIsSpelledOut(t *testing.T) {
	for role := range grants(t, nil).Roles {
		for _, document := range rolePolicies(t, role) {
			for _, s := range document.Statements {
				if s.Deny {
					continue
				}
				require.False(t, s.Actions.Not || s.Resources.Not, "%s: %s allows all but what it names", role, s.Sid)
				for _, action := range s.Actions.Values {
					require.NotContains(t, action, "*", "%s: %s", role, s.Sid)
				}
			}
		}
	}
}

// reads are the prefixes of read-only actions.
var reads = []string{"Describe", "Get", "List"}

// telling lists read-only actions that return a secret or give access.
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
var telling = []string{
	"ecr:GetAuthorizationToken", "kms:Decrypt", "lambda:GetFunction", "logs:GetLogEvents", "s3:GetObject", "secretsmanager:GetSecretValue",
	"ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath", "sts:GetFederationToken", "sts:GetSessionToken",
}

// TestPlanRoleReads checks that the plan role can only read, and of file contents only
// the state.
func TestPlanRoleReads(t *testing.T) {
	role := rolePolicies(t, "plan")
	var contents []string
	for _, document := range role {
		for _, s := range document.Statements {
			if s.Deny {
				continue
			}
			require.False(t, s.Actions.Not, "%s allows whatever it does not name", s.Sid)
			for _, action := range s.Actions.Values {
				service, name, _ := strings.Cut(action, ":")
				require.True(t, slices.ContainsFunc(reads, func(verb string) bool { return strings.HasPrefix(name, verb) }), "%s is no read", action)
				require.NotContains(t, action, "*")
				if slices.Contains(telling, action) || service == "dynamodb" {
					contents = append(contents, action+" "+strings.Join(s.Resources.Values, " "))
				}
			}
		}
	}
	slices.Sort(contents)
	require.Equal(t, []string{
		"dynamodb:GetItem arn:aws:dynamodb:us-east-1:000000000000:table/terraform-locks",
		"s3:GetObject arn:aws:s3:::ecs-microservices-state-000000000000/ecs-microservices/prod/terraform.tfstate",
	}, contents)
	// Even with an attached policy that allows everything.
	widened := slices.Concat(role, parse(t, document(statement("Allow", "*", "*"))))
	for _, secret := range []policy.Request{
		{Action: "s3:GetObject", Resource: "arn:aws:s3:::ecs-microservices-state-000000000000/other/terraform.tfstate"},
		{Action: "s3:GetObjectVersion", Resource: "arn:aws:s3:::anything/at/all"},
		{Action: "secretsmanager:GetSecretValue", Resource: "arn:aws:secretsmanager:us-east-1:000000000000:secret:ecs/a"},
		{Action: "ssm:GetParameter", Resource: "arn:aws:ssm:us-east-1:000000000000:parameter/ecs/a"},
		{Action: "kms:Decrypt", Resource: "arn:aws:kms:us-east-1:000000000000:key/a"},
	} {
		require.Equal(t, policy.Denied, decide(t, widened, secret).Decision, "%+v", secret)
	}
}

func decide(t *testing.T, policies policy.Policies, r policy.Request) policy.Verdict {
	t.Helper()
	verdict, err := policies.Decide(r)
	require.NoError(t, err)
	return verdict
}

// conditionContext returns a request context of single-valued keys.
func conditionContext(pairs ...string) map[string][]string {
	values := map[string][]string{}
	for n := 0; n < len(pairs); n += 2 {
		values[pairs[n]] = []string{pairs[n+1]}
	}
	return values
}

const (
	iamPrefix = "arn:aws:iam::" + account + ":"
	own       = iamPrefix + "role/github-actions-terraform-role"
	task      = iamPrefix + "role/ecs-backend-task-role"
	boundary  = iamPrefix + "policy/ecs-permissions-boundary"
	admin     = "arn:aws:iam::aws:policy/AdministratorAccess"
	oidc      = iamPrefix + "oidc-provider/" + issuer
	state     = "arn:aws:s3:::ecs-microservices-state-" + account
	regional  = ":us-east-1:" + account + ":"
	cluster   = "arn:aws:ecs" + regional + "cluster/ecs-cluster"
	schedule  = iamPrefix + "role/ecs-clock-schedule-role"
	shifter   = iamPrefix + "role/ecs-ecs-infrastructure-role"
	elb       = "arn:aws:elasticloadbalancing" + regional
)

// escalations are attempts to gain more permissions with the apply or deploy role.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html#access_policies_boundaries-delegate
var escalations = map[string]policy.Request{
	"a role without a boundary":            {Action: "iam:CreateRole", Resource: task},
	"a role with another boundary":         {Action: "iam:CreateRole", Resource: task, Context: conditionContext("iam:PermissionsBoundary", admin)},
	"a role of another name":               {Action: "iam:CreateRole", Resource: iamPrefix + "role/mine", Context: conditionContext("iam:PermissionsBoundary", boundary)},
	"a policy of a role without one":       {Action: "iam:PutRolePolicy", Resource: task},
	"a policy of its own role":             {Action: "iam:PutRolePolicy", Resource: own, Context: conditionContext("iam:PermissionsBoundary", boundary)},
	"administrator of itself":              {Action: "iam:AttachRolePolicy", Resource: own, Context: conditionContext("iam:PolicyARN", admin)},
	"administrator of a task":              {Action: "iam:AttachRolePolicy", Resource: task, Context: conditionContext("iam:PolicyARN", admin, "iam:PermissionsBoundary", boundary)},
	"the guard off":                        {Action: "iam:DetachRolePolicy", Resource: own, Context: conditionContext("iam:PolicyARN", iamPrefix+"policy/ecs-ci-apply-guard")},
	"its own boundary":                     {Action: "iam:PutRolePermissionsBoundary", Resource: own, Context: conditionContext("iam:PermissionsBoundary", boundary)},
	"a task's boundary off":                {Action: "iam:DeleteRolePermissionsBoundary", Resource: task},
	"a task's boundary widened":            {Action: "iam:PutRolePermissionsBoundary", Resource: task, Context: conditionContext("iam:PermissionsBoundary", admin)},
	"another version of the boundary":      {Action: "iam:CreatePolicyVersion", Resource: boundary},
	"an older version of the boundary":     {Action: "iam:SetDefaultPolicyVersion", Resource: boundary},
	"the boundary away":                    {Action: "iam:DeletePolicy", Resource: boundary},
	"another version of its own policy":    {Action: "iam:CreatePolicyVersion", Resource: iamPrefix + "policy/ecs-ci-apply-services"},
	"a policy":                             {Action: "iam:CreatePolicy", Resource: iamPrefix + "policy/mine"},
	"who may assume itself":                {Action: "iam:UpdateAssumeRolePolicy", Resource: own},
	"who may assume the deploy role":       {Action: "iam:UpdateAssumeRolePolicy", Resource: iamPrefix + "role/github-actions-deploy-role"},
	"its role away":                        {Action: "iam:DeleteRole", Resource: own},
	"another identity provider":            {Action: "iam:CreateOpenIDConnectProvider", Resource: iamPrefix + "oidc-provider/evil.example"},
	"GitHub's thumbprint":                  {Action: "iam:UpdateOpenIDConnectProviderThumbprint", Resource: oidc},
	"another audience of GitHub's":         {Action: "iam:AddClientIDToOpenIDConnectProvider", Resource: oidc},
	"GitHub's provider away":               {Action: "iam:DeleteOpenIDConnectProvider", Resource: oidc},
	"a user":                               {Action: "iam:CreateUser", Resource: iamPrefix + "user/mine"},
	"keys of a user":                       {Action: "iam:CreateAccessKey", Resource: iamPrefix + "user/root"},
	"an instance profile":                  {Action: "iam:AddRoleToInstanceProfile", Resource: iamPrefix + "instance-profile/a"},
	"its own role passed to tasks":         {Action: "iam:PassRole", Resource: own, Context: conditionContext("iam:PassedToService", "ecs-tasks.amazonaws.com")},
	"another role passed to tasks":         {Action: "iam:PassRole", Resource: iamPrefix + "role/admin", Context: conditionContext("iam:PassedToService", "ecs-tasks.amazonaws.com")},
	"a task's role passed to a machine":    {Action: "iam:PassRole", Resource: task, Context: conditionContext("iam:PassedToService", "ec2.amazonaws.com")},
	"a task's role passed to a function":   {Action: "iam:PassRole", Resource: task, Context: conditionContext("iam:PassedToService", "lambda.amazonaws.com")},
	"a task's role passed to ECS itself":   {Action: "iam:PassRole", Resource: task, Context: conditionContext("iam:PassedToService", "ecs.amazonaws.com")},
	"the infrastructure role to tasks":     {Action: "iam:PassRole", Resource: shifter, Context: conditionContext("iam:PassedToService", "ecs-tasks.amazonaws.com")},
	"a task's role passed to who knows":    {Action: "iam:PassRole", Resource: task},
	"another role assumed":                 {Action: "sts:AssumeRole", Resource: iamPrefix + "role/admin"},
	"a task's role assumed":                {Action: "sts:AssumeRole", Resource: task},
	"a service-linked role of anybody":     {Action: "iam:CreateServiceLinkedRole", Resource: iamPrefix + "role/aws-service-role/ec2.amazonaws.com/x", Context: conditionContext("iam:AWSServiceName", "spot.amazonaws.com")},
	"the state's bucket policy":            {Action: "s3:PutBucketPolicy", Resource: state},
	"its bucket policy away":               {Action: "s3:DeleteBucketPolicy", Resource: state},
	"its versions off":                     {Action: "s3:PutBucketVersioning", Resource: state},
	"its bucket public":                    {Action: "s3:PutBucketPublicAccessBlock", Resource: state},
	"its bucket away":                      {Action: "s3:DeleteBucket", Resource: state},
	"its versions away":                    {Action: "s3:DeleteObjectVersion", Resource: state + "/ecs-microservices/prod/terraform.tfstate"},
	"the state away":                       {Action: "s3:DeleteObject", Resource: state + "/ecs-microservices/prod/terraform.tfstate"},
	"another state":                        {Action: "s3:PutObject", Resource: state + "/other/terraform.tfstate"},
	"its access log":                       {Action: "s3:PutBucketPolicy", Resource: state + "-logs"},
	"the log's objects":                    {Action: "s3:PutObject", Resource: state + "-logs/access/a"},
	"another's lock table":                 {Action: "dynamodb:DeleteItem", Resource: "arn:aws:dynamodb" + regional + "table/other"},
	"the lock table away":                  {Action: "dynamodb:DeleteTable", Resource: "arn:aws:dynamodb" + regional + "table/terraform-locks"},
	"a key":                                {Action: "kms:CreateKey", Resource: "*", Context: conditionContext("aws:RequestTag/Project", "ecs-microservices")},
	"a key's policy":                       {Action: "kms:PutKeyPolicy", Resource: "arn:aws:kms" + regional + "key/a", Context: conditionContext("aws:ResourceTag/Project", "ecs-microservices")},
	"a key taken over by its tag":          {Action: "kms:TagResource", Resource: "arn:aws:kms" + regional + "key/a", Context: conditionContext("aws:RequestTag/Project", "ecs-microservices")},
	"a key's contents":                     {Action: "kms:Decrypt", Resource: "arn:aws:kms" + regional + "key/a", Context: conditionContext("aws:ResourceTag/Project", "ecs-microservices")},
	"a network taken over by its tag":      {Action: "ec2:CreateTags", Resource: "arn:aws:ec2" + regional + "vpc/vpc-1", Context: conditionContext("aws:RequestTag/Project", "ecs-microservices")},
	"a subnet in somebody's network":       {Action: "ec2:CreateSubnet", Resource: "arn:aws:ec2" + regional + "vpc/vpc-1", Context: conditionContext("aws:RequestTag/Project", "ecs-microservices", "aws:ResourceTag/Project", "other")},
	"somebody's group opened":              {Action: "ec2:AuthorizeSecurityGroupIngress", Resource: "arn:aws:ec2" + regional + "security-group/sg-1", Context: conditionContext("aws:ResourceTag/Project", "other")},
	"somebody's group taken over by a tag": {Action: "ec2:CreateTags", Resource: "arn:aws:ec2" + regional + "security-group/sg-1", Context: conditionContext("aws:ResourceTag/Project", "other", "aws:RequestTag/Project", "ecs-microservices")},
	"a machine":                            {Action: "ec2:RunInstances", Resource: "arn:aws:ec2" + regional + "instance/*", Context: conditionContext("aws:RequestTag/Project", "ecs-microservices")},
	"a function":                           {Action: "lambda:CreateFunction", Resource: "arn:aws:lambda" + regional + "function:a"},
	"a command in a task":                  {Action: "ecs:ExecuteCommand", Resource: "arn:aws:ecs" + regional + "task/ecs-cluster/a", Context: conditionContext("ecs:cluster", "arn:aws:ecs"+regional+"cluster/ecs-cluster")},
	"a task of another family":             {Action: "ecs:RunTask", Resource: "arn:aws:ecs" + regional + "task-definition/mine:1", Context: conditionContext("ecs:cluster", cluster)},
	"a task in another cluster":            {Action: "ecs:RunTask", Resource: "arn:aws:ecs" + regional + "task-definition/ecs-backend-task:1", Context: conditionContext("ecs:cluster", "arn:aws:ecs"+regional+"cluster/other")},
	"a task anywhere":                      {Action: "ecs:RunTask", Resource: "arn:aws:ecs" + regional + "task-definition/ecs-backend-task:1"},
	"another account's family":             {Action: "ecs:RunTask", Resource: "arn:aws:ecs:us-east-1:111111111111:task-definition/ecs-backend-task:1", Context: conditionContext("ecs:cluster", cluster)},
	"a task on a machine":                  {Action: "ecs:StartTask", Resource: "arn:aws:ecs" + regional + "task-definition/ecs-backend-task:1", Context: conditionContext("ecs:cluster", cluster)},
	"another cluster's task stopped":       {Action: "ecs:StopTask", Resource: "arn:aws:ecs" + regional + "task/other/a", Context: conditionContext("ecs:cluster", "arn:aws:ecs"+regional+"cluster/other")},
	"a tag of a task that runs":            {Action: "ecs:TagResource", Resource: "arn:aws:ecs" + regional + "task/ecs-cluster/a"},
	"another schedule":                     {Action: "scheduler:UpdateSchedule", Resource: "arn:aws:scheduler" + regional + "schedule/default/mine"},
	"a schedule of another group":          {Action: "scheduler:UpdateSchedule", Resource: "arn:aws:scheduler" + regional + "schedule/other/ecs-clock-schedule"},
	"its own role passed to a schedule":    {Action: "iam:PassRole", Resource: own, Context: conditionContext("iam:PassedToService", "scheduler.amazonaws.com")},
	"another role passed to a schedule":    {Action: "iam:PassRole", Resource: iamPrefix + "role/admin", Context: conditionContext("iam:PassedToService", "scheduler.amazonaws.com")},
	"a task's role passed to a schedule":   {Action: "iam:PassRole", Resource: task, Context: conditionContext("iam:PassedToService", "scheduler.amazonaws.com")},
	"a schedule's role passed to tasks":    {Action: "iam:PassRole", Resource: schedule, Context: conditionContext("iam:PassedToService", "ecs-tasks.amazonaws.com")},
	"another queue":                        {Action: "sqs:SetQueueAttributes", Resource: "arn:aws:sqs" + regional + "mine"},
	"the reports of a queue":               {Action: "sqs:ReceiveMessage", Resource: "arn:aws:sqs" + regional + "ecs-clock-dlq"},
	"another family":                       {Action: "ecs:RegisterTaskDefinition", Resource: "arn:aws:ecs" + regional + "task-definition/mine:*"},
	"another cluster's service":            {Action: "ecs:UpdateService", Resource: "arn:aws:ecs" + regional + "service/other/ecs-backend-service", Context: conditionContext("ecs:cluster", "arn:aws:ecs"+regional+"cluster/other")},
	"another repository":                   {Action: "ecr:PutImage", Resource: "arn:aws:ecr" + regional + "repository/other"},
	"another account's repository":         {Action: "ecr:PutImage", Resource: "arn:aws:ecr:us-east-1:111111111111:repository/ecs-microservices-backend"},
	"an image away":                        {Action: "ecr:BatchDeleteImage", Resource: "arn:aws:ecr" + regional + "repository/ecs-microservices-backend"},
	"who may pull":                         {Action: "ecr:SetRepositoryPolicy", Resource: "arn:aws:ecr" + regional + "repository/ecs-microservices-backend"},
	"a secret":                             {Action: "secretsmanager:GetSecretValue", Resource: "arn:aws:secretsmanager" + regional + "secret:ecs/a"},
	"another's secret described":           {Action: "secretsmanager:DescribeSecret", Resource: "arn:aws:secretsmanager" + regional + "secret:other/a"},
	"a parameter":                          {Action: "ssm:GetParameter", Resource: "arn:aws:ssm" + regional + "parameter/ecs/a"},
	"the trail off":                        {Action: "cloudtrail:StopLogging", Resource: "arn:aws:cloudtrail" + regional + "trail/a"},
	"another account of the organisation":  {Action: "organizations:CreateAccount", Resource: "*"},
}

// TestNoRoleWidensItself checks that every escalation is denied.
func TestNoRoleWidensItself(t *testing.T) {
	for _, role := range []string{"build", "deploy", "plan", "apply"} {
		policies := rolePolicies(t, role)
		for name, attempt := range escalations {
			verdict := decide(t, policies, attempt)
			require.NotEqual(t, policy.Allowed, verdict.Decision, "%s: %s: %v", role, name, verdict.By)
		}
	}
}

// TestGuardHoldsAlone checks that the most critical actions have an explicit deny,
// which holds even if another policy allows them.
func TestGuardHoldsAlone(t *testing.T) {
	widened := slices.Concat(rolePolicies(t, "apply"), parse(t, document(statement("Allow", "*", "*"))))
	for _, name := range []string{
		"a policy of its own role", "administrator of itself", "the guard off", "its own boundary", "a task's boundary off",
		"another version of the boundary", "an older version of the boundary", "the boundary away", "another version of its own policy",
		"who may assume itself", "who may assume the deploy role", "its role away", "another identity provider", "GitHub's thumbprint",
		"another audience of GitHub's", "GitHub's provider away", "its own role passed to tasks", "the state's bucket policy",
		"its bucket policy away", "its versions off", "its bucket public", "its bucket away", "its versions away", "the state away",
		"its access log", "the lock table away",
	} {
		require.Contains(t, escalations, name)
		require.Equal(t, policy.Denied, decide(t, widened, escalations[name]).Decision, name)
	}
}

// TestApplyRoleDoesItsWork checks that the legitimate form of each escalation is
// allowed, so that the denials above are not caused by a role without permissions.
func TestApplyRoleDoesItsWork(t *testing.T) {
	policies := rolePolicies(t, "apply")
	for name, request := range map[string]policy.Request{
		"a role within the boundary":  {Action: "iam:CreateRole", Resource: task, Context: conditionContext("iam:PermissionsBoundary", boundary)},
		"its policy":                  {Action: "iam:PutRolePolicy", Resource: task, Context: conditionContext("iam:PermissionsBoundary", boundary)},
		"a role passed to tasks":      {Action: "iam:PassRole", Resource: task, Context: conditionContext("iam:PassedToService", "ecs-tasks.amazonaws.com")},
		"the role of flow logs":       {Action: "iam:PassRole", Resource: iamPrefix + "role/ecs-flow-logs-role", Context: conditionContext("iam:PassedToService", "vpc-flow-logs.amazonaws.com")},
		"the state":                   {Action: "s3:PutObject", Resource: state + "/ecs-microservices/prod/terraform.tfstate"},
		"its lock":                    {Action: "s3:DeleteObject", Resource: state + "/ecs-microservices/prod/terraform.tfstate.tflock"},
		"a network":                   {Action: "ec2:CreateVpc", Resource: "arn:aws:ec2" + regional + "vpc/*", Context: conditionContext("aws:RequestTag/Project", "ecs-microservices")},
		"a subnet in its own network": {Action: "ec2:CreateSubnet", Resource: "arn:aws:ec2" + regional + "vpc/vpc-1", Context: conditionContext("aws:ResourceTag/Project", "ecs-microservices")},
		"tags of what is made":        {Action: "ec2:CreateTags", Resource: "arn:aws:ec2" + regional + "subnet/*", Context: conditionContext("aws:RequestTag/Project", "ecs-microservices", "ec2:CreateAction", "CreateSubnet")},
		"a service":                   {Action: "ecs:CreateService", Resource: "arn:aws:ecs" + regional + "service/ecs-cluster/ecs-backend-service"},
		"a schedule":                  {Action: "scheduler:CreateSchedule", Resource: "arn:aws:scheduler" + regional + "schedule/default/ecs-clock-schedule"},
		"a role passed to a schedule": {Action: "iam:PassRole", Resource: schedule, Context: conditionContext("iam:PassedToService", "scheduler.amazonaws.com")},
		"a second target group":       {Action: "elasticloadbalancing:CreateTargetGroup", Resource: elb + "targetgroup/ecs-backend-t2/1"},
		"the infrastructure role":     {Action: "iam:CreateRole", Resource: shifter, Context: conditionContext("iam:PermissionsBoundary", boundary)},
		"a queue":                     {Action: "sqs:CreateQueue", Resource: "arn:aws:sqs" + regional + "ecs-clock-dlq"},
	} {
		require.Equal(t, policy.Allowed, decide(t, policies, request).Decision, name)
	}
}

// TestDeployRoleRunsTasks is the same for the tasks and schedules of the deploy role. The
// apply role and the others run nothing.
func TestDeployRoleRunsTasks(t *testing.T) {
	deploy, others := rolePolicies(t, "deploy"), map[string]policy.Policies{}
	for _, role := range []string{"build", "plan", "apply"} {
		others[role] = rolePolicies(t, role)
	}
	for name, request := range map[string]policy.Request{
		"a task of a family":            {Action: "ecs:RunTask", Resource: "arn:aws:ecs" + regional + "task-definition/ecs-backend-task:1", Context: conditionContext("ecs:cluster", cluster)},
		"its tags":                      {Action: "ecs:TagResource", Resource: "arn:aws:ecs" + regional + "task/ecs-cluster/*", Context: conditionContext("ecs:CreateAction", "RunTask")},
		"its end":                       {Action: "ecs:StopTask", Resource: "arn:aws:ecs" + regional + "task/ecs-cluster/a", Context: conditionContext("ecs:cluster", cluster)},
		"a paused deployment":           {Action: "ecs:ContinueServiceDeployment", Resource: "arn:aws:ecs" + regional + "service-deployment/ecs-cluster/ecs-backend-service/a"},
		"the role that shifts traffic":  {Action: "iam:PassRole", Resource: shifter, Context: conditionContext("iam:PassedToService", "ecs.amazonaws.com")},
		"the figures of target groups":  {Action: "cloudwatch:GetMetricData", Resource: "*"},
		"the events of all its streams": {Action: "logs:FilterLogEvents", Resource: "arn:aws:logs" + regional + "log-group:/ecs/ecs-backend:*"},
	} {
		require.Equal(t, policy.Allowed, decide(t, deploy, request).Decision, name)
		for role, policies := range others {
			require.Equal(t, policy.NotAllowed, decide(t, policies, request).Decision, "%s: %s", role, name)
		}
	}
	for name, request := range map[string]policy.Request{
		"whether a secret is there":    {Action: "secretsmanager:DescribeSecret", Resource: "arn:aws:secretsmanager" + regional + "secret:ecs/a-AbCdEf"},
		"whether a parameter is there": {Action: "ssm:DescribeParameters", Resource: "arn:aws:ssm" + regional + "*"},
		"a schedule's revision":        {Action: "scheduler:UpdateSchedule", Resource: "arn:aws:scheduler" + regional + "schedule/default/ecs-clock-schedule"},
		"a role passed to a schedule":  {Action: "iam:PassRole", Resource: schedule, Context: conditionContext("iam:PassedToService", "scheduler.amazonaws.com")},
	} {
		require.Equal(t, policy.Allowed, decide(t, deploy, request).Decision, name)
	}
	for _, action := range []string{"scheduler:CreateSchedule", "scheduler:DeleteSchedule"} {
		request := policy.Request{Action: action, Resource: "arn:aws:scheduler" + regional + "schedule/default/ecs-clock-schedule"}
		require.Equal(t, policy.NotAllowed, decide(t, deploy, request).Decision, action)
	}
}

// TestAdoptedNames checks that names given in the services file are granted whole.
func TestAdoptedNames(t *testing.T) {
	rendered := grants(t, map[string]any{"adopted": map[string]any{"services": []string{"team-api"}, "families": []string{"team_api"}, "repositories": []string{"team/api"}}})
	role := parse(t, rendered.Policies["deploy"])
	for want, requests := range map[policy.Decision][]policy.Request{
		policy.Allowed: {
			{Action: "ecs:UpdateService", Resource: "arn:aws:ecs" + regional + "service/ecs-cluster/team-api", Context: conditionContext("ecs:cluster", cluster)},
			{Action: "ecs:RunTask", Resource: "arn:aws:ecs" + regional + "task-definition/team_api:1", Context: conditionContext("ecs:cluster", cluster)},
			{Action: "ecr:PutImage", Resource: "arn:aws:ecr" + regional + "repository/team/api"},
			{Action: "scheduler:UpdateSchedule", Resource: "arn:aws:scheduler" + regional + "schedule/default/team-api"},
		},
		policy.NotAllowed: {
			{Action: "ecs:UpdateService", Resource: "arn:aws:ecs" + regional + "service/ecs-cluster/team-api2", Context: conditionContext("ecs:cluster", cluster)},
			{Action: "ecr:PutImage", Resource: "arn:aws:ecr" + regional + "repository/team/api/b"},
		},
	} {
		for _, request := range requests {
			require.Equal(t, want, decide(t, role, request).Decision, "%+v", request)
		}
	}
}

// TestBoundary checks that a role of the platform, with any policy, can only start
// tasks, write logs, read its own secrets, and work with data of the account that is not
// the pipeline's. Only a schedule's role can run tasks.
func TestBoundary(t *testing.T) {
	limit := parse(t, grants(t, nil).Policies["boundary"])[0]
	everything := parse(t, document(statement("Allow", "*", "*")))
	for _, allowed := range []policy.Request{
		{Action: "ecr:GetAuthorizationToken", Resource: "*"},
		{Action: "ecr:BatchGetImage", Resource: "arn:aws:ecr" + regional + "repository/ecs-microservices-backend"},
		{Action: "logs:PutLogEvents", Resource: "arn:aws:logs" + regional + "log-group:/ecs/ecs-backend:log-stream:a"},
		{Action: "logs:CreateLogStream", Resource: "arn:aws:logs" + regional + "log-group:/vpc/ecs-flow-logs:log-stream:a"},
		{Action: "secretsmanager:GetSecretValue", Resource: "arn:aws:secretsmanager" + regional + "secret:ecs/backend/key-AbCdEf"},
		{Action: "kms:Decrypt", Resource: "arn:aws:kms" + regional + "key/a", Context: conditionContext("aws:ResourceTag/Project", "ecs-microservices")},
		{Action: "s3:GetObject", Resource: bucket + "/a", Context: conditionContext("aws:ResourceAccount", account)},
		{Action: "cloudwatch:PutMetricData", Resource: "*"},
		{Action: "ecs:RunTask", Resource: "arn:aws:ecs" + regional + "task-definition/ecs-clock-task:1", Context: conditionContext("ecs:cluster", cluster, "aws:PrincipalArn", schedule)},
		{Action: "iam:PassRole", Resource: task, Context: conditionContext("iam:PassedToService", "ecs-tasks.amazonaws.com", "aws:PrincipalArn", schedule)},
		{Action: "sqs:SendMessage", Resource: "arn:aws:sqs" + regional + "ecs-clock-dlq", Context: conditionContext("aws:PrincipalArn", schedule, "aws:ResourceAccount", account)},
		{Action: "elasticloadbalancing:DescribeTargetHealth", Resource: "*", Context: conditionContext("aws:PrincipalArn", shifter)},
		{Action: "elasticloadbalancing:ModifyRule", Resource: elb + "listener-rule/app/ecs-alb/1/2/3", Context: conditionContext("aws:PrincipalArn", shifter)},
		{Action: "elasticloadbalancing:RegisterTargets", Resource: elb + "targetgroup/ecs-backend-t2/1", Context: conditionContext("aws:PrincipalArn", shifter)},
	} {
		verdict, err := everything.Within(limit, allowed)
		require.NoError(t, err)
		require.Equal(t, policy.Allowed, verdict.Decision, "%+v", allowed)
		verdict, err = policy.Policies{}.Within(limit, allowed)
		require.NoError(t, err)
		require.Equal(t, policy.NotAllowed, verdict.Decision, "a boundary grants nothing")
	}
	for _, refused := range []policy.Request{
		{Action: "ecr:PutImage", Resource: "arn:aws:ecr" + regional + "repository/ecs-microservices-backend"},
		{Action: "ecr:BatchGetImage", Resource: "arn:aws:ecr" + regional + "repository/other"},
		{Action: "secretsmanager:GetSecretValue", Resource: "arn:aws:secretsmanager" + regional + "secret:other/key-AbCdEf"},
		{Action: "kms:Decrypt", Resource: "arn:aws:kms" + regional + "key/a"},
		{Action: "s3:GetObject", Resource: state + "/ecs-microservices/prod/terraform.tfstate"},
		{Action: "ecs:UpdateService", Resource: "arn:aws:ecs" + regional + "service/ecs-cluster/ecs-backend-service"},
		{Action: "s3:GetObject", Resource: bucket + "/a", Context: conditionContext("aws:ResourceAccount", "111111111111")},
		{Action: "s3:PutBucketPolicy", Resource: bucket, Context: conditionContext("aws:ResourceAccount", account)},
		{Action: "ecs:RunTask", Resource: "arn:aws:ecs" + regional + "task-definition/ecs-clock-task:1", Context: conditionContext("ecs:cluster", cluster, "aws:PrincipalArn", task)},
		{Action: "ecs:RunTask", Resource: "arn:aws:ecs" + regional + "task-definition/mine:1", Context: conditionContext("ecs:cluster", cluster, "aws:PrincipalArn", schedule)},
		{Action: "iam:PassRole", Resource: task, Context: conditionContext("iam:PassedToService", "ecs-tasks.amazonaws.com", "aws:PrincipalArn", task)},
		{Action: "iam:PassRole", Resource: own, Context: conditionContext("iam:PassedToService", "ecs-tasks.amazonaws.com", "aws:PrincipalArn", schedule)},
		{Action: "scheduler:CreateSchedule", Resource: "arn:aws:scheduler" + regional + "schedule/default/ecs-clock-schedule", Context: conditionContext("aws:PrincipalArn", schedule)},
		{Action: "dynamodb:PutItem", Resource: "arn:aws:dynamodb" + regional + "table/terraform-locks", Context: conditionContext("aws:ResourceAccount", account)},
		{Action: "elasticloadbalancing:ModifyRule", Resource: elb + "listener-rule/app/ecs-alb/1/2/3", Context: conditionContext("aws:PrincipalArn", task)},
		{Action: "elasticloadbalancing:ModifyRule", Resource: elb + "listener-rule/app/other/1/2/3", Context: conditionContext("aws:PrincipalArn", shifter)},
		{Action: "elasticloadbalancing:RegisterTargets", Resource: elb + "targetgroup/other/1", Context: conditionContext("aws:PrincipalArn", shifter)},
		{Action: "elasticloadbalancing:DeleteRule", Resource: elb + "listener-rule/app/ecs-alb/1/2/3", Context: conditionContext("aws:PrincipalArn", shifter)},
	} {
		verdict, err := everything.Within(limit, refused)
		require.NoError(t, err)
		require.NotEqual(t, policy.Allowed, verdict.Decision, "%+v", refused)
	}
	for name, attempt := range escalations {
		if strings.HasPrefix(attempt.Action, "iam:") || strings.HasPrefix(attempt.Action, "sts:") {
			verdict, err := everything.Within(limit, attempt)
			require.NoError(t, err)
			require.NotEqual(t, policy.Allowed, verdict.Decision, name)
		}
	}
}

// TestWhatTheApplyRoleCanTakeOver documents the only known gap. A VPC's default
// security group is created without a tag, and no condition distinguishes it from other
// untagged groups. So the apply role can remove the rules of any security group of the
// account without the tag Project, tag it, and then control it.
func TestWhatTheApplyRoleCanTakeOver(t *testing.T) {
	group := "arn:aws:ec2" + regional + "security-group/sg-1"
	for _, action := range []string{"ec2:CreateTags", "ec2:RevokeSecurityGroupIngress"} {
		attempt := policy.Request{Action: action, Resource: group, Context: conditionContext("aws:RequestTag/Project", "ecs-microservices")}
		require.Equal(t, policy.Allowed, decide(t, rolePolicies(t, "apply"), attempt).Decision)
		for _, role := range []string{"build", "deploy", "plan"} {
			require.NotEqual(t, policy.Allowed, decide(t, rolePolicies(t, role), attempt).Decision, role)
		}
	}
}
