package secrets_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSecrets(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	c, ctx := p.Secrets, t.Context()
	made, err := c.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
		Name: aws.String("app/db"), SecretString: aws.String("s3cret"), Description: aws.String("of the database"),
		Tags: []types.Tag{{Key: aws.String("Project"), Value: aws.String("ecs")}},
	})
	require.NoError(t, err)
	require.Regexp(t, `^arn:aws:secretsmanager:us-east-1:000000000000:secret:app/db-[0-9a-f]{6}$`, *made.ARN)
	_, err = c.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("app/db")})
	require.ErrorContains(t, err, "ResourceExistsException")
	_, err = c.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("")})
	require.ErrorContains(t, err, "ValidationException")

	for _, ref := range []string{"app/db", *made.ARN, (*made.ARN)[:len(*made.ARN)-7]} {
		seen, err := c.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: &ref})
		require.NoError(t, err)
		require.Equal(t, *made.ARN, *seen.ARN)
		require.Equal(t, map[string][]string{*made.VersionId: {"AWSCURRENT"}}, seen.VersionIdsToStages)
		require.Equal(t, "ecs", *seen.Tags[0].Value)
		require.Nil(t, seen.DeletedDate)
		value, err := c.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &ref})
		require.NoError(t, err)
		require.Equal(t, "s3cret", *value.SecretString)
		calls := p.Server.Calls()
		require.Equal(t, []string{*made.ARN}, calls[len(calls)-1].Resources)
	}
	for want, in := range map[string]secretsmanager.GetSecretValueInput{
		"staging label: OLD": {SecretId: made.ARN, VersionStage: aws.String("OLD")},
		"VersionId: 7":       {SecretId: made.ARN, VersionId: aws.String("7")},
		"can't find":         {SecretId: aws.String("nope")},
	} {
		_, err := c.GetSecretValue(ctx, &in)
		require.ErrorContains(t, err, want)
	}

	gone, err := c.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: made.ARN, RecoveryWindowInDays: aws.Int64(7)})
	require.NoError(t, err)
	seen, err := c.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: made.ARN})
	require.NoError(t, err)
	require.Equal(t, *gone.DeletionDate, *seen.DeletedDate)
	_, err = c.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: made.ARN})
	require.ErrorContains(t, err, "InvalidRequestException")
	_, err = c.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: made.ARN, ForceDeleteWithoutRecovery: aws.Bool(true)})
	require.NoError(t, err)
	var missing *types.ResourceNotFoundException
	_, err = c.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: made.ARN})
	require.ErrorAs(t, err, &missing)
	_, err = c.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: made.ARN})
	require.ErrorAs(t, err, &missing)
}

func TestSecretVersions(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	c, ctx := p.Secrets, t.Context()
	made, err := c.CreateSecret(ctx, &secretsmanager.CreateSecretInput{Name: aws.String("db")})
	require.NoError(t, err)
	require.Nil(t, made.VersionId)
	_, err = c.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: made.ARN})
	require.ErrorContains(t, err, "can't find the specified secret value for staging label: AWSCURRENT")
	put := func(token, value string, stages ...string) error {
		_, err := c.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: made.ARN, ClientRequestToken: &token, SecretString: &value, VersionStages: stages})
		return err
	}
	token := func(digit string) string { return strings.Repeat(digit, 32) }
	for digit, value := range []string{"one", "two", "three"} {
		require.NoError(t, put(token(strconv.Itoa(digit+1)), value))
	}
	require.NoError(t, put(token("3"), "three"), "the same version again")
	require.ErrorContains(t, put(token("3"), "other"), "already in use")
	require.NoError(t, put(token("4"), "four", "AWSPENDING"))
	require.NoError(t, put(token("5"), "five", "AWSPENDING"))
	_, err = c.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: made.ARN})
	require.ErrorContains(t, err, "SecretString or SecretBinary")
	_, err = c.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{SecretId: aws.String("nope"), SecretString: aws.String("x")})
	require.ErrorContains(t, err, "can't find the specified secret.")

	for want, in := range map[string]secretsmanager.GetSecretValueInput{
		"one":   {VersionId: aws.String(token("1"))},
		"two":   {VersionStage: aws.String("AWSPREVIOUS")},
		"three": {},
		"five":  {VersionStage: aws.String("AWSPENDING")},
	} {
		in.SecretId = made.ARN
		got, err := c.GetSecretValue(ctx, &in)
		require.NoError(t, err)
		require.Equal(t, want, *got.SecretString)
	}
	seen, err := c.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: made.ARN})
	require.NoError(t, err)
	require.Equal(t, map[string][]string{token("2"): {"AWSPREVIOUS"}, token("3"): {"AWSCURRENT"}, token("5"): {"AWSPENDING"}}, seen.VersionIdsToStages)
	_, err = c.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{SecretId: made.ARN})
	require.NoError(t, err)
	require.ErrorContains(t, put(token("6"), "six"), "marked for deletion")
}
