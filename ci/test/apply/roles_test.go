package apply_test

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/infratest"
	"github.com/slipway-cd/slipway/ci/test/policy"
	"github.com/slipway-cd/slipway/ci/test/terraform"
	"github.com/slipway-cd/slipway/ci/test/terraform/calls"
)

// Reasons why a role has a permission that no call here uses.
const (
	unscaled   = "scaling is off here: moto's scalable targets are never done"
	unkeyed    = "customer_managed_encryption is off here: moto has log groups without keys only"
	updating   = "it changes what is there, and nothing changes here"
	implied    = "AWS asks for it by itself, on first use of a service in an account"
	provider6  = "version 6 of the provider waits for services by it"
	untold     = "the provider asks where an answer has no tags, and here each has"
	destroying = "it is asked before a role is deleted, and read is the apply role's, too"
)

// applyIdle are the unused permissions of the apply role with the reason. A service
// prefix stands for all its actions.
var applyIdle = map[string][]string{
	unscaled: {"application-autoscaling"},
	unkeyed:  {"kms:CreateGrant", "kms:RetireGrant", "logs:AssociateKmsKey", "logs:DisassociateKmsKey"},
	updating: {
		"cloudwatch:UntagResource", "ec2:DeleteTags", "ec2:ModifySubnetAttribute", "ec2:ModifyVpcEndpoint",
		"ec2:ReplaceRoute", "ec2:ReplaceRouteTableAssociation", "ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability",
		"ecr:UntagResource", "ecs:UntagResource", "scheduler:UpdateSchedule", "sqs:SetQueueAttributes", "sqs:UntagQueue", "ecs:UpdateCluster", "elasticloadbalancing:ModifyListener",
		"elasticloadbalancing:ModifyListenerAttributes", "elasticloadbalancing:ModifyRule", "elasticloadbalancing:ModifyTargetGroup",
		"elasticloadbalancing:RemoveTags", "elasticloadbalancing:SetRulePriorities", "elasticloadbalancing:SetSecurityGroups",
		"elasticloadbalancing:SetSubnets", "iam:PutRolePermissionsBoundary", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole",
		"iam:UpdateRoleDescription", "logs:DeleteRetentionPolicy", "logs:UntagResource", "sns:UntagResource", "wafv2:UntagResource",
		"wafv2:UpdateWebACL",
	},
	implied:   {"iam:CreateServiceLinkedRole"},
	provider6: {"ecs:DescribeServiceDeployments", "ecs:ListServiceDeployments"},
	untold:    {"ecs:ListTagsForResource"},
}

// planIdle are the unused permissions of the plan role.
var planIdle = map[string][]string{
	unscaled:   {"application-autoscaling"},
	provider6:  {"ecs:DescribeServiceDeployments", "ecs:ListServiceDeployments"},
	untold:     {"ecs:ListTagsForResource"},
	destroying: {"iam:ListInstanceProfilesForRole"},
}

// role is a role of the pipeline and the use of its policies.
type role struct {
	*policy.Usage
	name string
	idle map[string]bool // permissions with a reason
}

// newRole returns a role with bootstrap's policies.
func newRole(t *testing.T, name string, idle map[string][]string) role {
	t.Helper()
	rendered := terraform.Render(t, map[string]any{
		"account_id": infratest.Account, "github_repository": "acme/shop",
		"environments": bothEnvironments,
		"adopted":      map[string]any{"services": []string{"team-api"}, "families": []string{"team_api"}, "repositories": []string{"team/api"}},
	})
	require.Contains(t, rendered.Roles, name)
	var policies policy.Policies
	for _, text := range rendered.Roles[name] {
		document, err := policy.Parse(rendered.Policies[text])
		require.NoError(t, err)
		policies = append(policies, document)
	}
	return use(policies, name, idle)
}

func use(policies policy.Policies, name string, idle map[string][]string) role {
	r := role{policy.NewUsage(policies), name, map[string]bool{}}
	for _, granted := range idle {
		for _, action := range granted {
			r.idle[action] = true
		}
	}
	return r
}

// take returns Terraform's calls since the last take.
func take(t *testing.T, recorder *calls.Recorder) []calls.Call {
	t.Helper()
	made, err := recorder.Take()
	require.NoError(t, err)
	require.NotEmpty(t, made)
	return made
}

// add evaluates calls of Terraform.
func (r role) add(t *testing.T, world *calls.World, made []calls.Call) {
	t.Helper()
	for _, call := range made {
		requests, err := world.Requests(call)
		require.NoError(t, err)
		for _, request := range requests {
			require.NoError(t, r.Add(request))
		}
	}
}

// check requires no faults.
func (r role) check(t *testing.T) {
	t.Helper()
	require.Empty(t, r.faults(), "of the role %s", r.name)
	granted, unused := r.actions()
	t.Logf("%s: all of %d requests are allowed; of %d actions granted %d are used, and %d have a reason",
		r.name, r.Requests(), len(granted), len(granted)-len(unused), len(unused))
}

// faults returns calls that are not allowed, granted actions that are neither used nor
// explained, and reasons for actions that are used or not granted.
func (r role) faults() []string {
	var faults []string
	for _, refused := range r.Denied() {
		faults = append(faults, "Terraform calls what it may not: "+refused)
	}
	_, unused := r.actions()
	needless := maps.Clone(r.idle)
	for _, action := range unused {
		service, _, _ := strings.Cut(action, ":")
		if !r.idle[action] && !r.idle[service] {
			faults = append(faults, "it may what Terraform never does, take it away or say why it may: "+action)
		}
		delete(needless, action)
		delete(needless, service)
	}
	for _, name := range slices.Sorted(maps.Keys(needless)) {
		faults = append(faults, "it does what is said to be idle, or may not, take the reason away: "+name)
	}
	return faults
}

// actions returns the granted actions, and those that no request has used.
func (r role) actions() (granted, unused []string) {
	all, _ := r.Granted()
	idle, _ := r.Unused()
	used := map[string]bool{}
	for _, g := range all {
		granted = append(granted, g.Text)
		used[g.Text] = used[g.Text] || !slices.Contains(idle, g)
	}
	slices.Sort(granted)
	granted = slices.Compact(granted)
	return granted, slices.DeleteFunc(slices.Clone(granted), func(action string) bool { return used[action] })
}

// TestFaults checks that every kind of fault is found.
func TestFaults(t *testing.T) {
	document, err := policy.Parse(`{"Version": "2012-10-17", "Statement": [
		{"Sid": "Made", "Effect": "Allow", "Action": ["ec2:CreateVpc", "ec2:CreateTags"], "Resource": "*", "Condition": {"StringEquals": {"aws:RequestTag/Project": "shop"}}},
		{"Sid": "Other", "Effect": "Allow", "Action": ["ec2:DescribeVpcs", "sns:Subscribe", "wafv2:GetWebACL", "ecs:UpdateCluster"], "Resource": "*"}]}`)
	require.NoError(t, err)
	r := use(policy.Policies{document}, "apply", map[string][]string{"why": {"ec2:DescribeVpcs", "wafv2", "iam:PassRole", "ecs:UpdateCluster"}})
	r.add(t, calls.NewWorld("1", "us-east-1"), []calls.Call{
		{Service: "ec2", Action: "CreateVpc", Form: url.Values{"TagSpecification.1.Tag.1.Key": {"Project"}, "TagSpecification.1.Tag.1.Value": {"shop"}}},
		{Service: "ec2", Action: "CreateVpc", Form: url.Values{}},
		{Service: "ec2", Action: "DescribeVpcs"},
	})
	require.Equal(t, []string{
		"Terraform calls what it may not: ec2:CreateVpc on arn:aws:ec2:us-east-1:1:vpc/* with map[] is not allowed",
		"it may what Terraform never does, take it away or say why it may: sns:Subscribe",
		"it does what is said to be idle, or may not, take the reason away: ec2:DescribeVpcs",
		"it does what is said to be idle, or may not, take the reason away: iam:PassRole",
	}, r.faults())
}
