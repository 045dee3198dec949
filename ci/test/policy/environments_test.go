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

// environments renders bootstrap for production and staging in one account. What belongs
// to neither has a name without ecs and stg, so that swapped returns the other's.
func environments(t *testing.T, production, staging map[string]any) terraform.Grants {
	t.Helper()
	all := map[string]any{
		"production": map[string]any{},
		"staging":    map[string]any{"name_prefix": "stg", "state_key": "stg/terraform.tfstate"},
	}
	maps.Copy(all["production"].(map[string]any), production)
	maps.Copy(all["staging"].(map[string]any), staging)
	return grants(t, map[string]any{"environments": all, "state_key": "ecs/terraform.tfstate", "state_bucket": "state", "project_name": "shop"})
}

var other = strings.NewReplacer(
	"ecs-", "stg-", "stg-", "ecs-", "ecs/terraform", "stg/terraform", "stg/terraform", "ecs/terraform", "secret:ecs/", "secret:stg/", "secret:stg/", "secret:ecs/", "production", "staging", "staging", "production",
)

// concrete returns a value that matches a pattern.
func concrete(pattern string) string {
	if pattern == "*" {
		return pattern
	}
	return strings.NewReplacer("*", "7-backend", "?", "a").Replace(pattern)
}

// attempt is a request that a statement allows, and the same for the other environment.
type attempt struct {
	own, foreign policy.Request
}

// attempts returns the attempts of a statement, one for each action and resource.
func attempts(s policy.Statement) []attempt {
	own, foreign := map[string][]string{}, map[string][]string{}
	for _, c := range s.Conditions {
		value := "7" // of the tag of a preview
		if c.Operator != "Null" {
			value = concrete(c.Values[0])
		}
		own[c.Key], foreign[c.Key] = []string{value}, []string{other.Replace(value)}
	}
	var all []attempt
	for _, action := range s.Actions.Values {
		for _, resource := range s.Resources.Values {
			resource = concrete(resource)
			all = append(all, attempt{policy.Request{Action: action, Resource: resource, Context: own}, policy.Request{Action: action, Resource: other.Replace(resource), Context: foreign}})
		}
	}
	return all
}

// mixed returns the request for the other environment, and all in which some of what
// differs is one's own: the resource, its tags, those in the request, the cluster.
func (a attempt) mixed() []policy.Request {
	all := []policy.Request{a.own}
	if a.foreign.Resource != a.own.Resource {
		all = append(all, policy.Request{Action: a.own.Action, Resource: a.foreign.Resource, Context: a.own.Context})
	}
	for _, key := range slices.Sorted(maps.Keys(a.own.Context)) {
		if slices.Equal(a.own.Context[key], a.foreign.Context[key]) {
			continue
		}
		for _, r := range slices.Clone(all) {
			r.Context = maps.Clone(r.Context)
			r.Context[key] = a.foreign.Context[key]
			all = append(all, r)
		}
	}
	return all[1:]
}

// accountWide are actions that a role can use for both environments, because AWS has no
// resource or name for them, with the reason. All others are reads.
var accountWide = map[string]string{
	"ecr:GetAuthorizationToken":                   "a login, which allows nothing by itself",
	"iam:CreateServiceLinkedRole":                 "AWS's own roles, one for each account",
	"application-autoscaling:ListTagsForResource": "tags of scaling targets, whose ARNs have no names",
	"ssm:DescribeParameters":                      "names of parameters, without their values: the action supports no resource",
	"s3:ListBucket":                               "keys of states; without it, a state that does not exist yet is denied",
}

// of reports whether the resource is of the action's service. A statement with several
// services has other pairs, too, which AWS never asks
// for. Managed rule sets are AWS's.
func of(r policy.Request) bool {
	service, _, _ := strings.Cut(r.Action, ":")
	return r.Resource == "*" || strings.HasPrefix(r.Resource, "arn:aws:"+service+":") && !strings.Contains(r.Resource, "/managedruleset/")
}

// isRead reports whether an action is a read by its name.
func isRead(action string) bool {
	_, name, _ := strings.Cut(action, ":")
	return slices.ContainsFunc([]string{"BatchCheck", "BatchGet", "Describe", "Get", "List"}, func(verb string) bool { return strings.HasPrefix(name, verb) })
}

func parseRole(t *testing.T, rendered terraform.Grants, role string) policy.Policies {
	t.Helper()
	var texts []string
	for _, name := range rendered.Roles[role] {
		texts = append(texts, rendered.Policies[name])
	}
	return parse(t, texts...)
}

// TestNoRoleReachesAnotherEnvironment tries every action that a role is granted on the
// resources of the account's other environment.
func TestNoRoleReachesAnotherEnvironment(t *testing.T) {
	rendered := environments(t, map[string]any{"share_images": true}, map[string]any{"share_images": true, "previews": true, "promoted_by": []string{"live"}})
	require.Len(t, rendered.Roles, 10)
	for _, name := range slices.Sorted(maps.Keys(rendered.Roles)) {
		role := parseRole(t, rendered, name)
		tried, refused, shared := 0, 0, map[string]bool{}
		for _, document := range role {
			for _, s := range document.Statements {
				if s.Deny {
					continue
				}
				for _, a := range attempts(s) {
					require.Equal(t, policy.Allowed, decide(t, role, a.own).Decision, "%s: %s: %+v is not the role's own", name, s.Sid, a.own)
					mixed := a.mixed()
					if len(mixed) == 0 && of(a.own) {
						require.True(t, accountWide[a.own.Action] != "" || isRead(a.own.Action) && a.own.Resource == "*",
							"%s: %s: %s on %s is the same for both environments", name, s.Sid, a.own.Action, a.own.Resource)
						shared[a.own.Action] = true
					}
					for _, r := range mixed {
						tried++
						verdict := decide(t, role, r)
						require.NotEqual(t, policy.Allowed, verdict.Decision, "%s: %s: %+v by %v", name, s.Sid, r, verdict.By)
						refused++
					}
				}
			}
		}
		t.Logf("%s: refused %d of %d tried; %d actions are the account's", name, refused, tried, len(shared))
		require.Greater(t, tried, 5, name)
	}
}

// TestPromotionReads checks that the deploy role of the environment that is promoted to
// can, of the other, read releases and images only, and that the role for other accounts
// can nothing else.
func TestPromotionReads(t *testing.T) {
	rendered := environments(t, map[string]any{"promote_from": "staging"}, map[string]any{"promoted_by": []string{"live"}})
	require.Equal(t, []string{"deploy", "staging-promote"}, rendered.Roles["deploy"])
	require.Equal(t, []string{"staging-deploy"}, rendered.Roles["staging-deploy"])
	require.Equal(t, []string{"staging-promote"}, rendered.Roles["staging-promote"])
	deploy := parseRole(t, rendered, "deploy")
	reads := map[string]bool{}
	for _, s := range parse(t, rendered.Policies["staging-promote"])[0].Statements {
		for _, a := range attempts(s) {
			require.True(t, isRead(a.own.Action), a.own.Action)
			require.Equal(t, policy.Allowed, decide(t, deploy, a.own).Decision)
			require.NotRegexp(t, "s3|dynamodb|iam|kms|logs|secretsmanager|ssm", a.own.Action)
			reads[a.own.Action] = true
		}
	}
	tried, refused := 0, 0
	for _, s := range parse(t, rendered.Policies["staging-deploy"])[0].Statements {
		for _, a := range attempts(s) {
			if reads[a.own.Action] || accountWide[a.own.Action] != "" || a.own.Resource == "*" && len(a.own.Context) == 0 {
				continue
			}
			tried++
			require.NotEqual(t, policy.Allowed, decide(t, deploy, a.own).Decision, "%+v", a.own)
			refused++
		}
	}
	t.Logf("the deploy role of production, promoted from staging: %d actions read it, refused %d of %d others", len(reads), refused, tried)
}

// TestPreviewRole checks that the preview role creates and removes what has the tag of a
// preview, and nothing else of its environment.
func TestPreviewRole(t *testing.T) {
	rendered := grants(t, map[string]any{"services": []string{"api", "prices"}, "environments": map[string]any{"staging": map[string]any{"name_prefix": "stg", "previews": true}}})
	role := parseRole(t, rendered, "staging-preview")
	const (
		services = "arn:aws:ecs" + regional + "service/stg-cluster/"
		families = "arn:aws:ecs" + regional + "task-definition/"
	)
	created := conditionContext("aws:RequestTag/slipway:preview", "7")
	previews := conditionContext("aws:ResourceTag/slipway:preview", "7")
	for want, requests := range map[policy.Decision][]policy.Request{
		policy.Allowed: {
			{Action: "ecs:RegisterTaskDefinition", Resource: families + "stg-pr7-api:*", Context: created},
			{Action: "ecs:CreateService", Resource: services + "stg-pr7-api", Context: created},
			{Action: "ecs:TagResource", Resource: services + "stg-pr7-api", Context: conditionContext("ecs:CreateAction", "CreateService", "aws:RequestTag/slipway:preview", "7")},
			{Action: "ecs:UpdateService", Resource: services + "stg-pr7-api", Context: previews},
			{Action: "ecs:DeleteService", Resource: services + "stg-pr7-api", Context: previews},
			{Action: "ecs:DeregisterTaskDefinition", Resource: families + "stg-pr7-api:1", Context: previews},
			{Action: "elasticloadbalancing:CreateTargetGroup", Resource: elb + "targetgroup/stg-pr7-api/1", Context: created},
			{Action: "elasticloadbalancing:CreateRule", Resource: elb + "listener/app/stg-alb/1/2", Context: created},
			{Action: "elasticloadbalancing:AddTags", Resource: elb + "listener-rule/app/stg-alb/1/2/3", Context: conditionContext("elasticloadbalancing:CreateAction", "CreateRule")},
			{Action: "elasticloadbalancing:DeleteRule", Resource: elb + "listener-rule/app/stg-alb/1/2/3", Context: previews},
			{Action: "elasticloadbalancing:DeleteTargetGroup", Resource: elb + "targetgroup/stg-pr7-api/1", Context: previews},
			{Action: "elasticloadbalancing:ModifyTargetGroupAttributes", Resource: elb + "targetgroup/stg-pr7-api/1", Context: previews},
			{Action: "ecs:DescribeServiceDeployments", Resource: "arn:aws:ecs" + regional + "service-deployment/stg-cluster/stg-pr7-api/a"},
			{Action: "ecs:DescribeServiceRevisions", Resource: "arn:aws:ecs" + regional + "service-revision/stg-cluster/stg-pr7-api/1"},
			{Action: "logs:FilterLogEvents", Resource: "arn:aws:logs" + regional + "log-group:/ecs/stg-api:*"},
		},
		policy.Denied: { // the next release would copy such a revision
			{Action: "ecs:RegisterTaskDefinition", Resource: families + "stg-api-task:*", Context: created},
			{Action: "ecs:RegisterTaskDefinition", Resource: families + "stg-prices-task:*", Context: created}, // begins like a preview
		},
		policy.NotAllowed: {
			{Action: "ecs:RegisterTaskDefinition", Resource: families + "stg-pr7-api:*"},
			{Action: "ecs:CreateService", Resource: services + "stg-pr7-api"},
			{Action: "ecs:CreateService", Resource: services + "mine", Context: created},
			{Action: "ecs:CreateService", Resource: "arn:aws:ecs" + regional + "service/ecs-cluster/stg-pr7-api", Context: created},
			{Action: "ecs:UpdateService", Resource: services + "stg-api-service"},
			{Action: "ecs:UpdateService", Resource: services + "stg-prices-service"}, // begins like a preview
			{Action: "ecs:DeleteService", Resource: services + "stg-prices-service"},
			{Action: "ecs:TagResource", Resource: services + "stg-prices-service", Context: created}, // so as to take it over
			{Action: "ecs:TagResource", Resource: services + "stg-api-service", Context: created},
			{Action: "ecs:DeregisterTaskDefinition", Resource: families + "stg-prices-task:1"},
			{Action: "ecs:RunTask", Resource: families + "stg-pr7-api:1", Context: conditionContext("ecs:cluster", "arn:aws:ecs"+regional+"cluster/stg-cluster")},
			{Action: "ecs:ExecuteCommand", Resource: "arn:aws:ecs" + regional + "task/stg-cluster/a"},
			{Action: "elasticloadbalancing:CreateRule", Resource: elb + "listener/app/ecs-alb/1/2", Context: created},
			{Action: "elasticloadbalancing:CreateRule", Resource: elb + "listener/app/stg-alb/1/2"},
			{Action: "elasticloadbalancing:DeleteRule", Resource: elb + "listener-rule/app/stg-alb/1/2/3"},
			{Action: "ecs:StopServiceDeployment", Resource: "arn:aws:ecs" + regional + "service-deployment/stg-cluster/stg-prices-service/a"},
			{Action: "elasticloadbalancing:ModifyRule", Resource: elb + "listener-rule/app/stg-alb/1/2/3", Context: previews},
			{Action: "elasticloadbalancing:ModifyListener", Resource: elb + "listener/app/stg-alb/1/2"},
			{Action: "elasticloadbalancing:AddTags", Resource: elb + "listener-rule/app/stg-alb/1/2/3", Context: created},
			{Action: "elasticloadbalancing:AddTags", Resource: elb + "targetgroup/stg-prices-tg/1", Context: created},
			{Action: "elasticloadbalancing:DeleteTargetGroup", Resource: elb + "targetgroup/stg-api-tg/1"},
			{Action: "elasticloadbalancing:DeleteLoadBalancer", Resource: elb + "loadbalancer/app/stg-alb/1"},
			{Action: "ecr:BatchDeleteImage", Resource: "arn:aws:ecr" + regional + "repository/stg-microservices-api"},
			{Action: "s3:GetObject", Resource: "arn:aws:s3:::state/stg/terraform.tfstate"},
			{Action: "secretsmanager:GetSecretValue", Resource: "arn:aws:secretsmanager" + regional + "secret:stg/a"},
			{Action: "iam:PassRole", Resource: iamPrefix + "role/ecs-api-task-role", Context: conditionContext("iam:PassedToService", "ecs-tasks.amazonaws.com")},
		},
	} {
		for _, request := range requests {
			require.Equal(t, want, decide(t, role, request).Decision, "%+v", request)
		}
	}
	for name, attempt := range escalations {
		require.NotEqual(t, policy.Allowed, decide(t, role, attempt).Decision, name)
	}
}

// TestTrustOfEnvironments presents tokens to the roles of two environments.
func TestTrustOfEnvironments(t *testing.T) {
	rendered := environments(t, nil, map[string]any{"previews": true, "promoted_by": []string{"live"}, "github_environment": "stage"})
	in := func(environment, workflow string) token {
		return job(mutable).with(token{"sub": mutable + ":environment:" + environment, "job_workflow_ref": "acme/shop/.github/workflows/" + workflow + "@refs/heads/main"})
	}
	pull := job(mutable).with(token{"sub": mutable + ":pull_request", "ref": "refs/pull/7/merge", "job_workflow_ref": "acme/shop/.github/workflows/deliver.yml@refs/pull/7/merge"})
	for name, tt := range map[string]struct {
		token token
		roles []string
	}{
		"production":                {in("production", "deliver.yml"), []string{"deploy"}},
		"production, applying":      {in("production", "infrastructure.yml"), []string{"apply"}},
		"staging":                   {in("stage", "deliver.yml"), []string{"staging-deploy"}},
		"staging, applying":         {in("stage", "infrastructure.yml"), []string{"staging-apply"}},
		"another account's":         {in("live", "deliver.yml"), []string{"staging-promote"}},
		"another account, applying": {in("live", "infrastructure.yml"), nil},
		"its branch":                {in("live", "deliver.yml").with(token{"ref": "refs/heads/feature"}), nil},
		"no environment":            {in("staging", "deliver.yml"), nil},
		"main":                      {job(mutable), []string{"build", "plan", "staging-build", "staging-plan", "staging-preview"}},
		"a pull request":            {pull, []string{"plan", "staging-plan", "staging-preview"}},
		"another branch":            {job(mutable).with(token{"sub": mutable + ":ref:refs/heads/feature", "ref": "refs/heads/feature"}), nil},
		"a fork's pull request":     {pull.with(token{"sub": "repo:evil/shop:pull_request", "repository": "evil/shop"}), nil},
		"no audience":               {pull.with(token{"aud": ""}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var roles []string
			for _, role := range slices.Sorted(maps.Keys(rendered.Roles)) {
				trust := "trust-" + role
				if of, found := strings.CutPrefix(role, "staging-"); found {
					trust = "staging-trust-" + of
				}
				if assumable(t, rendered.Policies[trust], tt.token.request()) {
					roles = append(roles, role)
				}
			}
			require.Equal(t, tt.roles, roles)
		})
	}
}

// TestImagesOfAnotherAccount checks that an environment with a registry elsewhere pulls
// from it, and pushes nothing.
func TestImagesOfAnotherAccount(t *testing.T) {
	rendered := grants(t, map[string]any{"environments": map[string]any{"production": map[string]any{"registry_account": "111111111111"}}})
	const there, here = "arn:aws:ecr:us-east-1:111111111111:repository/ecs-microservices-api", "arn:aws:ecr" + regional + "repository/ecs-microservices-api"
	deploy, limit := parse(t, rendered.Policies["deploy"]), parse(t, rendered.Policies["boundary"])
	for _, policies := range []policy.Policies{deploy, limit} {
		require.Equal(t, policy.Allowed, decide(t, policies, policy.Request{Action: "ecr:BatchGetImage", Resource: there}).Decision)
		require.Equal(t, policy.NotAllowed, decide(t, policies, policy.Request{Action: "ecr:BatchGetImage", Resource: here}).Decision)
		require.Equal(t, policy.NotAllowed, decide(t, policies, policy.Request{Action: "ecr:PutImage", Resource: there}).Decision)
	}
	shares := environments(t, map[string]any{"share_images": true}, nil)
	set := policy.Request{Action: "ecr:SetRepositoryPolicy", Resource: here}
	require.Equal(t, policy.Allowed, decide(t, parseRole(t, shares, "apply"), set).Decision)
	require.Equal(t, policy.NotAllowed, decide(t, parseRole(t, shares, "staging-apply"), set).Decision)
}
