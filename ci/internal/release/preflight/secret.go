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
)

// secret is one in Secrets Manager, in a version.
type secret struct{ id, stage, version string }

// checkSecrets wants everything that containers take secrets from: Secrets
// Manager and the Parameter Store. It asks for what describes them, never for
// their values.
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
			if c.RepositoryCredentials != nil { // a secret by ARN or name, without a key
				secrets.add(secret{id: aws.ToString(c.RepositoryCredentials.CredentialsParameter)}, s.Service.Name)
			}
		}
	}
	if len(secrets) > 0 && r.Secrets == nil {
		r.note("not checked: secrets: there is no Secrets Manager client")
		secrets = nil
	}
	for one, names := range secrets {
		r.call(ctx, func(ctx context.Context) { r.checkSecret(ctx, one, serviceList(names)) })
	}
	if len(parameters) > 0 && r.Parameters == nil {
		r.note("not checked: parameters: there is no Systems Manager client")
		return
	}
	for batch := range slices.Chunk(slices.Sorted(maps.Keys(parameters)), maxFilterValues/2) {
		r.call(ctx, func(ctx context.Context) { r.checkParameters(ctx, batch, parameters) })
	}
}

// secretRefs lists where a container and its log driver take secrets from.
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

// classifySecret tells the two kinds of valueFrom apart: an ARN says its service,
// anything else is the name of a parameter.
func (r *run) classifySecret(ref, service string, secrets usedBy[secret], parameters usedBy[string]) {
	parsed, err := arn.Parse(ref)
	switch {
	case ref == "":
		r.add(usage("service %s: a secret has no valueFrom: name the ARN of a secret, or a parameter", service))
	case err != nil:
		parameters.add(ref, service)
	case r.Region != "" && parsed.Region != r.Region:
		r.skip("secret", ref, "it is in region "+parsed.Region)
	case parsed.Service == "secretsmanager":
		secrets.add(parseSecret(parsed), service)
	case parsed.Service == "ssm" && strings.HasPrefix(parsed.Resource, "parameter/"):
		parameters.add(ref, service)
	default:
		r.add(usage("service %s: secret %s is neither of Secrets Manager nor a parameter of Systems Manager: name one of them", service, ref))
	}
}

// parseSecret takes the parts off that ECS adds to a secret's ARN: the key in
// its JSON, the stage and the version.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
func parseSecret(a arn.ARN) secret {
	parts := append(strings.Split(a.Resource, ":"), "", "", "", "")
	a.Resource = parts[0] + ":" + parts[1]
	return secret{id: a.String(), stage: parts[3], version: parts[4]}
}

func (r *run) checkSecret(ctx context.Context, one secret, who string) {
	out, err := r.Secrets.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &one.id})
	switch {
	case isCode(err, "ResourceNotFoundException"):
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
		r.add(fail(nil, "%s: secret %s has no version with the stage %s: correct valueFrom, or give a version that stage", who, one.id, one.stage))
	}
	if _, there := out.VersionIdsToStages[one.version]; one.version != "" && !there {
		r.add(fail(nil, "%s: secret %s has no version %s: correct valueFrom", who, one.id, one.version))
	}
}

// maxFilterValues is how many values a filter of DescribeParameters takes.
// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_ParameterStringFilter.html
const maxFilterValues = 50

// checkParameters asks for parameters by name, for each by the two names that
// its ARN may stand for: the slash in front of a name is not doubled in the ARN.
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
	there := map[string]bool{}
	for {
		out, err := r.Parameters.DescribeParameters(ctx, in)
		if err != nil {
			for _, ref := range refs {
				r.skip("parameter", ref, r.readError(err, apiCall{"ssm:DescribeParameters", "*"}))
			}
			return
		}
		for _, p := range out.Parameters {
			there[aws.ToString(p.Name)] = true
		}
		if in.NextToken = out.NextToken; aws.ToString(out.NextToken) == "" {
			break
		}
	}
	for _, ref := range refs {
		if !slices.ContainsFunc(parameterNames(ref), func(name string) bool { return there[name] }) {
			r.add(fail(nil, "%s: parameter %s does not exist%s: create it in the Parameter Store, or correct valueFrom", serviceList(wanted[ref]), ref, r.location()))
		}
	}
}

// parameterNames are the names that a reference may stand for.
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
