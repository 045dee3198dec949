package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// placeholder is the value of every secret in a rehearsal.
const placeholder = "rehearsal"

// randomSuffix is what Secrets Manager appends to the name of a secret in its ARN.
var randomSuffix = regexp.MustCompile(`-[A-Za-z0-9]{6}$`)

// secretRef is a reference to a secret or a parameter in the services file.
type secretRef struct {
	name      string
	key       string // of a JSON document
	parameter bool
}

// parseSecret parses a valueFrom of the services file, which is valid: the ARN of a secret,
// which :KEY:STAGE:VERSION may follow, or the name or ARN of a parameter.
func parseSecret(valueFrom string) secretRef {
	if !strings.HasPrefix(valueFrom, "arn:") {
		return secretRef{name: valueFrom, parameter: true}
	}
	parts := strings.Split(valueFrom, ":")
	if name, ok := strings.CutPrefix(parts[5], "parameter"); ok {
		return secretRef{name: name, parameter: true}
	}
	ref := secretRef{name: randomSuffix.ReplaceAllString(parts[6], "")}
	if len(parts) > 7 {
		ref.key = parts[7]
	}
	return ref
}

// createSecrets creates the secrets and parameters that the services file names, with
// placeholders as values, and returns where they are in the embedded AWS by valueFrom. The
// ARNs of the services file are of another account.
func (e *environment) createSecrets(ctx context.Context, services []platform.Service) (map[string]string, error) {
	refs := map[string]secretRef{} // by valueFrom
	keys := map[string][]string{}  // of secrets by name
	for _, s := range services {
		settings := []platform.Container{s.Container}
		for _, sidecar := range s.Sidecars {
			settings = append(settings, sidecar.Container)
		}
		for _, c := range settings {
			for _, valueFrom := range c.Secrets {
				ref := parseSecret(valueFrom)
				refs[valueFrom] = ref
				if !ref.parameter {
					keys[ref.name] = append(keys[ref.name], ref.key)
				}
			}
		}
	}
	arns := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		made, err := e.secrets.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: &name, SecretString: aws.String(secretValue(keys[name]))})
		if err != nil {
			return nil, fmt.Errorf("creating secret %s: %w", name, err)
		}
		arns[name] = aws.ToString(made.ARN)
	}
	created := map[string]string{}
	for _, valueFrom := range slices.Sorted(maps.Keys(refs)) {
		switch ref := refs[valueFrom]; {
		case ref.parameter:
			_, err := e.parameters.PutParameter(ctx, &ssm.PutParameterInput{
				Name: &ref.name, Value: aws.String(placeholder), Type: ssmtypes.ParameterTypeSecureString, Overwrite: aws.Bool(true),
			})
			if err != nil {
				return nil, fmt.Errorf("creating parameter %s: %w", ref.name, err)
			}
			created[valueFrom] = ref.name
		case ref.key != "":
			created[valueFrom] = arns[ref.name] + ":" + ref.key + "::"
		default:
			created[valueFrom] = arns[ref.name]
		}
	}
	return created, nil
}

// secretValue returns the value of a secret of which the given keys are read; "" is the
// whole of it.
func secretValue(keys []string) string {
	document := map[string]string{}
	for _, key := range keys {
		if key != "" {
			document[key] = placeholder
		}
	}
	if len(document) == 0 {
		return placeholder
	}
	text, _ := json.Marshal(document) // a map of strings
	return string(text)
}
