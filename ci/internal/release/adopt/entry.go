package adopt

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// isUnsupported reports whether a service cannot be an entry, and adds a note why.
func (f *file) isUnsupported(service types.Service) bool {
	switch {
	case aws.ToString(service.Status) != "ACTIVE":
		f.note(service, "left out, because it is %s", aws.ToString(service.Status))
	case service.SchedulingStrategy == types.SchedulingStrategyDaemon:
		f.note(service, "left out, because a daemon has no desired count")
	case service.DeploymentController != nil && service.DeploymentController.Type != types.DeploymentControllerTypeEcs:
		f.note(service, "left out, because its deployment controller is %s: slipway supports ECS only", service.DeploymentController.Type)
	default:
		return false
	}
	return true
}

// add adds the entry of a service.
func (f *file) add(service types.Service, definition types.TaskDefinition, digests map[string]string) {
	name := aws.ToString(service.ServiceName)
	if len(definition.ContainerDefinitions) == 0 {
		f.note(service, "left out, because its task definition has no container")
		return
	}
	main := mainContainer(service, definition)
	entry := platform.Service{Name: f.entryName(name), DesiredCount: int(service.DesiredCount), Strategy: rollout.EntryStrategy(service.DeploymentConfiguration)}
	f.setNames(&entry, service, definition, main)
	f.setBuild(&entry, service, main)
	f.setTraffic(&entry, service)
	f.setSize(&entry, service, definition)
	entry.Container = f.container(service, main, entry.Port, true)
	f.setSidecars(&entry, service, definition, main, digests)
	f.setVolumes(&entry, service, definition, main)
	f.noteDefinition(service, definition, main)
	image := imageOf(main, digests)
	f.images[image] = cmp.Or(f.images[image], entry.Name)
	f.entries = append(f.entries, entry)
}

// mainContainer returns the container that the load balancer forwards to, or else the first
// essential one.
func mainContainer(service types.Service, definition types.TaskDefinition) types.ContainerDefinition {
	containers := definition.ContainerDefinitions
	n := slices.IndexFunc(containers, func(c types.ContainerDefinition) bool {
		return len(service.LoadBalancers) > 0 && aws.ToString(c.Name) == aws.ToString(service.LoadBalancers[0].ContainerName)
	})
	if n < 0 {
		n = slices.IndexFunc(containers, essential)
	}
	return containers[max(n, 0)]
}

// essential reports whether a container is essential, which is ECS's default.
func essential(c types.ContainerDefinition) bool { return c.Essential == nil || *c.Essential }

// derivedName matches the names of services that slipway creates.
var derivedName = regexp.MustCompile(`^` + platform.Project + `-(.+)-service$`)

// entryName returns a valid name for the entry of an ECS service that no other entry has.
func (f *file) entryName(service string) string {
	if match := derivedName.FindStringSubmatch(service); match != nil {
		service = match[1]
	}
	name := platform.Hyphenate(service)
	if name == "" || name[0] < 'a' {
		name = "s-" + name
	}
	name = strings.TrimRight(name[:min(len(name), 25)], "-")
	if len(name) < 2 {
		name += "-1"
	}
	unique := name
	for n := 2; f.taken[unique]; n++ {
		suffix := "-" + strconv.Itoa(n)
		unique = name[:min(len(name), 25-len(suffix))] + suffix
	}
	f.taken[unique] = true
	return unique
}

// setNames sets the names that are not the derived ones.
func (f *file) setNames(entry *platform.Service, service types.Service, definition types.TaskDefinition, main types.ContainerDefinition) {
	for _, name := range []struct {
		to         *string
		is, derive string
	}{
		{&entry.Cluster, f.cluster, entry.ClusterName()},
		{&entry.Service, aws.ToString(service.ServiceName), entry.ServiceName()},
		{&entry.Names.Family, aws.ToString(definition.Family), entry.Family()},
		{&entry.Names.Container, aws.ToString(main.Name), entry.ContainerName()},
	} {
		if name.is != name.derive {
			*name.to = name.is
		}
	}
}

// privateRepository matches an image of a private ECR repository, and of the embedded AWS,
// whose registry is on this machine.
var privateRepository = regexp.MustCompile(`^(?:[0-9]{12}\.dkr[.-]ecr[^/]*|127\.0\.0\.1:[0-9]+|localhost:[0-9]+)/([^:@]+)`)

// setBuild sets how the image is built: from a folder, or not, as an image of kind image.
func (f *file) setBuild(entry *platform.Service, service types.Service, main types.ContainerDefinition) {
	image := aws.ToString(main.Image)
	build, ok := platform.Build{}, false
	if f.build != nil {
		build, ok = f.build(entry.Name, aws.ToString(service.ServiceName))
	}
	if !ok {
		build = platform.Build{Kind: platform.Prebuilt, Image: withTag(image)}
		if !strings.Contains(image, "@") {
			f.note(service, "its image is named by a tag, %s: a release pins the digest that the tag then has", build.Image)
		}
	}
	entry.Build = build
	match := privateRepository.FindStringSubmatch(image)
	switch {
	case match == nil:
		f.create = append(f.create, newRepository{service, entry.Name, "its image is not in Amazon ECR: create the repository %s, to which a release copies it"})
	case match[1] == entry.Repository():
	case slices.ContainsFunc(f.entries, func(other platform.Service) bool {
		return other.Repository() == match[1] && (other.Kind != build.Kind || other.Path != build.Path || other.Image != build.Image)
	}):
		f.create = append(f.create, newRepository{service, entry.Name, "its repository " + match[1] + " has different images, and a commit of an entry is one image of a repository: create the repository %s, or name another"})
	default:
		entry.Names.Repository = match[1]
	}
}

// withTag returns an image with the tag that it has by default.
func withTag(image string) string {
	if strings.Contains(image, "@") || strings.Contains(image[strings.LastIndex(image, "/")+1:], ":") {
		return image
	}
	return image + ":latest"
}

// setTraffic sets the fields of a web service. Without a route that can be written, the
// entry is that of a worker: a release does not change load balancers.
func (f *file) setTraffic(entry *platform.Service, service types.Service) {
	if len(service.LoadBalancers) == 0 {
		return
	}
	if len(service.LoadBalancers) > 1 {
		f.note(service, "only the first of its %d target groups is in the entry; a release keeps all", len(service.LoadBalancers))
	}
	to := f.routes[targetGroupOf(service)]
	for _, note := range to.notes {
		f.note(service, "%s", note)
	}
	var patterns []string
	for _, pattern := range to.patterns {
		if other := f.patterns[pattern]; other != "" {
			f.note(service, "route %s is that of entry %s, too: it is left out", pattern, other)
			continue
		}
		patterns = append(patterns, pattern)
	}
	if len(patterns) == 0 || to.group.HealthCheckPath == nil || to.group.ProtocolVersion != nil && *to.group.ProtocolVersion == "GRPC" {
		f.note(service, "written without port and routes, because none of its routes is a path of its own over HTTP: a release has no smoke test, and keeps its load balancer")
		return
	}
	for _, pattern := range patterns {
		f.patterns[pattern] = entry.Name
	}
	entry.Port, entry.Routes, entry.HealthPath = int(aws.ToInt32(service.LoadBalancers[0].ContainerPort)), patterns, *to.group.HealthCheckPath
	if grace := service.HealthCheckGracePeriodSeconds; grace != nil && *grace != 30 {
		entry.GracePeriod = aws.Int(int(*grace))
	}
	if matcher := to.group.Matcher; matcher != nil && aws.ToString(matcher.HttpCode) != "200" && aws.ToString(matcher.HttpCode) != "" {
		f.note(service, "its target group counts %s as healthy, and the entry means 200; a release keeps the target group", aws.ToString(matcher.HttpCode))
	}
	if to.group.Protocol == elbtypes.ProtocolEnumHttps {
		f.note(service, "its target group speaks HTTPS, which the entry cannot say; a release keeps it")
	}
}

// setSize sets the size and the number of tasks.
func (f *file) setSize(entry *platform.Service, service types.Service, definition types.TaskDefinition) {
	entry.CPU, _ = strconv.Atoi(aws.ToString(definition.Cpu)) // the entry is checked later
	entry.Memory, _ = strconv.Atoi(aws.ToString(definition.Memory))
	if platform := definition.RuntimePlatform; platform != nil {
		entry.Architecture = string(platform.CpuArchitecture)
	}
	if storage := definition.EphemeralStorage; storage != nil {
		entry.EphemeralStorage = int(storage.SizeInGiB)
	}
	var spot, total int32
	for _, provider := range service.CapacityProviderStrategy {
		total += provider.Weight
		switch aws.ToString(provider.CapacityProvider) {
		case "FARGATE_SPOT":
			spot += provider.Weight
		case "FARGATE":
		default:
			f.note(service, "its capacity provider %s is not in the entry; a release keeps it", aws.ToString(provider.CapacityProvider))
		}
	}
	if total > 0 {
		entry.Spot = int(100 * spot / total)
	}
}

// container returns the settings of a container that an entry has.
func (f *file) container(service types.Service, c types.ContainerDefinition, port int, main bool) platform.Container {
	name := aws.ToString(c.Name)
	to := platform.Container{User: aws.ToString(c.User), StopTimeout: int(aws.ToInt32(c.StopTimeout))}
	if command := f.commandWithoutSecrets(service, name, "command", c.Command); command != nil {
		to.Command = command
	}
	f.setEnvironment(&to, service, c, port, main)
	for _, secret := range c.Secrets {
		to.Secrets = put(to.Secrets, aws.ToString(secret.Name), aws.ToString(secret.ValueFrom))
	}
	if c.ReadonlyRootFilesystem != nil && *c.ReadonlyRootFilesystem {
		to.ReadOnlyRootFilesystem = c.ReadonlyRootFilesystem
	}
	if check := c.HealthCheck; check != nil {
		if command := f.commandWithoutSecrets(service, name, "health check", check.Command); command != nil {
			to.HealthCheck = &platform.HealthCheck{
				Command: command, Interval: int(aws.ToInt32(check.Interval)), Timeout: int(aws.ToInt32(check.Timeout)),
				StartPeriod: int(aws.ToInt32(check.StartPeriod)), Retries: int(aws.ToInt32(check.Retries)),
			}
		}
	}
	for _, dependency := range c.DependsOn {
		to.DependsOn = put(to.DependsOn, aws.ToString(dependency.ContainerName), string(dependency.Condition))
	}
	return to
}

func put[V any](m map[string]V, key string, value V) map[string]V {
	if m == nil {
		m = map[string]V{}
	}
	m[key] = value
	return m
}

// setSidecars sets the further containers. Their images need a digest.
func (f *file) setSidecars(entry *platform.Service, service types.Service, definition types.TaskDefinition, main types.ContainerDefinition, digests map[string]string) {
	for _, c := range definition.ContainerDefinitions {
		name := aws.ToString(c.Name)
		if name == aws.ToString(main.Name) {
			continue
		}
		sidecar := platform.Sidecar{
			Container: f.container(service, c, 0, false), Image: imageOf(c, digests), Essential: essential(c),
			CPU: int(c.Cpu), Memory: int(aws.ToInt32(c.Memory)),
		}
		if aws.ToString(c.Image) == aws.ToString(main.Image) {
			sidecar.Image, sidecar.ImageOf = "", entry.Name
		} else if !strings.Contains(sidecar.Image, "@") {
			f.note(service, "container %s is left out, because its image %s has no digest, and no running task says which: name it by digest", name, sidecar.Image)
			continue
		}
		if len(c.PortMappings) > 0 {
			sidecar.Port = int(aws.ToInt32(c.PortMappings[0].ContainerPort))
		}
		entry.Sidecars = put(entry.Sidecars, name, sidecar)
	}
	drop := func(dependencies map[string]string) {
		maps.DeleteFunc(dependencies, func(on, _ string) bool {
			_, ok := entry.Sidecars[on]
			return !ok && on != entry.ContainerName()
		})
	}
	drop(entry.DependsOn)
	for _, sidecar := range entry.Sidecars {
		drop(sidecar.DependsOn)
	}
	if len(entry.DependsOn) == 0 {
		entry.DependsOn = nil
	}
}

// imageOf returns the image of a container, by the digest that runs if it is known.
func imageOf(c types.ContainerDefinition, digests map[string]string) string {
	image := aws.ToString(c.Image)
	digest := digests[aws.ToString(c.Name)]
	if strings.Contains(image, "@") || digest == "" {
		return image
	}
	if last := strings.LastIndex(image, "/") + 1; strings.Contains(image[last:], ":") {
		image = image[:last+strings.Index(image[last:], ":")]
	}
	return image + "@" + digest
}

// setVolumes sets the volumes that containers mount.
func (f *file) setVolumes(entry *platform.Service, service types.Service, definition types.TaskDefinition, main types.ContainerDefinition) {
	for _, v := range definition.Volumes {
		name := aws.ToString(v.Name)
		volume := platform.Volume{}
		switch efs := v.EfsVolumeConfiguration; {
		case efs != nil && efs.AuthorizationConfig != nil && efs.AuthorizationConfig.AccessPointId != nil:
			volume.EFSFileSystem, volume.EFSAccessPoint = aws.ToString(efs.FileSystemId), aws.ToString(efs.AuthorizationConfig.AccessPointId)
		case efs != nil, v.DockerVolumeConfiguration != nil, v.FsxWindowsFileServerVolumeConfiguration != nil, aws.ToBool(v.ConfiguredAtLaunch), v.Host != nil && v.Host.SourcePath != nil:
			f.note(service, "volume %s is not in the entry, because it is neither EFS with an access point nor on the task's disk; a release keeps it", name)
			continue
		}
		same := true
		for _, c := range definition.ContainerDefinitions {
			for _, mount := range c.MountPoints {
				if aws.ToString(mount.SourceVolume) != name {
					continue
				}
				same = same && (volume.MountPath == "" || volume.MountPath == aws.ToString(mount.ContainerPath) && volume.ReadOnly == aws.ToBool(mount.ReadOnly))
				volume.MountPath, volume.ReadOnly = aws.ToString(mount.ContainerPath), aws.ToBool(mount.ReadOnly)
				volume.Containers = append(volume.Containers, aws.ToString(c.Name))
			}
		}
		f.putVolume(entry, service, main, name, volume, same)
	}
	for _, c := range definition.ContainerDefinitions {
		if c.LinuxParameters == nil {
			continue
		}
		for n, tmpfs := range c.LinuxParameters.Tmpfs {
			volume := platform.Volume{MountPath: aws.ToString(tmpfs.ContainerPath), TmpfsSize: int(tmpfs.Size), Containers: []string{aws.ToString(c.Name)}}
			f.putVolume(entry, service, main, fmt.Sprintf("%s-tmpfs-%d", aws.ToString(c.Name), n+1), volume, true)
		}
	}
}

// putVolume adds a volume that the containers of the entry mount in the same way.
func (f *file) putVolume(entry *platform.Service, service types.Service, main types.ContainerDefinition, name string, volume platform.Volume, same bool) {
	volume.Containers = slices.DeleteFunc(volume.Containers, func(c string) bool {
		_, ok := entry.Sidecars[c]
		return !ok && c != aws.ToString(main.Name)
	})
	if !same || len(volume.Containers) == 0 {
		f.note(service, "volume %s is not in the entry, because its containers do not mount it alike; a release keeps it", name)
		return
	}
	if slices.Equal(volume.Containers, []string{aws.ToString(main.Name)}) {
		volume.Containers = nil
	}
	entry.Volumes = put(entry.Volumes, name, volume)
}
