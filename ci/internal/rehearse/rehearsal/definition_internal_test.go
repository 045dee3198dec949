package rehearsal

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// entries is a services file with every field that a task definition has.
const entries = `{"services": {
  "api": {
    "path": "api", "kind": "go", "port": 8000, "health_path": "/health", "routes": ["/api/*"], "cpu": 512, "memory": 1024, "desired_count": 1,
    "family": "team_api", "container": "app", "command": ["serve"], "user": "1000:1000", "stop_timeout": 60, "ephemeral_storage": 30,
    "environment": {"B": "2", "A": "1"},
    "secrets": {
      "URL": "arn:aws:secretsmanager:us-east-1:123456789012:secret:shop/db-AbCdEf:url::", "PASSWORD": "arn:aws:secretsmanager:us-east-1:123456789012:secret:shop/db-AbCdEf:password::",
      "WHOLE": "arn:aws:secretsmanager:us-east-1:123456789012:secret:key-AbCdEf", "TOKEN": "/shop/token", "OTHER": "arn:aws:ssm:us-east-1:123456789012:parameter/shop/other"
    },
    "health_check": {"command": ["CMD", "/server", "check"], "retries": 2},
    "depends_on": {"proxy": "HEALTHY"},
    "volumes": {
      "data": {"mount_path": "/data", "efs_file_system": "fs-0123456789abcdef0", "efs_access_point": "fsap-0123456789abcdef0", "read_only": true},
      "memory": {"mount_path": "/run", "tmpfs_size": 16},
      "scratch": {"mount_path": "/tmp", "containers": ["app", "proxy"]}
    },
    "sidecars": {
      "proxy": {"image_of": "api", "command": ["proxy"], "essential": true, "port": 9000, "cpu": 64, "memory": 128, "health_check": {"command": ["CMD-SHELL", "true"]}, "environment": {"C": "3"}},
      "telemetry": {"image": "collector@sha256:0000000000000000000000000000000000000000000000000000000000000000", "command": ["--config=x"], "user": "0"}
    }
  },
  "page": {"kind": "image", "image": "nginx:1.29", "port": 80, "health_path": "/", "routes": ["/*"], "cpu": 256, "memory": 512, "desired_count": 1, "health_check": {"path": "/up"}, "readonly_root_filesystem": true},
  "web": {"path": "web", "kind": "go", "port": 8000, "health_path": "/health", "routes": ["/web/*"], "cpu": 256, "memory": 512, "desired_count": 1},
  "site": {"path": "site", "kind": "nginx", "port": 8080, "health_path": "/healthz", "routes": ["/site/*"], "cpu": 256, "memory": 512, "desired_count": 1},
  "worker": {"path": "web", "kind": "go", "cpu": 256, "memory": 512, "desired_count": 1}
}}`

func TestDefine(t *testing.T) {
	p, err := platform.Parse([]byte(entries))
	require.NoError(t, err)
	api, page := p.Services[0], p.Services[1]
	d := definitions{
		place:  newPlace(platform.Environment{}, defaultAccount),
		images: map[string]string{"api": "registry/api@1", api.Sidecars["telemetry"].Image: "registry/sidecar@1", "page": "registry/page@1"},
		secrets: map[string]string{
			api.Secrets["URL"]: "db:url::", api.Secrets["PASSWORD"]: "db:password::", api.Secrets["WHOLE"]: "key", "/shop/token": "/shop/token", api.Secrets["OTHER"]: "/shop/other",
		},
		standIns: map[string]bool{"page": true},
	}
	got := d.define(api)
	require.Equal(t, []any{"team_api", "512", "1024", int32(30)}, []any{*got.Family, *got.Cpu, *got.Memory, got.EphemeralStorage.SizeInGiB})
	pair := func(name, value string) types.KeyValuePair { return types.KeyValuePair{Name: &name, Value: &value} }
	secret := func(name, from string) types.Secret { return types.Secret{Name: &name, ValueFrom: &from} }
	seconds := aws.Int32
	log := &types.LogConfiguration{LogDriver: "awslogs", Options: map[string]string{"awslogs-group": "/ecs/ecs-api", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "ecs"}}
	scratch := types.MountPoint{SourceVolume: aws.String("scratch"), ContainerPath: aws.String("/tmp"), ReadOnly: aws.Bool(false)}
	require.Equal(t, []types.ContainerDefinition{
		{
			Name: aws.String("app"), Image: aws.String("registry/api@1"), Essential: aws.Bool(true), Command: []string{"serve"}, User: aws.String("1000:1000"),
			StopTimeout: seconds(60), ReadonlyRootFilesystem: aws.Bool(true), PortMappings: portMapping(8000),
			Environment: []types.KeyValuePair{pair("VERSION", "previous"), pair("PORT", "8000"), pair("A", "1"), pair("B", "2")},
			Secrets: []types.Secret{
				secret("OTHER", "/shop/other"), secret("PASSWORD", "db:password::"), secret("TOKEN", "/shop/token"), secret("URL", "db:url::"), secret("WHOLE", "key"),
			},
			HealthCheck:     &types.HealthCheck{Command: []string{"CMD", "/server", "check"}, Interval: seconds(10), Timeout: seconds(5), Retries: seconds(2), StartPeriod: seconds(10)},
			DependsOn:       []types.ContainerDependency{{ContainerName: aws.String("proxy"), Condition: "HEALTHY"}},
			MountPoints:     []types.MountPoint{{SourceVolume: aws.String("data"), ContainerPath: aws.String("/data"), ReadOnly: aws.Bool(true)}, scratch},
			LinuxParameters: &types.LinuxParameters{Tmpfs: []types.Tmpfs{{ContainerPath: aws.String("/run"), Size: 16}}},

			LogConfiguration: log,
		},
		{
			Name: aws.String("proxy"), Image: aws.String("registry/api@1"), Essential: aws.Bool(true), Command: []string{"proxy"}, PortMappings: portMapping(9000), Cpu: 64, Memory: aws.Int32(128),
			Environment: []types.KeyValuePair{pair("C", "3")}, MountPoints: []types.MountPoint{scratch}, LogConfiguration: log,
			HealthCheck: &types.HealthCheck{Command: []string{"CMD-SHELL", "true"}, Interval: seconds(10), Timeout: seconds(5), Retries: seconds(3), StartPeriod: seconds(10)},
		},
		{Name: aws.String("telemetry"), Image: aws.String("registry/sidecar@1"), Essential: aws.Bool(false), LogConfiguration: log}, // a stand-in
	}, got.ContainerDefinitions)
	require.Equal(t, []types.Volume{
		{Name: aws.String("data"), EfsVolumeConfiguration: &types.EFSVolumeConfiguration{
			FileSystemId: aws.String("fs-0123456789abcdef0"), TransitEncryption: "ENABLED",
			AuthorizationConfig: &types.EFSAuthorizationConfig{AccessPointId: aws.String("fsap-0123456789abcdef0"), Iam: "ENABLED"},
		}},
		{Name: aws.String("scratch")},
	}, got.Volumes)

	main := d.define(page).ContainerDefinitions[0]
	require.Equal(t, []string{"CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1:80/up || exit 1"}, main.HealthCheck.Command)
	require.True(t, *main.ReadonlyRootFilesystem)
	site, web, worker := d.define(p.Services[2]).ContainerDefinitions[0], d.define(p.Services[3]).ContainerDefinitions[0], d.define(p.Services[4]).ContainerDefinitions[0]
	require.Equal(t, []string{"CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1:8080/healthz || exit 1"}, site.HealthCheck.Command, "a sidecar may wait for it to be HEALTHY")
	require.Equal(t, &types.HealthCheck{Command: []string{"CMD", "/server", "healthcheck"}, Interval: seconds(10), Timeout: seconds(5), Retries: seconds(3), StartPeriod: seconds(10)}, web.HealthCheck)
	require.Nil(t, worker.HealthCheck)
}

func TestSecretValue(t *testing.T) {
	for valueFrom, want := range map[string]secretRef{
		"/shop/token": {name: "/shop/token", parameter: true},
		"token":       {name: "token", parameter: true},
		"arn:aws:ssm:us-east-1:123456789012:parameter/shop/token":                                {name: "/shop/token", parameter: true},
		"arn:aws:secretsmanager:us-east-1:123456789012:secret:shop/db-AbCdEf":                    {name: "shop/db"},
		"arn:aws:secretsmanager:us-east-1:123456789012:secret:database":                          {name: "database"},
		"arn:aws:secretsmanager:us-east-1:123456789012:secret:shop/db-AbCdEf:url::":              {name: "shop/db", key: "url"},
		"arn:aws:secretsmanager:us-east-1:123456789012:secret:shop/db-AbCdEf::AWSCURRENT:":       {name: "shop/db"},
		"arn:aws:secretsmanager:us-east-1:123456789012:secret:shop/db-AbCdEf:user:AWSPREVIOUS:1": {name: "shop/db", key: "user"},
	} {
		require.Equal(t, want, parseSecret(valueFrom), valueFrom)
	}
	require.Equal(t, "rehearsal", secretValue([]string{""}))
	require.JSONEq(t, `{"url": "rehearsal", "user": "rehearsal"}`, secretValue([]string{"url", "", "user"}))
}

func TestChooseTarget(t *testing.T) {
	goWeb := platform.Service{Name: "go", Build: platform.Build{Kind: platform.Go}, Port: 1}
	page := platform.Service{Name: "page", Build: platform.Build{Kind: platform.Nginx}, Port: 1}
	worker := platform.Service{Name: "worker", Build: platform.Build{Kind: platform.Go}}
	job := platform.Service{Name: "job", Build: platform.Build{Kind: platform.Go}, Schedule: "rate(1 hour)"}
	for want, services := range map[string][]platform.Service{
		"go": {job, page, worker, goWeb}, "page": {job, worker, page}, "worker": {job, worker}, "job": {job},
	} {
		require.Equal(t, want, chooseTarget(services).Name)
	}
}

func TestCapacityProviders(t *testing.T) {
	for spot, want := range map[int][]types.CapacityProviderStrategyItem{
		30:  {{CapacityProvider: aws.String("FARGATE_SPOT"), Weight: 30}, {CapacityProvider: aws.String("FARGATE"), Weight: 70}},
		100: {{CapacityProvider: aws.String("FARGATE_SPOT"), Weight: 100}},
	} {
		require.Equal(t, want, capacityProviders(spot))
	}
}
