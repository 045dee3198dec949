package secrets_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/rehearse/localaws"
	"dagger/slipway/internal/rehearse/localaws/localawstest"
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
