package preflight

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// secret is a Secrets Manager secret with an optional staging label and version.
type secret struct{ id, stage, version string }

// checkSecrets checks that the secrets and parameters of the containers exist. It reads
// their descriptions, never their values.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_Secret.html
func (r *run) checkSecrets(ctx context.Context) {
	secrets, parameters := usedBy[secret]{}, usedBy[string]{}
	for _, s := range r.changes {
		if s.Definition == nil {
			continue
		}
		for _, c := range s.Definition.ContainerDefinitions {
			for _, ref := range secretRefs(c) {
				r.classifySecret(ref, s.Service.Name, secrets, parameters)
			}
			if c.RepositoryCredentials != nil { // the ARN or name of a secret, without a JSON key
				secrets.add(secret{id: aws.ToString(c.RepositoryCredentials.CredentialsParameter)}, s.Service.Name)
			}
		}
	}
	if len(secrets) > 0 && r.Secrets == nil {
		r.note("not checked: secrets: no Secrets Manager client")
		secrets = nil
	}
	for one, names := range secrets {
		r.call(ctx, func(ctx context.Context) { r.checkSecret(ctx, one, serviceList(names)) })
	}
	if len(parameters) > 0 && r.Parameters == nil {
		r.note("not checked: parameters: no Systems Manager client")
		return
	}
	for batch := range slices.Chunk(slices.Sorted(maps.Keys(parameters)), maxFilterValues/2) {
		r.call(ctx, func(ctx context.Context) { r.checkParameters(ctx, batch, parameters) })
	}
}

// secretRefs returns the valueFrom of all secrets of a container and its log driver.
func secretRefs(c types.ContainerDefinition) []string {
	all := c.Secrets
	if c.LogConfiguration != nil {
		all = slices.Concat(all, c.LogConfiguration.SecretOptions)
	}
	var refs []string
	for _, s := range all {
		refs = append(refs, aws.ToString(s.ValueFrom))
	}
	return refs
}

// classifySecret adds a valueFrom to the secrets or the parameters: an ARN has the
// service, anything else is the name of a parameter.
func (r *run) classifySecret(ref, service string, secrets usedBy[secret], parameters usedBy[string]) {
	parsed, err := arn.Parse(ref)
	switch {
	case ref == "":
		r.add(usage("service %s: a secret has no valueFrom: set it to the ARN of a secret or the name of a parameter", service))
	case err != nil:
		parameters.add(ref, service)
	case r.Region != "" && parsed.Region != r.Region:
		r.skip("secret", ref, "it is in region "+parsed.Region)
	case parsed.Service == "secretsmanager":
		one := parseSecret(parsed)
		secrets.add(one, service)
		if key := jsonKey(parsed); key != "" && r.Secrets != nil {
			r.skip("JSON key", key+" of "+one.id, "values of secrets are not read; a task whose secret lacks the key does not start")
		}
	case parsed.Service == "ssm" && strings.HasPrefix(parsed.Resource, "parameter/"):
		parameters.add(ref, service)
	default:
		r.add(usage("service %s: secret %s is neither a Secrets Manager secret nor a Systems Manager parameter: correct valueFrom", service, ref))
	}
}

// parseSecret splits a valueFrom into the secret's ARN, the staging label and the
// version; it drops the JSON key.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
func parseSecret(a arn.ARN) secret {
	parts := append(strings.Split(a.Resource, ":"), "", "", "", "")
	a.Resource = parts[0] + ":" + parts[1]
	return secret{id: a.String(), stage: parts[3], version: parts[4]}
}

// jsonKey returns the JSON key of a valueFrom, or "".
func jsonKey(a arn.ARN) string {
	parts := append(strings.Split(a.Resource, ":"), "", "")
	return parts[2]
}

func (r *run) checkSecret(ctx context.Context, one secret, who string) {
	out, err := r.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &one.id})
	switch {
	case rollout.IsCode(err, "ResourceNotFoundException"):
		r.add(fail(err, "%s: secret %s does not exist%s: create it in Secrets Manager, or correct valueFrom", who, one.id, r.location()))
		return
	case err != nil:
		r.skip("secret", one.id, r.readError(err, apiCall{"secretsmanager:DescribeSecret", one.id}))
		return
	case out.DeletedDate != nil:
		r.add(fail(nil, "%s: secret %s is marked for deletion: restore it (aws secretsmanager restore-secret)", who, one.id))
		return
	}
	stages := slices.Concat(slices.Collect(maps.Values(out.VersionIdsToStages))...)
	if one.stage != "" && !slices.Contains(stages, one.stage) {
		r.add(fail(nil, "%s: secret %s has no version with the staging label %s: correct valueFrom, or attach the label to a version", who, one.id, one.stage))
	}
	if _, ok := out.VersionIdsToStages[one.version]; one.version != "" && !ok {
		r.add(fail(nil, "%s: secret %s has no version %s: correct valueFrom", who, one.id, one.version))
	}
}

// maxFilterValues is how many values a filter of DescribeParameters may have.
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ParameterStringFilter.html
const maxFilterValues = 50

// checkParameters checks a batch of parameters. The ARN of the parameter /a is the same
// as that of a, so it is looked up by both names.
func (r *run) checkParameters(ctx context.Context, refs []string, wanted usedBy[string]) {
	var names []string
	for _, ref := range refs {
		names = append(names, parameterNames(ref)...)
	}
	slices.Sort(names)
	in := &ssm.DescribeParametersInput{
		MaxResults:       aws.Int32(maxFilterValues),
		ParameterFilters: []ssmtypes.ParameterStringFilter{{Key: aws.String("Name"), Option: aws.String("Equals"), Values: slices.Compact(names)}},
	}
	found := map[string]bool{}
	for {
		out, err := r.Parameters.DescribeParameters(ctx, in)
		if err != nil {
			for _, ref := range refs {
				r.skip("parameter", ref, r.readError(err, apiCall{"ssm:DescribeParameters", "*"}))
			}
			return
		}
		for _, p := range out.Parameters {
			found[aws.ToString(p.Name)] = true
		}
		if in.NextToken = out.NextToken; aws.ToString(out.NextToken) == "" {
			break
		}
	}
	for _, ref := range refs {
		if !slices.ContainsFunc(parameterNames(ref), func(name string) bool { return found[name] }) {
			r.add(fail(nil, "%s: parameter %s does not exist%s: create it in the Parameter Store, or correct valueFrom", serviceList(wanted[ref]), ref, r.location()))
		}
	}
}

// parameterNames returns the names that a reference may stand for.
func parameterNames(ref string) []string {
	parsed, err := arn.Parse(ref)
	if err != nil {
		return []string{ref}
	}
	name := strings.TrimPrefix(parsed.Resource, "parameter/")
	if strings.Contains(name, "/") {
		return []string{"/" + name}
	}
	return []string{name, "/" + name}
}
