package ecr_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	registry "github.com/slipway-cd/slipway/ci/internal/images/ecr"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sha = "0123456789012345678901234567890123456789"

// create creates the repositories of services.
func create(t *testing.T, p *localawstest.Platform, names ...string) []platform.Service {
	t.Helper()
	var services []platform.Service
	for _, name := range names {
		s := platform.Service{Name: name}
		_, err := p.ECR.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String(s.Repository())})
		require.NoError(t, err)
		services = append(services, s)
	}
	return services
}

// push pushes an empty image and returns its reference by digest.
func push(t *testing.T, p *localawstest.Platform, s platform.Service) string {
	t.Helper()
	target, err := name.NewTag(p.Server.Registry() + "/" + s.Repository() + ":" + sha)
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(target, empty.Index, p.RemoteOptions()...))
	digest, err := empty.Index.Digest()
	require.NoError(t, err)
	return target.Repository.Digest(digest.String()).String()
}

func TestFind(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	services := create(t, p, "api", "jobs", "web")
	want := map[string]string{"api": push(t, p, services[0]), "web": push(t, p, services[2])}
	account := registry.Account{API: p.ECR}

	found, missing, err := account.Find(t.Context(), services, sha)
	require.NoError(t, err)
	require.Equal(t, want, found)
	require.Equal(t, services[1:2], missing)

	login, err := account.Login(t.Context())
	require.NoError(t, err)
	require.Equal(t, p.Server.Registry(), login.Host)
	t.Cleanup(login.Close)
	reference, ok, err := login.Find(t.Context(), services[0].Repository(), sha)
	require.NoError(t, err)
	require.True(t, ok, "the registry takes the login")
	require.Equal(t, found["api"], reference)

	found, missing, err = account.Find(t.Context(), services, "other")
	require.NoError(t, err)
	require.Empty(t, found)
	require.Equal(t, services, missing)
}

func TestFindMissingRepositories(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	services := append(create(t, p, "api"), platform.Service{Name: "jobs"}, platform.Service{Name: "web"})
	_, _, err := registry.Account{API: p.ECR}.Find(t.Context(), services, sha)
	require.EqualError(t, err, "the registry "+p.Server.Registry()+" has no repository ecs-microservices-jobs, nor ecs-microservices-web: Terraform creates it: run slipway plan, then slipway apply")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func TestFindFails(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	services := create(t, p, "api")
	account := registry.Account{API: p.ECR}
	for _, action := range []string{"DescribeImages", "GetAuthorizationToken"} {
		t.Run(action, func(t *testing.T) {
			defer p.Server.Inject(localaws.Fault{Kind: localaws.ExpiredToken, Action: action})()
			_, _, err := account.Find(t.Context(), services, sha)
			require.ErrorContains(t, err, "ExpiredTokenException")
		})
	}
}

// fakeAPI counts token requests and finds no image.
type fakeAPI struct {
	data   []types.AuthorizationData
	digest string
	tokens int
	// registries are those of the requests.
	registries []string
	err        error
}

func (f *fakeAPI) GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error) {
	f.tokens++
	return &ecr.GetAuthorizationTokenOutput{AuthorizationData: f.data}, f.err
}

func (f *fakeAPI) DescribeImages(_ context.Context, in *ecr.DescribeImagesInput, _ ...func(*ecr.Options)) (*ecr.DescribeImagesOutput, error) {
	f.registries = append(f.registries, aws.ToString(in.RegistryId))
	if f.digest == "" {
		return &ecr.DescribeImagesOutput{}, nil
	}
	return &ecr.DescribeImagesOutput{ImageDetails: []types.ImageDetail{{ImageDigest: &f.digest}}}, nil
}

func (f *fakeAPI) DescribeRepositories(_ context.Context, in *ecr.DescribeRepositoriesInput, _ ...func(*ecr.Options)) (*ecr.DescribeRepositoriesOutput, error) {
	f.registries = append(f.registries, aws.ToString(in.RegistryId))
	return &ecr.DescribeRepositoriesOutput{}, nil
}

// data is a response of GetAuthorizationToken.
func data(endpoint, token string, expires time.Time) []types.AuthorizationData {
	return []types.AuthorizationData{{
		ProxyEndpoint: &endpoint, AuthorizationToken: aws.String(base64.StdEncoding.EncodeToString([]byte(token))), ExpiresAt: &expires,
	}}
}

// TestRegistryOfAnotherAccount uses the registry of another account than the credentials'.
func TestRegistryOfAnotherAccount(t *testing.T) {
	const other = "111111111111"
	for own, want := range map[string]string{
		"222222222222.dkr.ecr.us-east-1.amazonaws.com":     other + ".dkr.ecr.us-east-1.amazonaws.com",
		"222222222222.dkr.ecr.cn-north-1.amazonaws.com.cn": other + ".dkr.ecr.cn-north-1.amazonaws.com.cn",
		"222222222222.dkr-ecr.eu-west-1.on.aws":            other + ".dkr-ecr.eu-west-1.on.aws",
		"127.0.0.1:4566":                                   "127.0.0.1:4566",
	} {
		api := &fakeAPI{data: data("https://"+own, "AWS:p", time.Now().Add(time.Hour)), digest: "sha256:1"}
		account := registry.Account{API: api, RegistryID: other}
		login, err := account.Login(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, login.Host)
		s := platform.Service{Name: "api"}
		found, _, err := account.Find(t.Context(), []platform.Service{s}, sha)
		require.NoError(t, err)
		require.Equal(t, want+"/"+s.Repository()+"@sha256:1", found["api"])
		_, err = account.TagMutable(t.Context(), []string{"api"}, "latest")
		require.NoError(t, err)
		require.Equal(t, []string{other, other}, api.registries)
	}
}

func TestTagMutable(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	filter := []types.ImageTagMutabilityExclusionFilter{{Filter: aws.String("la*st"), FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard}}
	tests := map[string]struct {
		mutability types.ImageTagMutability
		filters    []types.ImageTagMutabilityExclusionFilter
		want       bool
	}{
		"mutable":           {types.ImageTagMutabilityMutable, nil, true},
		"immutable":         {types.ImageTagMutabilityImmutable, nil, false},
		"mutable-but":       {types.ImageTagMutabilityMutableWithExclusion, filter, false},
		"immutable-but":     {types.ImageTagMutabilityImmutableWithExclusion, filter, true},
		"immutable-but-not": {types.ImageTagMutabilityImmutableWithExclusion, []types.ImageTagMutabilityExclusionFilter{{Filter: aws.String("v*"), FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard}}, false},
	}
	want, names := map[string]bool{}, []string(nil)
	for name, tt := range tests {
		_, err := p.ECR.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{
			RepositoryName: aws.String(name), ImageTagMutability: tt.mutability, ImageTagMutabilityExclusionFilters: tt.filters,
		})
		require.NoError(t, err)
		want[name], names = tt.want, append(names, name)
	}
	got, err := registry.Account{API: p.ECR}.TagMutable(t.Context(), names, "latest")
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = registry.Account{API: p.ECR}.TagMutable(t.Context(), []string{"none"}, "latest")
	require.ErrorContains(t, err, "reading whether tag latest is mutable")
	require.ErrorContains(t, err, "RepositoryNotFoundException")
}

func TestLogin(t *testing.T) {
	const planted = "planted-secret"
	tests := map[string]struct {
		data []types.AuthorizationData
		host string
		want string
	}{
		"AWS":            {data("https://123456789012.dkr.ecr.us-east-1.amazonaws.com", "AWS:p", time.Time{}), "123456789012.dkr.ecr.us-east-1.amazonaws.com", ""},
		"IPv4":           {data("http://127.0.0.1:4566", "AWS:p", time.Time{}), "127.0.0.1:4566", ""},
		"IPv6":           {data("http://[::1]:4566", "AWS:p", time.Time{}), "[::1]:4566", ""},
		"localhost":      {data("http://localhost:4566", "AWS:p", time.Time{}), "localhost:4566", ""},
		"a lookalike":    {data("https://127.0.0.1.example.com", "AWS:p", time.Time{}), "127.0.0.1.example.com", ""},
		"no data":        {nil, "", "AWS returned no token"},
		"no address":     {data("", "AWS:p", time.Time{}), "", `AWS returned the invalid registry address ""`},
		"not a pair":     {data("https://x", planted, time.Time{}), "", "an undocumented format"},
		"nothing of use": {[]types.AuthorizationData{{ProxyEndpoint: aws.String("https://x"), AuthorizationToken: aws.String("?" + planted)}}, "", "an undocumented format"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := registry.Account{API: &fakeAPI{data: tt.data}}.Login(t.Context())
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				require.NotContains(t, err.Error(), planted)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.host, got.Host)
		})
	}
}

func TestLoginRenewsItself(t *testing.T) {
	now := time.Now()
	api := &fakeAPI{data: data("https://r.example", "AWS:first", now.Add(12*time.Hour))}
	login, err := registry.Account{API: api, Now: func() time.Time { return now }}.Authenticator(t.Context())
	require.NoError(t, err)
	password := func() (string, error) {
		config, err := login.Authorization()
		if err != nil {
			return "", err
		}
		require.Equal(t, "AWS", config.Username)
		require.Implements(t, (*authn.ContextAuthenticator)(nil), login)
		return config.Password, nil
	}
	steps := []struct {
		after  time.Duration
		token  string
		fails  bool
		want   string
		tokens int
	}{
		{0, "second", false, "first", 1},
		{11 * time.Hour, "second", false, "first", 1},
		{11*time.Hour + time.Second, "", true, "first", 2},
		{11*time.Hour + 2*time.Second, "second", false, "second", 3},
		{30 * time.Hour, "", true, "", 4},
	}
	start := now
	for _, step := range steps {
		t.Run(fmt.Sprint(step.after), func(t *testing.T) {
			now, api.err = start.Add(step.after), nil
			api.data = data("https://r", "AWS:"+step.token, now.Add(12*time.Hour))
			if step.fails {
				api.err = errors.New("no answer")
			}
			got, err := password()
			require.Equal(t, step.want, got)
			require.Equal(t, step.tokens, api.tokens)
			if step.want == "" {
				require.ErrorContains(t, err, "logging in to the registry: no answer")
			}
		})
	}
}

func TestFindWithoutDetails(t *testing.T) {
	api := &fakeAPI{data: data("https://r", "AWS:p", time.Now().Add(time.Hour))}
	services := []platform.Service{{Name: "api"}}
	_, missing, err := registry.Account{API: api}.Find(t.Context(), services, sha)
	require.NoError(t, err)
	require.Equal(t, services, missing)
}
