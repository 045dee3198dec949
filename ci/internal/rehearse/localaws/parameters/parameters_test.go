package parameters_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParameters(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	c, ctx := p.SSM, t.Context()
	put := func(name, value string, kind types.ParameterType, overwrite bool) error {
		_, err := c.PutParameter(ctx, &ssm.PutParameterInput{Name: &name, Value: &value, Type: kind, Overwrite: &overwrite})
		return err
	}
	require.NoError(t, put("/app/key", "one", types.ParameterTypeSecureString, false))
	require.ErrorContains(t, put("/app/key", "two", "", false), "ParameterAlreadyExists")
	require.NoError(t, put("/app/key", "two", "", true))
	require.NoError(t, put("plain", "three", "", false))
	require.ErrorContains(t, put("app/key", "x", "", false), "fully qualified")
	require.ErrorContains(t, put("empty", "", "", false), "ValidationException")

	got, err := c.GetParameters(ctx, &ssm.GetParametersInput{
		Names: []string{"arn:aws:ssm:us-east-1:000000000000:parameter/app/key", "plain", "nope"}, WithDecryption: aws.Bool(true),
	})
	require.NoError(t, err)
	require.Equal(t, []string{"nope"}, got.InvalidParameters)
	require.Equal(t, "two", *got.Parameters[0].Value)
	require.Equal(t, int64(2), got.Parameters[0].Version)
	require.Equal(t, "arn:aws:ssm:us-east-1:000000000000:parameter/plain", *got.Parameters[1].ARN)
	got, err = c.GetParameters(ctx, &ssm.GetParametersInput{Names: []string{"/app/key"}})
	require.NoError(t, err)
	require.NotEqual(t, "two", *got.Parameters[0].Value, "not decrypted")
	_, err = c.GetParameters(ctx, &ssm.GetParametersInput{Names: []string{}})
	require.ErrorContains(t, err, "ValidationException")

	filter := func(key, option string, values ...string) (names []string, err error) {
		out, err := c.DescribeParameters(ctx, &ssm.DescribeParametersInput{ParameterFilters: []types.ParameterStringFilter{{Key: &key, Option: &option, Values: values}}})
		if err != nil {
			return nil, err
		}
		for _, p := range out.Parameters {
			names = append(names, *p.Name)
		}
		return names, nil
	}
	tests := map[string]struct {
		key, option string
		values      []string
		want        []string
	}{
		"by name":      {"Name", "Equals", []string{"plain", "nope"}, []string{"plain"}},
		"by beginning": {"Name", "BeginsWith", []string{"/app/"}, []string{"/app/key"}},
		"by a part":    {"Name", "Contains", []string{"a"}, []string{"/app/key", "plain"}},
		"by type":      {"Type", "Equals", []string{"SecureString"}, []string{"/app/key"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			names, err := filter(test.key, test.option, test.values...)
			require.NoError(t, err)
			require.Equal(t, test.want, names)
		})
	}
	_, err = filter("Tier", "Equals", "Standard")
	require.ErrorContains(t, err, "InvalidFilterKey")

	_, err = c.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String("plain")})
	require.NoError(t, err)
	_, err = c.DeleteParameter(ctx, &ssm.DeleteParameterInput{Name: aws.String("plain")})
	require.ErrorContains(t, err, "ParameterNotFound")
}
