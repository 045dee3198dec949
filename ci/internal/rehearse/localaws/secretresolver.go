package localaws

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/parameters"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/secrets"
)

// secretResolver resolves the secrets of task definitions. It implements ecs.Secrets.
type secretResolver struct {
	secrets    *secrets.Store
	parameters *parameters.Store
}

// Value returns the value of ref: a parameter's name or ARN, or a secret's ARN,
// arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME, which :KEY:STAGE:VERSION may
// follow.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/secrets-envvar-secrets-manager.html
func (v secretResolver) Value(ref string) (string, error) {
	parts := strings.Split(ref, ":")
	if len(parts) < 7 || parts[0] != "arn" || parts[2] != "secretsmanager" {
		if value, ok := v.parameters.Value(ref); ok {
			return value, nil
		}
		return "", fmt.Errorf("unable to retrieve secrets from ssm: service call has been retried 1 time(s): invalid ssm parameters: %s", ref)
	}
	id, extra := strings.Join(parts[:7], ":"), slices.Concat(parts[7:], []string{"", "", ""})
	value, err := v.secrets.Value(id, extra[1], extra[2])
	if err == nil && extra[0] != "" {
		value, err = jsonMember(value, extra[0])
	} else if err != nil {
		err = fmt.Errorf("failed to fetch secret %s from secrets manager: %w", id, err)
	}
	if err != nil {
		return "", fmt.Errorf("unable to retrieve secret from asm: service call has been retried 1 time(s): %w", err)
	}
	return value, nil
}

// jsonMember returns a member of a secret that is a JSON object. A member that is not
// a string is returned as JSON.
func jsonMember(secret, key string) (string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal([]byte(secret), &object); err != nil {
		return "", err // AWS passes on the parser's message
	}
	raw, ok := object[key]
	if !ok {
		return "", fmt.Errorf("retrieved secret from Secrets Manager did not contain json key %s", key)
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	return text, nil
}
