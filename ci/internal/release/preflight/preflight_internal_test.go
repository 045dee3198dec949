package preflight

import (
	"testing"

	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
)

func TestAllowsTasks(t *testing.T) {
	tests := map[string]struct {
		document string
		want     bool
		err      string
	}{
		"one statement":       {`{"Statement":{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com","ecs-tasks.amazonaws.com"]},"Action":["sts:AssumeRole"]}}`, true, ""},
		"everybody":           {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:*"}]}`, true, ""},
		"another service":     {`{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`, false, ""},
		"an account":          {`{"Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}]}`, false, ""},
		"another action":      {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"sts:TagSession"}]}`, false, ""},
		"denied":              {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"},{"Effect":"Deny","Principal":"*","Action":"sts:assume*"}]}`, false, ""},
		"denied on condition": {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"},{"Effect":"Deny","Principal":"*","Action":"*","Condition":{"Bool":{"a":"true"}}}]}`, true, ""},
		"this account":        {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEquals":{"aws:SourceAccount":["111111111111"]},"ArnLike":{"aws:SourceArn":"x"}}}]}`, true, ""},
		"another account":     {`{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEquals":{"aws:sourceaccount":"222222222222"}}}]}`, false, ""},
		"nothing":             {`{}`, false, ""},
		"no JSON":             {`{`, false, "reading the policy"},
		"no policy":           {`{"Statement":"x"}`, false, "reading the policy"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := allowsAssume(test.document, "111111111111", tasksPrincipal)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}

func TestDeniedNamesActionAndResource(t *testing.T) {
	call := apiCall{"ecr:BatchGetImage", "arn:call"}
	tests := map[string]struct {
		err  error
		want apiCall
		ok   bool
	}{
		"both": {
			&smithy.GenericAPIError{Code: "AccessDeniedException", Message: "User: arn:aws:sts::1:assumed-role/d/s is not authorized to perform: ecr:GetX on resource: arn:aws:ecr:r:1:repository/a because no identity-based policy allows the ecr:GetX action"},
			apiCall{"ecr:GetX", "arn:aws:ecr:r:1:repository/a"},
			true,
		},
		"the action": {&smithy.GenericAPIError{Code: "AccessDenied", Message: "User: x is not authorized to perform: sts:X because"}, apiCall{"sts:X", "arn:call"}, true},
		"nothing":    {&smithy.GenericAPIError{Code: "AccessDenied", Message: "Access denied"}, call, true},
		"other":      {&smithy.GenericAPIError{Code: "Throttling"}, apiCall{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := denied(test.err, call)
			require.Equal(t, test.ok, ok)
			require.Equal(t, test.want, got)
		})
	}
	require.Equal(t, "the endpoint does not support iam:GetRole", new(run).readError(&smithy.GenericAPIError{Code: "InvalidAction"}, apiCall{"iam:GetRole", "*"}))
}

func TestParseImageRef(t *testing.T) {
	for ref, want := range map[string]imageRef{
		"nginx":                          {"", "nginx", "latest", ""},
		"library/nginx:1":                {"", "library/nginx", "1", ""},
		"localhost/x@sha256:1":           {"localhost", "x", "", "sha256:1"},
		"127.0.0.1:5000/a/b:t@sha256:1":  {"127.0.0.1:5000", "a/b", "", "sha256:1"},
		"127.0.0.1:5000/a/b":             {"127.0.0.1:5000", "a/b", "latest", ""},
		"1.dkr.ecr.r.amazonaws.com/x:1":  {"1.dkr.ecr.r.amazonaws.com", "x", "1", ""},
		"public.ecr.aws/docker/y@sha256": {"public.ecr.aws", "docker/y", "", "sha256"},
	} {
		require.Equal(t, want, parseImageRef(ref), ref)
	}
	for _, host := range []string{
		"123456789012.dkr.ecr.us-east-1.amazonaws.com", "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
		"123456789012.dkr-ecr.eu-west-1.on.aws", "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn",
	} {
		require.Equal(t, "123456789012", ecrHost.FindStringSubmatch(host)[1], host)
	}
}

func TestIndexPlatforms(t *testing.T) {
	_, err := indexPlatforms("{")
	require.Error(t, err)
}
