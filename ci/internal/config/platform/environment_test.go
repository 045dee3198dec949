package platform_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// writeEnvironments writes the files of environments to a new source tree.
func writeEnvironments(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	folder := filepath.Join(dir, filepath.FromSlash(platform.EnvironmentsDir))
	require.NoError(t, os.MkdirAll(folder, 0o755))
	for name, content := range files {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name+".tfvars.json"), []byte(content), 0o600))
	}
	return dir
}

const (
	staging    = `{"environment": "staging", "account_id": "111111111111", "region": "eu-west-1", "name_prefix": "stg", "state_key": "shop/staging.tfstate", "nat": "none"}`
	production = `{"environment": "production", "account_id": "111111111111", "region": "eu-west-1", "state_key": "shop/production.tfstate"}`
)

func TestSelectEnvironment(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		name  string
		want  string // name
		err   string
	}{
		"no files":                      {nil, "", "production", ""},
		"no files, by name":             {nil, "production", "production", ""},
		"no files, another":             {nil, "staging", "", `no environment "staging" in terraform/environments: it has production`},
		"one file":                      {map[string]string{"staging": staging}, "", "staging", ""},
		"two files":                     {map[string]string{"staging": staging, "production": production}, "staging", "staging", ""},
		"none named":                    {map[string]string{"staging": staging, "production": production}, "", "", "several environments: name one with --env (in Dagger --environment): production, staging"},
		"misspelled":                    {map[string]string{"staging": staging, "production": production}, "stagng", "", `no environment "stagng": did you mean "staging"?`},
		"another name inside":           {map[string]string{"test": staging}, "", "", `terraform/environments/test.tfvars.json: environment must be "test", as the file's name, not "staging"`},
		"not JSON":                      {map[string]string{"staging": "{"}, "", "", "terraform/environments/staging.tfvars.json: line 1 is not JSON"},
		"account":                       {map[string]string{"a1": `{"environment": "a1", "account_id": "123"}`}, "", "", `account_id "123" must be twelve digits`},
		"region":                        {map[string]string{"a1": `{"environment": "a1", "region": "us_east"}`}, "", "", `region "us_east" is no AWS region`},
		"prefix":                        {map[string]string{"a1": `{"environment": "a1", "name_prefix": "Stg"}`}, "", "", `name_prefix "Stg" must be`},
		"test listener":                 {map[string]string{"a1": `{"environment": "a1", "test_listener_port": 443}`}, "", "", `test_listener_port 443 must be 1 to 65535, but neither 80 nor 443`},
		"state key":                     {map[string]string{"a1": `{"environment": "a1", "state_key": "/a"}`}, "", "", `state_key "/a" must be a path`},
		"a null override":               {map[string]string{"a1": `{"environment": "a1", "service_overrides": {"web": {"environment": {"A": null}}}}`}, "", "", `service_overrides: service "web": environment.A is null: give a value, or remove it`},
		"an override that is null":      {map[string]string{"a1": `{"environment": "a1", "service_overrides": {"web": null}}`}, "", "", `terraform/environments/a1.tfvars.json: service_overrides: service "web" is null: give the fields that differ, or remove it`},
		"registry account":              {map[string]string{"a1": `{"environment": "a1", "registry_account": "123"}`}, "", "", `registry_account "123" must be twelve digits`},
		"an override twice":             {map[string]string{"a1": `{"environment": "a1", "service_overrides": {"web": {"cpu": 256, "cpu": 512}}}`}, "", "", `service_overrides: service "web": "cpu" is given twice: remove one`},
		"misspelled key":                {map[string]string{"a1": `{"environment": "a1", "account_idd": "111111111111"}`}, "", "", `terraform/environments/a1.tfvars.json: unknown key "account_idd": did you mean "account_id"?`},
		"unknown override":              {map[string]string{"a1": `{"environment": "a1", "service_overrides": {"web": {"desired_cont": 1}}}`}, "", "", `service_overrides: service "web": unknown field "desired_cont": did you mean "desired_count"?`},
		"same prefix":                   {map[string]string{"a1": `{"environment": "a1", "state_key": "a"}`, "a2": `{"environment": "a2", "state_key": "b"}`}, "a1", "", `environments "a1" and "a2" have the same name_prefix "ecs" in one account`},
		"same prefix in another region": {map[string]string{"a1": `{"environment": "a1", "state_key": "a"}`, "a2": `{"environment": "a2", "region": "eu-west-1", "state_key": "b"}`}, "a1", "", `have the same name_prefix "ecs" in one account`},
		"prefix of a prefix":            {map[string]string{"a1": `{"environment": "a1", "name_prefix": "ecs-stg", "state_key": "a"}`, "a2": `{"environment": "a2", "state_key": "b"}`}, "a1", "", `environments "a1" and "a2" have name_prefix "ecs-stg" and "ecs" in one account, so that`},
		"begins like another":           {map[string]string{"a1": `{"environment": "a1", "name_prefix": "ecs2", "state_key": "a"}`, "a2": `{"environment": "a2", "state_key": "b"}`}, "a1", "a1", ""},
		"internal":                      {map[string]string{"a1": `{"environment": "a1", "name_prefix": "internal-a"}`}, "", "", `must not begin with internal-`},
		"same state":                    {map[string]string{"a1": `{"environment": "a1"}`, "a2": `{"environment": "a2", "name_prefix": "two"}`}, "a1", "", `environments "a1" and "a2" have the same state_key "ecs-microservices/prod/terraform.tfstate"`},
		"the default state, by its key": {map[string]string{"a1": `{"environment": "a1"}`, "a2": `{"environment": "a2", "name_prefix": "two", "state_key": "ecs-microservices/prod/terraform.tfstate"}`}, "a1", "", `environments "a1" and "a2" have the same state_key "ecs-microservices/prod/terraform.tfstate"`},
		"same state in one bucket":      {map[string]string{"a1": `{"environment": "a1", "account_id": "111111111111", "state_bucket": "b"}`, "a2": `{"environment": "a2", "account_id": "222222222222", "state_bucket": "b"}`}, "a1", "", `environments "a1" and "a2" have the same state_key`},
		"same prefix, an account open":  {map[string]string{"a1": `{"environment": "a1", "state_key": "a"}`, "a2": `{"environment": "a2", "account_id": "111111111111", "state_key": "b"}`}, "a1", "", `environments "a1" and "a2" have the same name_prefix "ecs" in one account: set account_id in both, or give one of them another`},
		"same state, an account open":   {map[string]string{"a1": `{"environment": "a1"}`, "a2": `{"environment": "a2", "account_id": "111111111111", "name_prefix": "two"}`}, "a1", "", `environments "a1" and "a2" have the same state_key "ecs-microservices/prod/terraform.tfstate": set account_id in both, or give one of them another`},
		"an account open":               {map[string]string{"a1": `{"environment": "a1"}`, "a2": `{"environment": "a2", "account_id": "111111111111", "name_prefix": "two", "state_key": "two"}`}, "a1", "a1", ""},
		"other account":                 {map[string]string{"a1": `{"environment": "a1", "account_id": "111111111111"}`, "a2": `{"environment": "a2", "account_id": "222222222222"}`}, "a2", "a2", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := platform.SelectEnvironment(writeEnvironments(t, tt.files), tt.name)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.Equal(t, outcome.Usage, outcome.Of(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Name)
		})
	}
}

func TestDefaultStateKey(t *testing.T) {
	backend, err := os.ReadFile(sourcetest.Repository("terraform", "terraform.tf"))
	require.NoError(t, err)
	require.Contains(t, string(backend), `key          = "ecs-microservices/prod/terraform.tfstate"`, "as defaultStateKey")
}

func TestIn(t *testing.T) {
	p, err := platform.Parse(worker(t, `"environment": {"LOG": "info", "MODE": "live", "KEY": "x"}`))
	require.NoError(t, err)
	count, none := 1, 0
	in, err := p.In(platform.Environment{Name: "staging", NamePrefix: "stg", File: "f", Overrides: map[string]platform.Override{
		"worker": {DesiredCount: &none, Environment: map[string]string{"LOG": "debug"}, Secrets: map[string]string{"KEY": "/key"}},
		"api":    {DesiredCount: &count, Strategy: &platform.Strategy{Type: platform.Canary}},
	}})
	require.NoError(t, err)
	api, worker := in.Services[0], in.Services[2]
	require.Equal(t, "stg-api-service", api.ServiceName())
	require.Equal(t, "stg-api-task", api.Family())
	require.Equal(t, "stg-microservices-api", api.Repository())
	require.Equal(t, "stg-microservices-api", worker.Repository(), "shared image")
	require.Equal(t, "/ecs/stg-api", api.LogGroup())
	require.Equal(t, "stg-api-tg", api.TargetGroup())
	require.Equal(t, "stg-cluster", api.ClusterName())
	require.Equal(t, "stg-alb", in.Environment.LoadBalancer())
	require.Equal(t, "stg-api-t2", api.AlternateTargetGroup())
	require.Equal(t, "stg-ecs-infrastructure-role", api.InfrastructureRole())
	require.Equal(t, 10080, in.Environment.TestListenerPort())
	require.Equal(t, 10081, platform.Environment{TestListener: 10081}.TestListenerPort())
	require.True(t, api.ShiftsTraffic())
	require.False(t, p.Services[0].ShiftsTraffic(), "unchanged")
	require.Equal(t, 0, worker.DesiredCount)
	require.Equal(t, map[string]string{"LOG": "debug", "MODE": "live"}, worker.Environment)
	require.Equal(t, map[string]string{"KEY": "/key"}, worker.Secrets)
	require.Equal(t, map[string]string{"LOG": "info", "MODE": "live", "KEY": "x"}, p.Services[2].Environment, "unchanged")
	require.Equal(t, "ecs-api-service", p.Services[0].ServiceName(), "unchanged")
}

func TestInErrors(t *testing.T) {
	p, err := platform.Parse([]byte(valid))
	require.NoError(t, err)
	odd := 300
	for want, environment := range map[string]platform.Environment{
		`service_overrides: no service "ap" in terraform/services.auto.tfvars.json: did you mean "api"?`: {Overrides: map[string]platform.Override{"ap": {}}},
		`with service_overrides: service "api": cpu 300 is not a Fargate size`:                           {Overrides: map[string]platform.Override{"api": {CPU: &odd}}},
		`with service_overrides: service "api": strategy: percent 200 must be between`:                   {Overrides: map[string]platform.Override{"api": {Strategy: &platform.Strategy{Type: platform.Canary, Percent: 200}}}},
		`name_prefix "a-very-long-prefix-of-names" is too long for service "api"`:                        {NamePrefix: "a-very-long-prefix-of-names"},
	} {
		_, err := p.In(environment)
		require.ErrorContains(t, err, want)
		require.Equal(t, outcome.Usage, outcome.Of(err))
	}
}

func TestSelectPromotion(t *testing.T) {
	environment := func(name, from string) string {
		return fmt.Sprintf(`{"environment": %q, "name_prefix": %q, "state_key": %q, "promote_from": %q}`, name, name, name, from)
	}
	free := map[string]string{"dev": environment("dev", ""), "staging": environment("staging", ""), "production": environment("production", "")}
	chain := map[string]string{"dev": environment("dev", ""), "staging": environment("staging", "dev"), "production": environment("production", "staging")}
	for name, tt := range map[string]struct {
		files    map[string]string
		from, to string
		want     string // source
		err      string
	}{
		"named":           {free, "staging", "production", "staging", ""},
		"any direction":   {free, "production", "dev", "production", ""},
		"of the file":     {chain, "", "production", "staging", ""},
		"both":            {chain, "staging", "production", "staging", ""},
		"none named":      {free, "", "production", "", "no source: name the environment with --from, or set promote_from in terraform/environments/production.tfvars.json"},
		"no target":       {chain, "staging", "", "", "no target: name the environment with --to"},
		"unknown target":  {chain, "staging", "prodution", "", `--to: no environment "prodution": did you mean "production"?`},
		"unknown source":  {chain, "stagng", "production", "", `--from: no environment "stagng": did you mean "staging"?`},
		"no environments": {nil, "staging", "production", "", `--from: no environment "staging" in terraform/environments: it has production`},
		"itself":          {free, "staging", "staging", "", "cannot promote staging to itself"},
		"past staging":    {chain, "dev", "production", "", `cannot promote dev to production: promote_from in terraform/environments/production.tfvars.json is "staging"`},
		"backwards":       {chain, "production", "dev", "", "cannot promote production to dev: production is promoted from staging (promote_from in terraform/environments/production.tfvars.json)"},
		"no such source":  {map[string]string{"production": environment("production", "stagin"), "staging": environment("staging", "")}, "", "production", "", `environment "production": promote_from: no environment "stagin": did you mean "staging"?`},
		"from itself":     {map[string]string{"production": environment("production", "production")}, "", "production", "", `environment "production": promote_from "production" is promoted from "production" itself`},
		"a circle":        {map[string]string{"a1": environment("a1", "b1"), "b1": environment("b1", "a1")}, "", "a1", "", `environment "a1": promote_from "b1" is promoted from "a1" itself: remove one of them`},
	} {
		t.Run(name, func(t *testing.T) {
			source, target, err := platform.SelectPromotion(writeEnvironments(t, tt.files), tt.from, tt.to)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.Equal(t, outcome.Usage, outcome.Of(err))
				return
			}
			require.NoError(t, err)
			require.Equal(t, []string{tt.want, tt.to}, []string{source.Name, target.Name})
		})
	}
}
