package adopt

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
)

// setEnvironment sets the environment variables, but no value that looks like a secret, and
// none that the pipeline sets.
func (f *file) setEnvironment(to *platform.Container, service types.Service, c types.ContainerDefinition, port int, main bool) {
	container := aws.ToString(c.Name)
	for _, variable := range c.Environment {
		name, value := aws.ToString(variable.Name), aws.ToString(variable.Value)
		_, found := leak.Find([]byte(value))
		switch {
		case main && name == "VERSION":
		case main && name == "PORT":
			if value != strconv.Itoa(port) {
				f.note(service, "PORT of container %s is not in the entry, because the pipeline sets it; a release keeps it", container)
			}
		case !platform.IsVariableName(name):
			f.note(service, "environment variable %q of container %s is not in the entry, because its name is not letters, digits and underscores; a release keeps it", name, container)
		case found || leak.RedactValue(name, value) != value:
			f.note(service, "environment variable %s of container %s looks like a secret, so its value is not written: store it in Secrets Manager and name it in secrets", name, container)
		default:
			to.Environment = put(to.Environment, name, value)
		}
	}
}

// commandWithoutSecrets returns a command, or nil if one of its words looks like a secret.
func (f *file) commandWithoutSecrets(service types.Service, container, what string, words []string) []string {
	if !slices.Equal(leak.RedactArgs(words), words) {
		f.note(service, "the %s of container %s has an argument that looks like a secret, so it is not written: pass it in secrets", what, container)
		return nil
	}
	return words
}

// Fields of a container and of a task definition that an entry has, or that a note is about,
// or that ECS sets.
var (
	containerFields = []string{
		"Name", "Image", "Essential", "Command", "Environment", "Secrets", "User", "ReadonlyRootFilesystem", "StopTimeout", "HealthCheck",
		"DependsOn", "PortMappings", "MountPoints", "Cpu", "Memory", "LogConfiguration", "LinuxParameters",
	}
	definitionFields = []string{
		"TaskDefinitionArn", "Family", "ContainerDefinitions", "Cpu", "Memory", "NetworkMode", "RequiresCompatibilities", "Compatibilities",
		"RuntimePlatform", "EphemeralStorage", "Volumes", "ExecutionRoleArn", "TaskRoleArn", "Revision", "Status", "RequiresAttributes",
		"RegisteredAt", "RegisteredBy", "DeregisteredAt",
	}
)

// noteDefinition adds notes about the fields of a task definition that an entry does not
// have. A release keeps them, because it copies the newest revision.
func (f *file) noteDefinition(service types.Service, definition types.TaskDefinition, main types.ContainerDefinition) {
	const kept = "; a release keeps it, because it copies the newest revision"
	if unknown := unknownFields(definition, definitionFields); len(unknown) > 0 {
		f.note(service, "not in the entry: %s"+kept, strings.Join(unknown, ", "))
	}
	if definition.TaskRoleArn != nil {
		f.note(service, "permissions of task role %s are not read; a release keeps the role", aws.ToString(definition.TaskRoleArn))
	}
	for _, c := range definition.ContainerDefinitions {
		unknown := unknownFields(c, containerFields)
		if log := c.LogConfiguration; log != nil && (log.LogDriver != types.LogDriverAwslogs || len(log.SecretOptions) > 0) {
			unknown = append(unknown, "logConfiguration of "+string(log.LogDriver))
		}
		if linux := c.LinuxParameters; linux != nil && len(unknownFields(*linux, []string{"Tmpfs"})) > 0 {
			unknown = append(unknown, "linuxParameters")
		}
		if len(c.PortMappings) > 1 || len(c.PortMappings) == 1 && aws.ToString(c.Name) == aws.ToString(main.Name) && len(service.LoadBalancers) == 0 {
			unknown = append(unknown, "portMappings")
		}
		if len(unknown) > 0 {
			slices.Sort(unknown)
			f.note(service, "not in the entry: %s of container %s"+kept, strings.Join(unknown, ", "), aws.ToString(c.Name))
		}
	}
}

// unknownFields returns the names of the fields of a struct that are set and not known.
func unknownFields(of any, known []string) []string {
	var names []string
	v := reflect.ValueOf(of)
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		value := v.Field(i)
		if value.Kind() == reflect.Pointer && !value.IsNil() && value.Elem().Kind() != reflect.Struct {
			value = value.Elem()
		}
		empty := value.IsZero() || value.Kind() == reflect.Slice && value.Len() == 0
		if v.Type().Field(i).IsExported() && !empty && !slices.Contains(known, name) {
			names = append(names, strings.ToLower(name[:1])+name[1:])
		}
	}
	return names
}
