package iam_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func code(err error) string {
	if answer, ok := errors.AsType[smithy.APIError](err); ok {
		return answer.ErrorCode()
	}
	return ""
}

func TestRoles(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	c, ctx, name := p.IAM, t.Context(), aws.String("deploy")
	const trust = `{"Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}]}`
	_, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	var missing *types.NoSuchEntityException
	require.ErrorAs(t, err, &missing)
	require.Equal(t, "The role with name deploy cannot be found.", missing.ErrorMessage())

	made, err := c.CreateRole(ctx, &iam.CreateRoleInput{
		RoleName: name, Path: aws.String("/ci/"), AssumeRolePolicyDocument: aws.String(trust), PermissionsBoundary: aws.String("arn:aws:iam::000000000000:policy/edge"),
		Tags: []types.Tag{{Key: aws.String("Project"), Value: aws.String("ecs")}},
	})
	require.NoError(t, err)
	require.Equal(t, "arn:aws:iam::000000000000:role/ci/deploy", *made.Role.Arn)
	_, err = c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(trust)})
	require.Equal(t, "EntityAlreadyExists", code(err))

	got, err := c.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	require.NoError(t, err)
	require.NotContains(t, *got.Role.AssumeRolePolicyDocument, " ")
	require.NotContains(t, *got.Role.AssumeRolePolicyDocument, "+")
	document, err := url.PathUnescape(*got.Role.AssumeRolePolicyDocument)
	require.NoError(t, err)
	require.JSONEq(t, trust, document)
	require.Equal(t, int32(3600), *got.Role.MaxSessionDuration)
	require.Equal(t, "arn:aws:iam::000000000000:policy/edge", *got.Role.PermissionsBoundary.PermissionsBoundaryArn)
	require.Equal(t, "ecs", *got.Role.Tags[0].Value)

	_, err = c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: aws.String("{}")})
	require.NoError(t, err)
	got, err = c.GetRole(ctx, &iam.GetRoleInput{RoleName: name})
	require.NoError(t, err)
	require.Equal(t, "%7B%7D", *got.Role.AssumeRolePolicyDocument)

	_, err = c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String("inline"), PolicyDocument: aws.String("{}")})
	require.NoError(t, err)
	policy := aws.String("arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")
	_, err = c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: policy})
	require.NoError(t, err)
	inline, err := c.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: name})
	require.NoError(t, err)
	require.Equal(t, []string{"inline"}, inline.PolicyNames)
	attached, err := c.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: name})
	require.NoError(t, err)
	require.Equal(t, "AmazonECSTaskExecutionRolePolicy", *attached.AttachedPolicies[0].PolicyName)
	_, err = c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
	require.Equal(t, "DeleteConflict", code(err))
	_, err = c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("inline")})
	require.NoError(t, err)
	_, err = c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("inline")})
	require.Equal(t, "NoSuchEntity", code(err))
	_, err = c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: policy})
	require.NoError(t, err)
	_, err = c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: policy})
	require.Equal(t, "NoSuchEntity", code(err))
	_, err = c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name})
	require.NoError(t, err)
	last := p.Server.Calls()[len(p.Server.Calls())-1]
	require.Equal(t, []string{"arn:aws:iam::000000000000:role/ci/deploy"}, last.Resources)
}

func TestRefusals(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	none := aws.String("none")
	tests := map[string]struct {
		call func() error
		code string
	}{
		"a long name": {func() error {
			_, err := p.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String(strings.Repeat("a", 65)), AssumeRolePolicyDocument: none})
			return err
		}, "ValidationError"},
		"a bad path": {func() error {
			_, err := p.IAM.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: none, Path: none, AssumeRolePolicyDocument: none})
			return err
		}, "ValidationError"},
		"trust": {func() error {
			_, err := p.IAM.UpdateAssumeRolePolicy(t.Context(), &iam.UpdateAssumeRolePolicyInput{RoleName: none, PolicyDocument: none})
			return err
		}, "NoSuchEntity"},
		"delete": {func() error {
			_, err := p.IAM.DeleteRole(t.Context(), &iam.DeleteRoleInput{RoleName: none})
			return err
		}, "NoSuchEntity"},
		"put": {func() error {
			_, err := p.IAM.PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: none, PolicyName: none, PolicyDocument: none})
			return err
		}, "NoSuchEntity"},
		"list": {func() error {
			_, err := p.IAM.ListRolePolicies(t.Context(), &iam.ListRolePoliciesInput{RoleName: none})
			return err
		}, "NoSuchEntity"},
		"remove": {func() error {
			_, err := p.IAM.DeleteRolePolicy(t.Context(), &iam.DeleteRolePolicyInput{RoleName: none, PolicyName: none})
			return err
		}, "NoSuchEntity"},
		"attach": {func() error {
			_, err := p.IAM.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: none, PolicyArn: none})
			return err
		}, "NoSuchEntity"},
		"list attached": {func() error {
			_, err := p.IAM.ListAttachedRolePolicies(t.Context(), &iam.ListAttachedRolePoliciesInput{RoleName: none})
			return err
		}, "NoSuchEntity"},
		"detach": {func() error {
			_, err := p.IAM.DetachRolePolicy(t.Context(), &iam.DetachRolePolicyInput{RoleName: none, PolicyArn: none})
			return err
		}, "NoSuchEntity"},
		"simulate a session": {func() error {
			_, err := p.IAM.SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{
				PolicySourceArn: aws.String("arn:aws:sts::000000000000:assumed-role/a/b"), ActionNames: []string{"iam:PassRole"},
			})
			return err
		}, "InvalidInput"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { require.Equal(t, test.code, code(test.call())) })
	}
}

func TestSimulator(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	simulate := func(resources ...string) (decisions []string) {
		out, err := p.IAM.SimulatePrincipalPolicy(t.Context(), &iam.SimulatePrincipalPolicyInput{
			PolicySourceArn: aws.String("arn:aws:iam::000000000000:user/local"), ActionNames: []string{"iam:PassRole", "ecs:UpdateService"}, ResourceArns: resources,
			ContextEntries: []types.ContextEntry{{ContextKeyName: aws.String("iam:PassedToService"), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{"ecs-tasks.amazonaws.com"}}},
		})
		require.NoError(t, err)
		for _, r := range out.EvaluationResults {
			decisions = append(decisions, *r.EvalActionName+" "+*r.EvalResourceName+" "+string(r.EvalDecision))
		}
		return decisions
	}
	require.Equal(t, []string{"iam:PassRole * allowed", "ecs:UpdateService * allowed"}, simulate())
	p.Server.DenyInSimulator("iam:PassRole", "arn:b")
	p.Server.DenyInSimulator("ecs:UpdateService", "*")
	require.Equal(t, []string{
		"iam:PassRole arn:a allowed", "iam:PassRole arn:b implicitDeny", "ecs:UpdateService arn:a implicitDeny", "ecs:UpdateService arn:b implicitDeny",
	}, simulate("arn:a", "arn:b"))
}
