package rehearsal

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// definitions makes the task definitions of the rehearsed platform, as Terraform does on
// AWS.
type definitions struct {
	place   place
	images  map[string]string // of the entries by name, and of sidecars by their image
	secrets map[string]string // what valueFrom of the services file is in the embedded AWS
	// standIns are the entries whose image is a stand-in, which has no programs.
	standIns map[string]bool
}

// define returns the task definition of an entry.
func (d definitions) define(s platform.Service) *ecs.RegisterTaskDefinitionInput {
	definition := &ecs.RegisterTaskDefinitionInput{
		Family: aws.String(s.Family()), NetworkMode: types.NetworkModeAwsvpc,
		Cpu: aws.String(strconv.Itoa(s.CPU)), Memory: aws.String(strconv.Itoa(s.Memory)),
		RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate},
		ExecutionRoleArn:        aws.String(d.place.role("task-execution-role")), TaskRoleArn: aws.String(d.place.role(s.Name + "-task-role")),
		RuntimePlatform:      hostPlatform(),
		ContainerDefinitions: []types.ContainerDefinition{d.mainContainer(s)},
		Tags:                 []types.Tag{{Key: aws.String(rollout.TagSHA), Value: aws.String(previousVersion)}},
	}
	if s.EphemeralStorage != 0 {
		definition.EphemeralStorage = &types.EphemeralStorage{SizeInGiB: int32(s.EphemeralStorage)}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Sidecars)) {
		definition.ContainerDefinitions = append(definition.ContainerDefinitions, d.sidecar(s, name, s.Sidecars[name]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Volumes)) {
		addVolume(definition, s, name, s.Volumes[name])
	}
	return definition
}

// hostPlatform returns the platform of this machine, for which the images are built.
func hostPlatform() *types.RuntimePlatform {
	architecture := types.CPUArchitectureX8664
	if image.HostPlatform().Architecture == "arm64" {
		architecture = types.CPUArchitectureArm64
	}
	return &types.RuntimePlatform{OperatingSystemFamily: types.OSFamilyLinux, CpuArchitecture: architecture}
}

func (d definitions) mainContainer(s platform.Service) types.ContainerDefinition {
	settings := s.Container
	if settings.HealthCheck == nil && s.HasHealthCheck() {
		settings.HealthCheck = &platform.HealthCheck{Path: s.HealthPath}
		if s.Kind == platform.Go {
			settings.HealthCheck = &platform.HealthCheck{Command: []string{"CMD", "/server", "healthcheck"}}
		}
	}
	c := d.container(s, s.ContainerName(), settings, d.standIns[s.Name])
	c.Image, c.Essential = aws.String(d.images[s.Name]), aws.Bool(true)
	c.StopTimeout = aws.Int32(int32(cmp.Or(s.StopTimeout, stopSeconds)))
	environment := []types.KeyValuePair{{Name: aws.String(rollout.VersionVariable), Value: aws.String(previousVersion)}}
	if s.Port != 0 {
		c.PortMappings = portMapping(s.Port)
		environment = append(environment, types.KeyValuePair{Name: aws.String("PORT"), Value: aws.String(strconv.Itoa(s.Port))})
	}
	c.Environment = append(environment, c.Environment...)
	if c.ReadonlyRootFilesystem == nil && (s.Kind == platform.Go || s.Kind == platform.Nginx) {
		c.ReadonlyRootFilesystem = aws.Bool(true)
	}
	if c.HealthCheck != nil && settings.HealthCheck.Path != "" {
		c.HealthCheck.Command = []string{"CMD-SHELL", fmt.Sprintf("wget -q -O /dev/null http://127.0.0.1:%d%s || exit 1", s.Port, settings.HealthCheck.Path)}
	}
	return c
}

func (d definitions) sidecar(s platform.Service, name string, sidecar platform.Sidecar) types.ContainerDefinition {
	standIn := sidecar.ImageOf == "" || d.standIns[sidecar.ImageOf]
	c := d.container(s, name, sidecar.Container, standIn)
	c.Image, c.Essential = aws.String(d.images[cmp.Or(sidecar.ImageOf, sidecar.Image)]), aws.Bool(sidecar.Essential)
	if sidecar.Port != 0 {
		c.PortMappings = portMapping(sidecar.Port)
	}
	if sidecar.CPU != 0 {
		c.Cpu = int32(sidecar.CPU)
	}
	if sidecar.Memory != 0 {
		c.Memory = aws.Int32(int32(sidecar.Memory))
	}
	return c
}

func portMapping(port int) []types.PortMapping {
	return []types.PortMapping{{ContainerPort: aws.Int32(int32(port)), Protocol: types.TransportProtocolTcp}}
}

// container returns what main containers and sidecars have in common. A stand-in has no
// programs for its commands, nor users.
func (d definitions) container(s platform.Service, name string, settings platform.Container, standIn bool) types.ContainerDefinition {
	c := types.ContainerDefinition{
		Name: &name, ReadonlyRootFilesystem: settings.ReadOnlyRootFilesystem,
		LogConfiguration: &types.LogConfiguration{
			LogDriver: types.LogDriverAwslogs,
			Options: map[string]string{
				"awslogs-group": s.LogGroup(), "awslogs-region": d.place.region, "awslogs-stream-prefix": "ecs",
			},
		},
	}
	for _, variable := range slices.Sorted(maps.Keys(settings.Environment)) {
		c.Environment = append(c.Environment, types.KeyValuePair{Name: &variable, Value: aws.String(settings.Environment[variable])})
	}
	for _, variable := range slices.Sorted(maps.Keys(settings.Secrets)) {
		c.Secrets = append(c.Secrets, types.Secret{Name: &variable, ValueFrom: aws.String(d.secrets[settings.Secrets[variable]])})
	}
	for _, on := range slices.Sorted(maps.Keys(settings.DependsOn)) {
		c.DependsOn = append(c.DependsOn, types.ContainerDependency{ContainerName: &on, Condition: types.ContainerCondition(settings.DependsOn[on])})
	}
	if settings.StopTimeout != 0 {
		c.StopTimeout = aws.Int32(int32(settings.StopTimeout))
	}
	if check := settings.HealthCheck; check != nil {
		c.HealthCheck = &types.HealthCheck{
			Command:  check.Command,
			Interval: aws.Int32(int32(cmp.Or(check.Interval, 10))), Timeout: aws.Int32(int32(cmp.Or(check.Timeout, 5))),
			Retries: aws.Int32(int32(cmp.Or(check.Retries, 3))), StartPeriod: aws.Int32(int32(cmp.Or(check.StartPeriod, 10))),
		}
	}
	if !standIn {
		c.Command = settings.Command
		if settings.User != "" {
			c.User = &settings.User
		}
	}
	return c
}

// addVolume adds a volume to a task definition and mounts it in its containers.
func addVolume(definition *ecs.RegisterTaskDefinitionInput, s platform.Service, name string, volume platform.Volume) {
	containers := volume.Containers
	if len(containers) == 0 {
		containers = []string{s.ContainerName()}
	}
	for n := range definition.ContainerDefinitions {
		c := &definition.ContainerDefinitions[n]
		switch {
		case !slices.Contains(containers, *c.Name):
		case volume.TmpfsSize != 0:
			if c.LinuxParameters == nil {
				c.LinuxParameters = &types.LinuxParameters{}
			}
			c.LinuxParameters.Tmpfs = append(c.LinuxParameters.Tmpfs, types.Tmpfs{ContainerPath: &volume.MountPath, Size: int32(volume.TmpfsSize)})
		default:
			c.MountPoints = append(c.MountPoints, types.MountPoint{
				SourceVolume: &name, ContainerPath: &volume.MountPath, ReadOnly: aws.Bool(volume.ReadOnly),
			})
		}
	}
	if volume.TmpfsSize != 0 {
		return
	}
	v := types.Volume{Name: &name}
	if volume.EFSFileSystem != "" {
		v.EfsVolumeConfiguration = &types.EFSVolumeConfiguration{
			FileSystemId: &volume.EFSFileSystem, TransitEncryption: types.EFSTransitEncryptionEnabled,
			AuthorizationConfig: &types.EFSAuthorizationConfig{AccessPointId: &volume.EFSAccessPoint, Iam: types.EFSAuthorizationConfigIAMEnabled},
		}
	}
	definition.Volumes = append(definition.Volumes, v)
}
