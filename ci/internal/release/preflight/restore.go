package preflight

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// checkRestore looks for the roles, log groups and secrets that only the tasks need
// that run now: a release that fails puts those back. Images have their own check.
func (r *run) checkRestore(ctx context.Context) {
	// Without a caller nobody asks who may pass roles: that was when they were registered.
	back := &run{Checker: r.Checker, cluster: r.cluster, skipped: map[skipKey][]string{}}
	back.group.SetLimit(maxCalls)
	for _, s := range r.changes {
		if s.Previous != nil && s.Definition != nil && s.ECSService.RunningCount > 0 {
			s.Definition = onlyIn(*s.Previous, s.Definition)
			back.changes = append(back.changes, s)
		}
	}
	for _, check := range []func(context.Context){back.checkRoles, back.checkLogs, back.checkSecrets} {
		check(ctx)
	}
	r.group.Go(func() error {
		_ = back.group.Wait() // what the calls find is in back
		for g, things := range back.skipped {
			for _, thing := range things {
				r.skip(g.kind, thing, g.reason)
			}
		}
		for _, f := range back.findings {
			if r.AllowNoRollback {
				r.note("there is no way back: what runs now needs something that is gone: %s", f)
			} else {
				r.add(refuse("what runs now needs something that is gone, so a release that fails could not be put back: %s; or go without a way back (--allow-no-rollback)", f))
			}
		}
		return nil
	})
}

// onlyIn is what a definition needs that another one does not.
func onlyIn(before types.TaskDefinition, after *ecs.RegisterTaskDefinitionInput) *ecs.RegisterTaskDefinitionInput {
	var refs, groups, credentials []string
	for _, c := range after.ContainerDefinitions {
		refs, groups, credentials = append(refs, secretRefs(c)...), append(groups, logGroupOf(c)), append(credentials, credentialsOf(c))
	}
	known := func(s types.Secret) bool { return slices.Contains(refs, aws.ToString(s.ValueFrom)) }
	left := &ecs.RegisterTaskDefinitionInput{}
	if aws.ToString(before.TaskRoleArn) != aws.ToString(after.TaskRoleArn) {
		left.TaskRoleArn = before.TaskRoleArn
	}
	if aws.ToString(before.ExecutionRoleArn) != aws.ToString(after.ExecutionRoleArn) {
		left.ExecutionRoleArn = before.ExecutionRoleArn
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
		left.ContainerDefinitions = append(left.ContainerDefinitions, one)
	}
	return left
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
