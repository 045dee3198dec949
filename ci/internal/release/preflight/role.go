package preflight

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"dagger/slipway/internal/release/rollout"
)

// tasksPrincipal is the service that assumes the roles of a task.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
const tasksPrincipal = "ecs-tasks.amazonaws.com"

// role is a task's role in the part that it plays.
type role struct{ use, ref string }

// checkRoles wants the roles of every task definition to exist, to be assumable
// by tasks and passable by the caller.
func (r *run) checkRoles(ctx context.Context) {
	wanted := usedBy[role]{}
	for _, s := range r.changes {
		if s.Definition == nil {
			continue
		}
		if s.Definition.ExecutionRoleArn != nil {
			wanted.add(role{"execution", *s.Definition.ExecutionRoleArn}, s.Service.Name)
		} else if why := executionRoleUse(s); why != "" {
			r.add(usage("service %s: its task definition has no execution role, which Fargate needs to %s: set executionRoleArn", s.Service.Name, why))
		}
		if s.Definition.TaskRoleArn != nil {
			wanted.add(role{"task", *s.Definition.TaskRoleArn}, s.Service.Name)
		}
	}
	if len(wanted) == 0 {
		return
	}
	if r.IAM == nil {
		r.note("not checked: roles: there is no IAM client")
		return
	}
	// One role may play both parts; it is asked for once.
	parts := map[string][]role{}
	for one := range wanted {
		parts[one.ref] = append(parts[one.ref], one)
	}
	source := r.policySource(ctx)
	for ref, roles := range parts {
		var names, kinds []string
		for _, one := range roles {
			names, kinds = append(names, wanted[one]...), append(kinds, one.use)
		}
		slices.Sort(kinds)
		who, what := serviceList(names), strings.Join(kinds, " and ")+" role "+ref
		r.call(ctx, func(ctx context.Context) { r.checkRole(ctx, ref, who, what) })
		if source != "" && strings.HasPrefix(ref, "arn:") {
			r.call(ctx, func(ctx context.Context) { r.checkPassRole(ctx, source, ref, who, what) })
		}
	}
}

// executionRoleUse says what a Fargate task needs an execution role for, "" if it
// needs none.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_execution_IAM_role.html
func executionRoleUse(s rollout.ServiceChange) string {
	if !slices.Contains(s.Definition.RequiresCompatibilities, types.CompatibilityFargate) {
		return ""
	}
	for _, c := range s.Definition.ContainerDefinitions {
		switch {
		case len(secretRefs(c)) > 0 || c.RepositoryCredentials != nil:
			return "read secrets"
		case c.LogConfiguration != nil && c.LogConfiguration.LogDriver == types.LogDriverAwslogs:
			return "write logs"
		case ecrHost.MatchString(parseImageRef(aws.ToString(c.Image)).host):
			return "pull from Amazon ECR"
		}
	}
	return ""
}

func (r *run) checkRole(ctx context.Context, ref, who, what string) {
	out, err := r.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: new(lastSegment(ref))})
	switch {
	case isCode(err, "NoSuchEntity", "NoSuchEntityException"):
		r.add(fail(err, "%s: %s does not exist: create it with Terraform (slipway plan, slipway apply)", who, what))
		return
	case err != nil:
		r.skip("role", ref, r.readError(err, apiCall{"iam:GetRole", ref}))
		return
	}
	if actual := aws.ToString(out.Role.Arn); strings.HasPrefix(ref, "arn:") && actual != "" && actual != ref {
		r.add(usage("%s: %s does not exist, and %s does: correct the ARN", who, what, actual))
		return
	}
	document, err := url.QueryUnescape(strings.ReplaceAll(aws.ToString(out.Role.AssumeRolePolicyDocument), "+", "%2B"))
	trusts := false
	if err == nil {
		trusts, err = allowsTasks(document, r.account())
	}
	switch {
	case err != nil:
		r.add(usage("%s: the trust policy of %s cannot be read: %v: write it as a JSON policy", who, what, err))
	case !trusts:
		r.add(usage("%s: %s cannot be assumed by tasks: allow sts:AssumeRole to the service %s in its trust policy", who, what, tasksPrincipal))
	}
}

func (r *run) account() string {
	if r.caller == nil {
		return ""
	}
	return r.caller.Account
}

// policySource is the user or role whose policies decide what the caller may
// do; "" if there is nothing to simulate. The ARN of a session does not show the
// path of its role, so the role is asked for.
func (r *run) policySource(ctx context.Context) string {
	if r.caller == nil {
		return ""
	}
	head, resource, _ := strings.Cut(r.caller.ARN, ":"+r.caller.Account+":")
	switch kind, rest, _ := strings.Cut(resource, "/"); kind {
	case "root": // it may pass every role
		return ""
	case "user":
		return r.caller.ARN
	case "assumed-role":
		name, _, _ := strings.Cut(rest, "/")
		ctx, cancel := context.WithTimeout(ctx, r.Timeout)
		defer cancel()
		if out, err := r.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: &name}); err == nil {
			return aws.ToString(out.Role.Arn)
		}
		return strings.TrimSuffix(head, ":sts:") + ":iam::" + r.caller.Account + ":role/" + name
	default:
		r.note("not checked: whether roles may be passed: %s is neither user nor role", r.caller.ARN)
		return ""
	}
}

// checkPassRole asks the policy simulator whether the caller may pass a role to ECS.
func (r *run) checkPassRole(ctx context.Context, source, ref, who, what string) {
	const action = "iam:PassRole"
	out, err := r.IAM.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: &source, ActionNames: []string{action}, ResourceArns: []string{ref},
		ContextEntries: []iamtypes.ContextEntry{{
			ContextKeyName: aws.String("iam:PassedToService"), ContextKeyType: iamtypes.ContextKeyTypeEnumString,
			ContextKeyValues: []string{tasksPrincipal},
		}},
	})
	if err != nil {
		r.skip("whether the caller may pass role", ref, r.readError(err, apiCall{"iam:SimulatePrincipalPolicy", source}))
		return
	}
	for _, result := range out.EvaluationResults {
		if result.EvalDecision != iamtypes.PolicyEvaluationDecisionTypeAllowed {
			r.add(fail(nil, "%s: %s may not be passed to tasks by %s (%s of %s): allow %s on %s where iam:PassedToService is %s",
				who, what, source, result.EvalDecision, action, action, ref, tasksPrincipal))
			return
		}
	}
}
