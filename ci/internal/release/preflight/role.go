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

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
)

// The service principals that assume the roles of tasks and of schedules.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
// https://docs.aws.amazon.com/scheduler/latest/UserGuide/setting-up.html
const (
	tasksPrincipal     = "ecs-tasks.amazonaws.com"
	schedulerPrincipal = "scheduler.amazonaws.com"
)

// role is a role, by ARN or name, and its use in a task definition or schedule.
type role struct{ use, ref string }

// scheduleUse is the use of the role with which a schedule runs tasks.
const scheduleUse = "schedule"

// passedRole is a role and the service principal that assumes it.
type passedRole struct{ ref, principal string }

func (p passedRole) subject() string {
	if p.principal == schedulerPrincipal {
		return "schedules"
	}
	return "tasks"
}

// checkRoles checks that the roles of the task definitions and schedules exist, that tasks
// and schedules can assume them, and that the caller may pass them.
func (r *run) checkRoles(ctx context.Context) {
	wanted := usedBy[role]{}
	for _, s := range r.changes {
		if s.Schedule != nil && s.Schedule.Target != nil && s.Schedule.Target.RoleArn != nil {
			wanted.add(role{scheduleUse, *s.Schedule.Target.RoleArn}, s.Service.Name)
		}
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
		r.note("not checked: roles: no IAM client")
		return
	}
	// A role may have both uses; it is checked once.
	byRef := map[passedRole][]role{}
	for one := range wanted {
		passed := passedRole{one.ref, tasksPrincipal}
		if one.use == scheduleUse {
			passed.principal = schedulerPrincipal
		}
		byRef[passed] = append(byRef[passed], one)
	}
	source := r.policySource(ctx)
	for passed, roles := range byRef {
		var names, kinds []string
		for _, one := range roles {
			names, kinds = append(names, wanted[one]...), append(kinds, one.use)
		}
		slices.Sort(kinds)
		who, what := serviceList(names), strings.Join(kinds, " and ")+" role "+passed.ref
		r.call(ctx, func(ctx context.Context) { r.checkRole(ctx, passed, who, what) })
		if source != "" && strings.HasPrefix(passed.ref, "arn:") {
			r.call(ctx, func(ctx context.Context) { r.checkPassRole(ctx, source, passed, who, what) })
		}
	}
}

// executionRoleUse returns what a Fargate task needs an execution role for, or "" if it
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

func (r *run) checkRole(ctx context.Context, passed passedRole, who, what string) {
	ref := passed.ref
	out, err := r.IAM.GetRole(ctx, &iam.GetRoleInput{RoleName: new(machine.ShortARN(ref))})
	switch {
	case rollout.IsCode(err, "NoSuchEntity", "NoSuchEntityException"):
		r.add(fail(err, "%s: %s does not exist: create it with Terraform (slipway plan, slipway apply)", who, what))
		return
	case err != nil:
		r.skip("role", ref, r.readError(err, apiCall{"iam:GetRole", ref}))
		return
	}
	if actual := aws.ToString(out.Role.Arn); strings.HasPrefix(ref, "arn:") && actual != "" && actual != ref {
		r.add(usage("%s: %s does not exist, but %s does: correct the ARN", who, what, actual))
		return
	}
	document, err := url.QueryUnescape(strings.ReplaceAll(aws.ToString(out.Role.AssumeRolePolicyDocument), "+", "%2B"))
	trusts := false
	if err == nil {
		trusts, err = allowsAssume(document, r.account(), passed.principal)
	}
	switch {
	case err != nil:
		r.add(usage("%s: cannot parse the trust policy of %s: %v: correct the JSON", who, what, err))
	case !trusts:
		r.add(usage("%s: %s cannot be assumed by %s: allow sts:AssumeRole for the service %s in its trust policy", who, what, passed.subject(), passed.principal))
	}
}

func (r *run) account() string {
	if r.caller == nil {
		return ""
	}
	return r.caller.Account
}

// policySource returns the ARN of the user or role whose policies apply to the caller,
// or "" if there is none to simulate. A session's ARN lacks the path of its role, so the
// role is looked up.
func (r *run) policySource(ctx context.Context) string {
	if r.caller == nil {
		return ""
	}
	head, resource, _ := strings.Cut(r.caller.ARN, ":"+r.caller.Account+":")
	switch kind, rest, _ := strings.Cut(resource, "/"); kind {
	case "root": // may pass every role
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
		r.note("not checked: iam:PassRole: %s is neither a user nor a role", r.caller.ARN)
		return ""
	}
}

// checkPassRole simulates iam:PassRole of a role by the caller.
func (r *run) checkPassRole(ctx context.Context, source string, passed passedRole, who, what string) {
	ref := passed.ref
	const action = "iam:PassRole"
	out, err := r.IAM.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{
		PolicySourceArn: &source, ActionNames: []string{action}, ResourceArns: []string{ref},
		ContextEntries: []iamtypes.ContextEntry{{
			ContextKeyName: aws.String("iam:PassedToService"), ContextKeyType: iamtypes.ContextKeyTypeEnumString,
			ContextKeyValues: []string{passed.principal},
		}},
	})
	if err != nil {
		r.skip("iam:PassRole of role", ref, r.readError(err, apiCall{"iam:SimulatePrincipalPolicy", source}))
		return
	}
	for _, result := range out.EvaluationResults {
		if result.EvalDecision != iamtypes.PolicyEvaluationDecisionTypeAllowed {
			r.add(fail(nil, "%s: %s may not be passed to %s by %s (%s of %s): allow %s on %s where iam:PassedToService is %s",
				who, what, passed.subject(), source, result.EvalDecision, action, action, ref, passed.principal))
			return
		}
	}
}
