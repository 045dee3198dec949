package ecs

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// normalizeSizes converts sizes such as "1 vCPU" and "2 GB" to ECS's units.
func normalizeSizes(in *awsecs.RegisterTaskDefinitionInput) {
	in.Cpu, in.Memory = normalizeSize(in.Cpu, "vcpu"), normalizeSize(in.Memory, "gb")
}

func normalizeSize(size *string, unit string) *string {
	number, ok := strings.CutSuffix(strings.ToLower(aws.ToString(size)), unit)
	value, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !ok || err != nil {
		return size
	}
	return new(strconv.Itoa(int(value * 1024)))
}

var familyName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`)

func validateDefinition(in *awsecs.RegisterTaskDefinitionInput) error {
	switch {
	case aws.ToString(in.Family) == "":
		return wire.Errorf("ClientException", "Family can not be blank.")
	case !familyName.MatchString(*in.Family):
		return wire.Errorf("ClientException", "Family contains invalid characters.")
	case len(in.ContainerDefinitions) == 0:
		return wire.Errorf("ClientException", "Container list cannot be empty.")
	}
	names, essential := map[string]bool{}, false
	for _, d := range in.ContainerDefinitions {
		switch name := aws.ToString(d.Name); {
		case name == "":
			return wire.Errorf("ClientException", "Container.name should not be null or empty.")
		case aws.ToString(d.Image) == "":
			return wire.Errorf("ClientException", "Container.image should not be null or empty.")
		case names[name]:
			return wire.Errorf("ClientException", "Container name '%s' is used more than once.", name)
		}
		names[*d.Name] = true
		essential = essential || isEssential(d)
		for _, m := range d.MountPoints {
			if !slices.ContainsFunc(in.Volumes, func(v types.Volume) bool { return aws.ToString(v.Name) == aws.ToString(m.SourceVolume) }) {
				return wire.Errorf("ClientException", "Unknown volume '%s'.", aws.ToString(m.SourceVolume))
			}
		}
		if name := duplicateSecretName(d); name != "" {
			return wire.Errorf("ClientException", duplicateSecret, name)
		}
		if len(d.Secrets) > 0 && in.ExecutionRoleArn == nil {
			return wire.Errorf("ClientException", "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.")
		}
		for _, m := range d.PortMappings {
			if in.NetworkMode == types.NetworkModeAwsvpc && m.HostPort != nil && *m.HostPort != 0 && *m.HostPort != aws.ToInt32(m.ContainerPort) {
				return wire.Errorf("ClientException", "When networkMode=awsvpc, the host ports and container ports in port mappings must match.")
			}
		}
	}
	if !essential {
		return wire.Errorf("ClientException", "Task definition doesn't have any essential container.")
	}
	if err := validateDependencies(in.ContainerDefinitions); err != nil {
		return err
	}
	if err := validateVolumes(in.Volumes); err != nil {
		return err
	}
	if err := validateTags(in.Tags); err != nil {
		return err
	}
	if slices.Contains(in.RequiresCompatibilities, types.CompatibilityFargate) {
		return validateFargate(in)
	}
	return nil
}

// isEssential reports whether a container is essential, which is the default.
func isEssential(d types.ContainerDefinition) bool { return d.Essential == nil || *d.Essential }

func validateDependencies(definitions []types.ContainerDefinition) error {
	if invalid := invalidDependency(definitions); invalid != "" {
		return wire.Errorf("ClientException", "Container dependencies are not valid: %s is unknown or depends on itself.", invalid)
	}
	for _, d := range definitions {
		for _, dependency := range d.DependsOn {
			i := slices.IndexFunc(definitions, func(other types.ContainerDefinition) bool { return *other.Name == *dependency.ContainerName })
			switch dependency.Condition {
			case types.ContainerConditionStart:
			case types.ContainerConditionSuccess, types.ContainerConditionComplete:
				if isEssential(definitions[i]) {
					return wire.Errorf("ClientException", "A dependency container with SUCCESS or COMPLETE condition cannot be an essential container")
				}
			case types.ContainerConditionHealthy:
				if newHealthCheck(definitions[i].HealthCheck) == nil {
					return wire.Errorf("ClientException", "A dependency container with HEALTHY condition must have a health check: %s", *definitions[i].Name)
				}
			default:
				return wire.Errorf("ClientException", "Invalid container dependency condition '%s'.", dependency.Condition)
			}
		}
	}
	return nil
}

func validateVolumes(volumes []types.Volume) error {
	for _, v := range volumes {
		efs := v.EfsVolumeConfiguration
		if efs == nil || efs.AuthorizationConfig == nil {
			continue
		}
		if root := aws.ToString(efs.RootDirectory); efs.AuthorizationConfig.AccessPointId != nil && root != "" && root != "/" {
			return wire.Errorf("ClientException", `When using an EFS access point, the root directory must either be set to "/" or be omitted.`)
		}
		if efs.TransitEncryption != types.EFSTransitEncryptionEnabled {
			return wire.Errorf("ClientException", "EFS volume %s: transit encryption must be enabled to use an access point or IAM authorization.", aws.ToString(v.Name))
		}
	}
	return nil
}

// maxTags is the maximum number of tags of a resource.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RegisterTaskDefinition.html
const maxTags = 50

func validateTags(tags []types.Tag) error {
	if len(tags) > maxTags {
		return wire.Errorf("InvalidParameterException", "A resource can have at most %d tags.", maxTags)
	}
	for _, tag := range tags {
		if strings.HasPrefix(strings.ToLower(aws.ToString(tag.Key)), "aws:") {
			return wire.Errorf("InvalidParameterException", "Tag keys that begin with 'aws:' are reserved: %s", *tag.Key)
		}
	}
	return nil
}

const duplicateSecret = "The secret name must be unique and not shared with any new or existing environment variables set on the container, such as '%s'."

// duplicateSecretName returns the name of a secret that the container also uses for
// another secret or variable, or "".
func duplicateSecretName(d types.ContainerDefinition) string {
	taken := map[string]bool{}
	for _, v := range d.Environment {
		taken[aws.ToString(v.Name)] = true
	}
	for _, s := range d.Secrets {
		name := aws.ToString(s.Name)
		if taken[name] {
			return name
		}
		taken[name] = true
	}
	return ""
}

// fargateSizes maps CPU units to the memory sizes in MiB that Fargate offers
// with them, as least, most and step.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
var fargateSizes = map[string][3]int{
	"256": {512, 2048, 512}, "512": {1024, 4096, 1024}, "1024": {2048, 8192, 1024}, "2048": {4096, 16384, 1024},
	"4096": {8192, 30720, 1024}, "8192": {16384, 61440, 4096}, "16384": {32768, 122880, 8192},
}

func validateFargate(in *awsecs.RegisterTaskDefinitionInput) error {
	if in.NetworkMode != types.NetworkModeAwsvpc {
		return wire.Errorf("ClientException", "Fargate only supports network mode ‘awsvpc’.")
	}
	cpu, memory := aws.ToString(in.Cpu), aws.ToString(in.Memory)
	if cpu == "" || memory == "" {
		return wire.Errorf("ClientException", "Fargate requires that 'cpu' and 'memory' be defined at the task level.")
	}
	if err := validateFargateSize(cpu, memory); err != nil {
		return err
	}
	for _, d := range in.ContainerDefinitions {
		if d.LogConfiguration != nil && d.LogConfiguration.LogDriver == types.LogDriverAwslogs && in.ExecutionRoleArn == nil {
			return wire.Errorf("ClientException", "Fargate requires task definition to have execution role ARN to support log driver awslogs.")
		}
	}
	return nil
}

func validateFargateSize(cpu, memory string) error {
	sizes, ok := fargateSizes[cpu]
	mib, err := strconv.Atoi(memory)
	fits := ok && err == nil && mib >= sizes[0] && mib <= sizes[1] && mib%sizes[2] == 0 && (cpu != "256" || mib != 1536)
	if !fits {
		return wire.Errorf("ClientException", "No Fargate configuration exists for given values: %s CPU, %s memory. See the Amazon ECS documentation for the valid values.", cpu, memory)
	}
	return nil
}

// invalid returns the error of a parameter with an invalid value.
func invalid(format string, args ...any) error {
	return wire.Errorf("InvalidParameterException", format, args...)
}

// validateNetwork validates the network configuration of a service or task.
func validateNetwork(d *types.TaskDefinition, network *types.NetworkConfiguration) error {
	given := network != nil && network.AwsvpcConfiguration != nil && len(network.AwsvpcConfiguration.Subnets) > 0
	if d.NetworkMode == types.NetworkModeAwsvpc && !given {
		return wire.Errorf("InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified.")
	}
	return nil
}

// validateService validates a service before it is created or updated, as ECS does.
func (c *ControlPlane) validateService(d *types.TaskDefinition, lbs []types.LoadBalancer, network *types.NetworkConfiguration, desired *int32) error {
	if desired != nil && *desired < 0 {
		return wire.Errorf("InvalidParameterException", "desiredCount cannot be negative")
	}
	if err := validateNetwork(d, network); err != nil {
		return err
	}
	for _, lb := range lbs {
		group, container, port := aws.ToString(lb.TargetGroupArn), aws.ToString(lb.ContainerName), aws.ToInt32(lb.ContainerPort)
		switch exists, attached := c.cfg.Balancer.Attached(group); {
		case !exists:
			return wire.Errorf("InvalidParameterException", "The specified target group does not exist.")
		case !attached && lb.AdvancedConfiguration == nil: // otherwise ECS attaches it
			return wire.Errorf("InvalidParameterException", "The target group with targetGroupArn %s does not have an associated load balancer.", group)
		}
		i := slices.IndexFunc(d.ContainerDefinitions, func(cd types.ContainerDefinition) bool { return *cd.Name == container })
		if i < 0 {
			return wire.Errorf("InvalidParameterException", "The container %s does not exist in the task definition.", container)
		}
		if !slices.ContainsFunc(d.ContainerDefinitions[i].PortMappings, func(m types.PortMapping) bool { return aws.ToInt32(m.ContainerPort) == port }) {
			return wire.Errorf("InvalidParameterException", "The container %s did not have a container port %d defined.", container, port)
		}
	}
	return nil
}
