package pipeline_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

const (
	staging    = `{"environment": "staging", "account_id": "111111111111", "region": "eu-west-1", "name_prefix": "stg", "state_bucket": "stg-state", "state_region": "eu-west-1", "state_key": "shop/staging.tfstate"}`
	production = `{"environment": "production", "account_id": "222222222222"}`
)

// inEnvironments is like in, with the files of two environments.
func inEnvironments(t *testing.T, environment string) (pipeline.Pipeline, *containers) {
	t.Helper()
	p, made := in(t)
	sourcetest.Write(t, p.Dir, platform.EnvironmentsDir+"/staging.tfvars.json", staging)
	sourcetest.Write(t, p.Dir, platform.EnvironmentsDir+"/production.tfvars.json", production)
	sourcetest.Commit(t, p.Dir, "environments")
	p.Environment = environment
	return p, made
}

// stages are the stages that use the account.
func stages(t *testing.T) map[string]func(pipeline.Pipeline) error {
	t.Helper()
	of := pipeline.TerraformOptions{Dir: "terraform"}
	sha := strings.Repeat("ab", 20)
	return map[string]func(pipeline.Pipeline) error{
		"publish": func(p pipeline.Pipeline) error {
			_, err := p.Publish(t.Context(), pipeline.PublishOptions{})
			return err
		},
		"deploy": func(p pipeline.Pipeline) error {
			_, err := p.Deploy(t.Context(), nil, delivery.Options{SHA: sha})
			return err
		},
		"rollback": func(p pipeline.Pipeline) error {
			_, err := p.Rollback(t.Context(), nil, "", delivery.Options{})
			return err
		},
		"status": func(p pipeline.Pipeline) error {
			_, err := p.Status(t.Context(), pipeline.StatusOptions{})
			return err
		},
		"diff": func(p pipeline.Pipeline) error {
			_, err := p.Diff(t.Context(), nil, delivery.Options{SHA: sha})
			return err
		},
		"scan": func(p pipeline.Pipeline) error {
			_, err := p.Scan(t.Context(), pipeline.ScanOptions{SHA: sha, FailOn: "high"})
			return err
		},
		"run": func(p pipeline.Pipeline) error {
			_, err := p.Run(t.Context(), "api", delivery.RunOptions{})
			return err
		},
		"logs": func(p pipeline.Pipeline) error {
			_, err := p.Logs(t.Context(), nil, delivery.LogOptions{})
			return err
		},
		"verify": func(p pipeline.Pipeline) error {
			_, err := p.Verify(t.Context(), nil, delivery.Options{SHA: sha, Trust: &supplychain.Trust{Pattern: "https://example.com/"}})
			return err
		},
		"preview up": func(p pipeline.Pipeline) error {
			_, err := p.PreviewUp(t.Context(), nil, delivery.PreviewOptions{Number: 1, Options: delivery.Options{SHA: sha}})
			return err
		},
		"preview down": func(p pipeline.Pipeline) error {
			_, err := p.PreviewDown(t.Context(), 1)
			return err
		},
		"preview sweep": func(p pipeline.Pipeline) error {
			_, err := p.PreviewSweep(t.Context(), delivery.SweepOptions{})
			return err
		},
		"preview list": func(p pipeline.Pipeline) error {
			_, err := p.Previews(t.Context())
			return err
		},
		"diff of environments": func(p pipeline.Pipeline) error {
			_, err := p.DiffRunning(t.Context(), nil, "production")
			return err
		},
		"status of environments": func(p pipeline.Pipeline) error {
			_, err := p.Status(t.Context(), pipeline.StatusOptions{With: "production"})
			return err
		},
		"plan": func(p pipeline.Pipeline) error {
			_, err := p.Plan(t.Context(), of, infra.PlanOptions{Out: t.TempDir()})
			return err
		},
		"apply": func(p pipeline.Pipeline) error {
			_, err := p.Apply(t.Context(), of, infra.ApplyOptions{Plan: t.TempDir()})
			return err
		},
	}
}

// TestEnvironmentErrors checks that no stage uses the wrong account or region.
func TestEnvironmentErrors(t *testing.T) {
	server, err := localaws.Start(t.Context(), localaws.Options{Account: "222222222222"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	for name, tt := range map[string]struct {
		environment, region string
		code                outcome.Code
		want                string
	}{
		"none named":      {"", "", outcome.Usage, "several environments: name one with --env (in Dagger --environment): production, staging"},
		"misspelled":      {"stagng", "", outcome.Usage, `no environment "stagng": did you mean "staging"?`},
		"another account": {"staging", "", outcome.Refused, "environment staging is in account 111111111111, but the credentials are of account 222222222222: use credentials of 111111111111"},
		"another region":  {"staging", "us-east-1", outcome.Usage, "environment staging is in region eu-west-1, not in us-east-1: leave out the region"},
	} {
		p, _ := inEnvironments(t, tt.environment)
		p.AWS = func(context.Context) (awsauth.Options, error) {
			return awsauth.Options{CredentialsJSON: `{"Version": 1, "AccessKeyId": "any", "SecretAccessKey": "any"}`, Endpoint: server.Endpoint(), Region: tt.region}, nil
		}
		for stage, run := range stages(t) {
			t.Run(name+"/"+stage, func(t *testing.T) {
				err := run(p)
				require.EqualError(t, err, tt.want)
				require.Equal(t, tt.code, outcome.Of(err))
			})
		}
	}
	for _, call := range server.Calls() {
		require.Equal(t, "GetCallerIdentity", call.Action, "nothing else is called")
	}
}

// TestEmptyAccount: without a platform, no stage changes anything.
func TestEmptyAccount(t *testing.T) {
	server, err := localaws.Start(t.Context(), localaws.Options{Account: "111111111111", Region: "eu-west-1"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	p, _ := inEnvironments(t, "staging")
	p.Exec = func(map[string]string) step.Executor { return anywhere{} }
	p.AWS = func(context.Context) (awsauth.Options, error) {
		return awsauth.Options{CredentialsJSON: `{"Version": 1, "AccessKeyId": "any", "SecretAccessKey": "any"}`, Endpoint: server.Endpoint()}, nil
	}
	for stage, run := range stages(t) {
		t.Run(stage, func(t *testing.T) {
			before := len(server.Calls())
			_ = run(p) // or its report has the error
			calls := server.Calls()[before:]
			require.NotEmpty(t, calls, "it uses the account")
			for _, call := range calls {
				require.Regexp(t, "^(Get|Describe|List|BatchGet)", call.Action)
			}
		})
	}
}

// TestPromoteErrors checks that both environments' accounts are their own.
func TestPromoteErrors(t *testing.T) {
	servers := map[string]*localaws.Server{}
	for _, account := range []string{"111111111111", "222222222222"} {
		server, err := localaws.Start(t.Context(), localaws.Options{Account: account})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, server.Close()) })
		servers[account] = server
	}
	in := func(account string) func(context.Context) (awsauth.Options, error) {
		return func(context.Context) (awsauth.Options, error) {
			return awsauth.Options{CredentialsJSON: `{"Version": 1, "AccessKeyId": "any", "SecretAccessKey": "any"}`, Endpoint: servers[account].Endpoint()}, nil
		}
	}
	for name, tt := range map[string]struct {
		from, to, failOn, source, target string
		code                             outcome.Code
		want                             string
	}{
		"misspelled":         {"stagng", "production", "none", "111111111111", "222222222222", outcome.Usage, `did you mean "staging"?`},
		"no threshold":       {"staging", "production", "bad", "111111111111", "222222222222", outcome.Usage, "bad"},
		"the same account":   {"staging", "production", "none", "222222222222", "222222222222", outcome.Refused, "environment staging is in account 111111111111"},
		"accounts exchanged": {"staging", "production", "none", "111111111111", "111111111111", outcome.Refused, "environment production is in account 222222222222"},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := inEnvironments(t, "")
			p.AWS, p.OtherAWS = in(tt.target), in(tt.source)
			_, err := p.Promote(t.Context(), pipeline.PromoteOptions{From: tt.from, To: tt.to, FailOn: tt.failOn})
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err))
		})
	}
	p, _ := inEnvironments(t, "staging")
	for with, want := range map[string]string{"staging": "cannot compare staging with itself", "prod": `--with: no environment "prod"`} {
		_, err := p.DiffRunning(t.Context(), nil, with)
		require.ErrorContains(t, err, want)
		require.Equal(t, outcome.Usage, outcome.Of(err))
	}
}

// anywhere is an executor whose steps fail.
type anywhere struct{}

func (anywhere) Run(context.Context, step.Step, string) (step.Result, error) {
	return step.Result{}, errRan
}

// TestRegistryAccount: an environment that pulls from another account's registry publishes
// nothing there.
func TestRegistryAccount(t *testing.T) {
	server, err := localaws.Start(t.Context(), localaws.Options{Account: "222222222222"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	for account, refused := range map[string]bool{"111111111111": true, "222222222222": false} {
		p, _ := inEnvironments(t, "production")
		sourcetest.Write(t, p.Dir, platform.EnvironmentsDir+"/production.tfvars.json", `{"environment": "production", "account_id": "222222222222", "registry_account": "`+account+`"}`)
		sourcetest.Commit(t, p.Dir, "registry")
		p.AWS = func(context.Context) (awsauth.Options, error) {
			return awsauth.Options{CredentialsJSON: `{"Version": 1, "AccessKeyId": "any", "SecretAccessKey": "any"}`, Endpoint: server.Endpoint()}, nil
		}
		_, err = p.Publish(t.Context(), pipeline.PublishOptions{})
		require.Error(t, err)
		require.Equal(t, refused, outcome.Of(err) == outcome.Refused, err)
		if refused {
			require.EqualError(t, err, "cannot publish to the registry of account 111111111111 (registry_account), which this environment only pulls from: publish in the environment of that account, or promote what it runs")
		}
	}
	for _, call := range server.Calls() {
		require.Regexp(t, "^(Get|Describe)", call.Action)
	}
}

// TestWithoutEnvironment checks that stages without an account need no environment.
func TestWithoutEnvironment(t *testing.T) {
	p, _ := inEnvironments(t, "")
	p.Exec = func(map[string]string) step.Executor { return anywhere{} } // steps run concurrently
	for name, run := range map[string]func() error{
		"test": func() error {
			_, err := p.Test(t.Context(), pipeline.TestOptions{})
			return err
		},
		"validate": func() error {
			_, err := p.Validate(t.Context(), "terraform")
			return err
		},
		"build": func() error {
			_, err := p.BuildImages(t.Context(), pipeline.ImageOptions{WithoutBase: true})
			return err
		},
		"scan of the tree": func() error {
			_, err := p.Scan(t.Context(), pipeline.ScanOptions{ImageOptions: pipeline.ImageOptions{WithoutBase: true}, FailOn: "high"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, run(), errRan)
		})
	}
	_, err := p.Lint(t.Context(), pipeline.LintOptions{})
	require.NoError(t, err)
}

// TestPlanOfEnvironment checks the backend's settings.
func TestPlanOfEnvironment(t *testing.T) {
	for environment, want := range map[string][]string{
		"staging":    {"-backend-config=bucket=stg-state", "-backend-config=region=eu-west-1", "-backend-config=key=shop/staging.tfstate"},
		"production": nil,
	} {
		t.Run(environment, func(t *testing.T) {
			account := map[string]string{"staging": "111111111111", "production": "222222222222"}[environment]
			server, err := localaws.Start(t.Context(), localaws.Options{Account: account})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, server.Close()) })
			p, made := inEnvironments(t, environment)
			p.AWS = func(context.Context) (awsauth.Options, error) {
				return awsauth.Options{CredentialsJSON: `{"Version": 1, "AccessKeyId": "any", "SecretAccessKey": "any"}`, Endpoint: server.Endpoint()}, nil
			}
			_, err = p.Plan(t.Context(), pipeline.TerraformOptions{Dir: "terraform", Backend: []string{"encrypt=true"}}, infra.PlanOptions{Out: t.TempDir()})
			require.ErrorIs(t, err, errRan)
			settings := slices.DeleteFunc(slices.Clone(made.first.Args), func(argument string) bool { return !strings.HasPrefix(argument, "-backend-config=") })
			require.Equal(t, append(want, "-backend-config=encrypt=true"), settings)
			require.Equal(t, map[string]string{"staging": "eu-west-1", "production": "us-east-1"}[environment], made.environment["AWS_REGION"])
		})
	}
}

func TestValidateEnvironments(t *testing.T) {
	for want, file := range map[string]string{
		`terraform/environments/staging.tfvars.json: service_overrides: no service "ap"`:           `{"environment": "staging", "state_key": "s", "name_prefix": "stg", "service_overrides": {"ap": {"cpu": 256}}}`,
		`terraform/environments/staging.tfvars.json: environment must be "staging"`:                `{"environment": "stage"}`,
		`environments "production" and "staging" have the same state_key`:                          `{"environment": "staging", "account_id": "222222222222", "name_prefix": "stg"}`,
		`terraform/environments/staging.tfvars.json: with service_overrides: service "api": cpu 3`: `{"environment": "staging", "state_key": "s", "name_prefix": "stg", "service_overrides": {"api": {"cpu": 3}}}`,
	} {
		p, _ := inEnvironments(t, "")
		sourcetest.Write(t, p.Dir, platform.EnvironmentsDir+"/staging.tfvars.json", file)
		_, err := p.Validate(t.Context(), "terraform")
		require.ErrorContains(t, err, want)
		require.Equal(t, outcome.Usage, outcome.Of(err))
	}
}
