package ecs

import (
	"github.com/aws/aws-sdk-go-v2/aws"
)

// Secrets resolves the secrets of tasks.
type Secrets interface {
	// Value returns the value of a valueFrom: the ARN of a secret, with ECS's suffixes,
	// or a parameter's name or ARN. Its error has Fargate's message.
	Value(valueFrom string) (string, error)
}

// pullSecrets resolves the secrets of the containers, which Fargate does with the
// execution role before anything else.
func (t *taskRun) pullSecrets() error {
	pull := func(ref *string) (string, error) {
		value, err := t.c.cfg.Secrets.Value(aws.ToString(ref))
		if err != nil {
			return "", initializationError("unable to pull secrets or registry auth: execution resource retrieval failed: %v", err)
		}
		return value, nil
	}
	t.secrets = map[string][]string{}
	for _, p := range t.containers {
		d := p.definition
		for _, s := range d.Secrets {
			value, err := pull(s.ValueFrom)
			if err != nil {
				return err
			}
			t.secrets[*d.Name] = append(t.secrets[*d.Name], aws.ToString(s.Name)+"="+value)
		}
		if d.RepositoryCredentials != nil {
			if _, err := pull(d.RepositoryCredentials.CredentialsParameter); err != nil {
				return err
			}
		}
		if d.LogConfiguration == nil {
			continue
		}
		for _, s := range d.LogConfiguration.SecretOptions {
			if _, err := pull(s.ValueFrom); err != nil {
				return err
			}
		}
	}
	return nil
}
