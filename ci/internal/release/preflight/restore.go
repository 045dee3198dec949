package preflight

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// checkRestore checks the roles, log groups and secrets that only the running task
// definitions use: a failed release restores them. Images are checked elsewhere.
func (r *run) checkRestore(ctx context.Context) {
	// Without a caller, iam:PassRole is not checked: it was needed to register them.
	restore := &run{Checker: r.Checker, skipped: map[skipKey][]string{}}
	restore.group.SetLimit(maxCalls)
	for _, s := range r.changes {
		if s.Previous != nil && s.Definition != nil && runsTasks(s) {
			s.Definition, s.Schedule = onlyIn(*s.Previous, s.Definition), nil
			restore.changes = append(restore.changes, s)
		}
	}
	for _, check := range []func(context.Context){restore.checkRoles, restore.checkLogs, restore.checkSecrets} {
		check(ctx)
	}
	r.group.Go(func() error {
		_ = restore.group.Wait() // the calls add to restore
		for key, names := range restore.skipped {
			for _, name := range names {
				r.skip(key.kind, name, key.reason)
			}
		}
		for _, f := range restore.findings {
			if r.AllowNoRollback {
				r.note("a failed release cannot be restored: what runs now needs a resource that is gone: %s", f)
			} else {
				r.add(refuse("what runs now needs a resource that is gone, so a failed release could not be restored: %s; or accept that (--allow-no-rollback)", f))
			}
		}
		return nil
	})
}

// runsTasks reports whether the previous version runs, or is run by a schedule.
func runsTasks(s rollout.ServiceChange) bool {
	return s.ECSService.RunningCount > 0 || s.Schedule != nil && s.Schedule.State != schedulertypes.ScheduleStateDisabled
}

// onlyIn returns the roles, log groups and secrets of before that after does not have.
func onlyIn(before types.TaskDefinition, after *ecs.RegisterTaskDefinitionInput) *ecs.RegisterTaskDefinitionInput {
	var refs, groups, credentials []string
	for _, c := range after.ContainerDefinitions {
		refs, groups, credentials = append(refs, secretRefs(c)...), append(groups, logGroupOf(c)), append(credentials, credentialsOf(c))
	}
	known := func(s types.Secret) bool { return slices.Contains(refs, aws.ToString(s.ValueFrom)) }
	only := &ecs.RegisterTaskDefinitionInput{}
	if aws.ToString(before.TaskRoleArn) != aws.ToString(after.TaskRoleArn) {
		only.TaskRoleArn = before.TaskRoleArn
	}
	if aws.ToString(before.ExecutionRoleArn) != aws.ToString(after.ExecutionRoleArn) {
		only.ExecutionRoleArn = before.ExecutionRoleArn
	}
	for _, c := range before.ContainerDefinitions {
		one := types.ContainerDefinition{Name: c.Name, Secrets: slices.DeleteFunc(slices.Clone(c.Secrets), known)}
		if c.LogConfiguration != nil {
			one.Secrets = append(one.Secrets, slices.DeleteFunc(slices.Clone(c.LogConfiguration.SecretOptions), known)...)
			if !slices.Contains(groups, logGroupOf(c)) {
				one.LogConfiguration = &types.LogConfiguration{LogDriver: c.LogConfiguration.LogDriver, Options: c.LogConfiguration.Options}
			}
		}
		if !slices.Contains(credentials, credentialsOf(c)) {
			one.RepositoryCredentials = c.RepositoryCredentials
		}
		only.ContainerDefinitions = append(only.ContainerDefinitions, one)
	}
	return only
}

func logGroupOf(c types.ContainerDefinition) string {
	if c.LogConfiguration == nil {
		return ""
	}
	return c.LogConfiguration.Options["awslogs-group"]
}

func credentialsOf(c types.ContainerDefinition) string {
	if c.RepositoryCredentials == nil {
		return ""
	}
	return aws.ToString(c.RepositoryCredentials.CredentialsParameter)
}
