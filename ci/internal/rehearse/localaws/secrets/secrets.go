// Package secrets is the embedded Secrets Manager: secrets with their versions, in memory.
package secrets

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Staging labels of a secret's current version and of the one before.
const (
	currentStage  = "AWSCURRENT"
	previousStage = "AWSPREVIOUS"
)

// recoveryWindowDays is for how many days a deleted secret can be restored by default.
const recoveryWindowDays = 30

type secret struct {
	arn, name    string
	description  *string
	versions     []*version // oldest first
	created      time.Time
	deletionDate *time.Time // nil unless deleted
	tags         []types.Tag
}

// version is one value of a secret.
type version struct {
	id      string
	stages  []string
	text    *string
	binary  []byte
	created time.Time
}

// add adds a version and moves staging labels to it. The version that was current gets
// AWSPREVIOUS.
func (s *secret) add(v *version) {
	for _, stage := range v.stages {
		if stage == currentStage {
			for _, old := range s.versions {
				old.stages = slices.DeleteFunc(old.stages, func(label string) bool { return label == previousStage })
				if i := slices.Index(old.stages, currentStage); i >= 0 {
					old.stages[i] = previousStage
				}
			}
			continue
		}
		for _, old := range s.versions {
			old.stages = slices.DeleteFunc(old.stages, func(label string) bool { return label == stage })
		}
	}
	s.versions = append(s.versions, v)
}

// find returns the version with an id and a staging label, either of which may be empty,
// or the current version if both are.
func (s *secret) find(stage, id string) *version {
	if stage == "" && id == "" {
		stage = currentStage
	}
	for _, v := range s.versions {
		if (id == "" || v.id == id) && (stage == "" || slices.Contains(v.stages, stage)) {
			return v
		}
	}
	return nil
}

// Store holds all secrets.
type Store struct {
	scope wire.Scope
	now   func() time.Time

	mu      sync.Mutex
	secrets map[string]*secret // by name
}

// New returns a store without secrets.
func New(scope wire.Scope, now func() time.Time) *Store {
	return &Store{scope: scope, now: now, secrets: map[string]*secret{}}
}

// Service returns the Secrets Manager API.
func (s *Store) Service() wire.Service {
	return wire.Service{
		Name:   "secretsmanager",
		Target: "secretsmanager",
		Operations: []wire.Operation{
			wire.NewLockedOperation(&s.mu, "CreateSecret", s.createSecret),
			wire.NewLockedOperation(&s.mu, "DescribeSecret", s.describeSecret),
			wire.NewLockedOperation(&s.mu, "DeleteSecret", s.deleteSecret),
			wire.NewLockedOperation(&s.mu, "GetSecretValue", s.getSecretValue),
			wire.NewLockedOperation(&s.mu, "PutSecretValue", s.putSecretValue),
		},
	}
}

// Value returns the text of the secret with a name or ARN, in the version with an id or
// staging label, or the current version if both are empty.
func (s *Store) Value(ref, stage, version string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found, err := s.readable(ref, stage, version)
	if err != nil {
		return "", err
	}
	return aws.ToString(found.text), nil
}

// find finds a secret by name, by ARN, or by an ARN without the six characters
// that Secrets Manager adds to the name.
func (s *Store) find(ref string) (*secret, error) {
	for _, candidate := range s.secrets {
		if ref == candidate.name || ref == candidate.arn || ref+candidate.arn[len(candidate.arn)-7:] == candidate.arn {
			return candidate, nil
		}
	}
	return nil, wire.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
}

// readable finds a secret in a version that may be read.
func (s *Store) readable(ref, stage, id string) (*secret, *version, error) {
	found, err := s.find(ref)
	switch {
	case err != nil:
		return nil, nil, err
	case found.deletionDate != nil:
		return nil, nil, wire.Errorf("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	}
	v := found.find(stage, id)
	switch {
	case v == nil && id != "":
		return nil, nil, wire.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: %s", id)
	case v == nil:
		return nil, nil, wire.Errorf("ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: %s", cmp.Or(stage, currentStage))
	}
	return found, v, nil
}

func (s *Store) requestSecret(ctx context.Context, ref *string) (*secret, error) {
	found, err := s.find(aws.ToString(ref))
	if err != nil {
		wire.AddResources(ctx, s.arn(aws.ToString(ref)))
		return nil, err
	}
	wire.AddResources(ctx, found.arn)
	return found, nil
}

// arn returns the ARN of a reference, without the six characters that are added to a
// name.
func (s *Store) arn(ref string) string {
	if strings.HasPrefix(ref, "arn:") {
		return ref
	}
	return s.scope.ARN("secretsmanager", "secret:"+ref)
}

func (s *Store) createSecret(ctx context.Context, in *secretsmanager.CreateSecretInput) (*secretsmanager.CreateSecretOutput, error) {
	name := aws.ToString(in.Name)
	arn := s.arn(name) + "-" + wire.RandomHex(6)
	wire.AddResources(ctx, arn)
	if name == "" {
		return nil, wire.Errorf("ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	if _, ok := s.secrets[name]; ok {
		return nil, wire.Errorf("ResourceExistsException", "The operation failed because the secret %s already exists.", name)
	}
	made := &secret{arn: arn, name: name, description: in.Description, created: s.now(), tags: in.Tags}
	out := &secretsmanager.CreateSecretOutput{ARN: &made.arn, Name: &made.name}
	if in.SecretString != nil || in.SecretBinary != nil { // a secret may have no value yet
		first := s.newVersion(in.ClientRequestToken, in.SecretString, in.SecretBinary)
		made.add(first)
		out.VersionId = &first.id
	}
	s.secrets[name] = made
	return out, nil
}

// newVersion returns a version with staging labels, by default AWSCURRENT. Its id is the
// call's token, if it has one.
func (s *Store) newVersion(token, text *string, binary []byte, stages ...string) *version {
	if len(stages) == 0 {
		stages = []string{currentStage}
	}
	return &version{id: cmp.Or(aws.ToString(token), wire.NewUUID()), stages: slices.Clone(stages), text: text, binary: binary, created: s.now()}
}

func (s *Store) putSecretValue(ctx context.Context, in *secretsmanager.PutSecretValueInput) (*secretsmanager.PutSecretValueOutput, error) {
	found, err := s.requestSecret(ctx, in.SecretId)
	switch {
	case err != nil:
		return nil, err
	case found.deletionDate != nil:
		return nil, wire.Errorf("InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	case in.SecretString == nil && in.SecretBinary == nil:
		return nil, wire.Errorf("InvalidParameterException", "You must provide either SecretString or SecretBinary.")
	}
	v := s.newVersion(in.ClientRequestToken, in.SecretString, in.SecretBinary, in.VersionStages...)
	if same := found.find("", v.id); same == nil {
		found.add(v)
	} else if aws.ToString(same.text) != aws.ToString(v.text) || string(same.binary) != string(v.binary) {
		return nil, wire.Errorf("ResourceExistsException", "You can't use ClientRequestToken %s because that value is already in use for a version of secret %s.", v.id, found.arn)
	} else {
		v = same
	}
	return &secretsmanager.PutSecretValueOutput{ARN: &found.arn, Name: &found.name, VersionId: &v.id, VersionStages: slices.Clone(v.stages)}, nil
}

func (s *Store) describeSecret(ctx context.Context, in *secretsmanager.DescribeSecretInput) (*secretsmanager.DescribeSecretOutput, error) {
	found, err := s.requestSecret(ctx, in.SecretId)
	if err != nil {
		return nil, err
	}
	out := &secretsmanager.DescribeSecretOutput{
		ARN: &found.arn, Name: &found.name, Description: found.description, CreatedDate: &found.created,
		DeletedDate: found.deletionDate, Tags: found.tags, VersionIdsToStages: map[string][]string{},
	}
	for _, v := range found.versions {
		if len(v.stages) > 0 {
			out.VersionIdsToStages[v.id] = v.stages
		}
	}
	return out, nil
}

func (s *Store) deleteSecret(ctx context.Context, in *secretsmanager.DeleteSecretInput) (*secretsmanager.DeleteSecretOutput, error) {
	found, err := s.requestSecret(ctx, in.SecretId)
	if err != nil {
		return nil, err
	}
	days := int64(recoveryWindowDays)
	if in.RecoveryWindowInDays != nil {
		days = *in.RecoveryWindowInDays
	}
	found.deletionDate = new(s.now().AddDate(0, 0, int(days)))
	if aws.ToBool(in.ForceDeleteWithoutRecovery) {
		found.deletionDate = new(s.now())
		delete(s.secrets, found.name)
	}
	return &secretsmanager.DeleteSecretOutput{ARN: &found.arn, Name: &found.name, DeletionDate: found.deletionDate}, nil
}

func (s *Store) getSecretValue(ctx context.Context, in *secretsmanager.GetSecretValueInput) (*secretsmanager.GetSecretValueOutput, error) {
	if _, err := s.requestSecret(ctx, in.SecretId); err != nil {
		return nil, err
	}
	found, v, err := s.readable(aws.ToString(in.SecretId), aws.ToString(in.VersionStage), aws.ToString(in.VersionId))
	if err != nil {
		return nil, err
	}
	return &secretsmanager.GetSecretValueOutput{
		ARN: &found.arn, Name: &found.name, VersionId: &v.id, VersionStages: v.stages,
		SecretString: v.text, SecretBinary: v.binary, CreatedDate: &v.created,
	}, nil
}
