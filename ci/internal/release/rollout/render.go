package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// render returns the input to register a new revision: the template with the
// container's image and, if the container declares it, its VERSION. It does not change
// the template.
func render(template types.TaskDefinition, container, image, version string) (*ecs.RegisterTaskDefinitionInput, error) {
	input := registerInput(template)
	n := slices.IndexFunc(input.ContainerDefinitions, func(c types.ContainerDefinition) bool { return aws.ToString(c.Name) == container })
	if n < 0 {
		return nil, outcome.Usagef("task definition %s has no container %q: it has %s: set container in the services file to its name",
			aws.ToString(template.TaskDefinitionArn), container, strings.Join(containerNames(template), ", "))
	}
	input.ContainerDefinitions = slices.Clone(input.ContainerDefinitions)
	chosen := &input.ContainerDefinitions[n]
	chosen.Image = aws.String(image)
	chosen.Environment = slices.Clone(chosen.Environment)
	for i, variable := range chosen.Environment {
		if aws.ToString(variable.Name) == VersionVariable {
			chosen.Environment[i].Value = aws.String(version)
		}
	}
	return input, nil
}

// setImages sets the images of sidecars in a rendered definition. It returns the names of
// those that are not in it.
func setImages(input *ecs.RegisterTaskDefinitionInput, images map[string]string) (absent []string) {
	for _, name := range slices.Sorted(maps.Keys(images)) {
		n := slices.IndexFunc(input.ContainerDefinitions, func(c types.ContainerDefinition) bool { return aws.ToString(c.Name) == name })
		if n < 0 {
			absent = append(absent, name)
			continue
		}
		input.ContainerDefinitions[n].Image = aws.String(images[name])
	}
	return absent
}

// runsImages reports whether a revision runs the images of the target.
func (t Target) runsImages(definition types.TaskDefinition) bool {
	for name, image := range t.Sidecars {
		if running := imageOf(definition, name); running != "" && running != image {
			return false
		}
	}
	return imageOf(definition, t.Service.ContainerName()) == t.Image
}

// registerInput copies a task definition into the input to register it.
func registerInput(template types.TaskDefinition) *ecs.RegisterTaskDefinitionInput {
	input := &ecs.RegisterTaskDefinitionInput{}
	from, to := reflect.ValueOf(&template).Elem(), reflect.ValueOf(input).Elem()
	for _, field := range registerFields {
		to.Field(field.to).Set(from.Field(field.from))
	}
	return input
}

// registerFields are the fields that a task definition and the input to register it have in
// common. Reflection finds those of later API versions, too.
var registerFields = func() (fields []struct{ from, to int }) {
	from, to := reflect.TypeFor[types.TaskDefinition](), reflect.TypeFor[ecs.RegisterTaskDefinitionInput]()
	for i := range to.NumField() {
		field := to.Field(i)
		if source, ok := from.FieldByName(field.Name); ok && field.IsExported() && source.Type == field.Type {
			fields = append(fields, struct{ from, to int }{source.Index[0], i})
		}
	}
	return fields
}()

func containerNames(definition types.TaskDefinition) []string {
	var names []string
	for _, c := range definition.ContainerDefinitions {
		names = append(names, fmt.Sprintf("%q", aws.ToString(c.Name)))
	}
	return names
}

// imageOf returns the image of a container, or "".
func imageOf(definition types.TaskDefinition, container string) string {
	return aws.ToString(Containers{Definitions: definition.ContainerDefinitions}.definition(container).Image)
}

// same reports whether two definitions are equal for ECS: unordered lists are compared
// as sets, and ECS's defaults are filled in.
func same(a, b *ecs.RegisterTaskDefinitionInput) bool {
	return reflect.DeepEqual(normalize(a), normalize(b))
}

func normalize(input *ecs.RegisterTaskDefinitionInput) *ecs.RegisterTaskDefinitionInput {
	n := *input
	n.Tags = nil
	n.Volumes = sorted(n.Volumes, func(v types.Volume) string { return aws.ToString(v.Name) })
	n.RequiresCompatibilities = sorted(n.RequiresCompatibilities, func(c types.Compatibility) string { return string(c) })
	n.PlacementConstraints = sorted(n.PlacementConstraints, func(p types.TaskDefinitionPlacementConstraint) string { return aws.ToString(p.Expression) })
	n.ContainerDefinitions = sorted(n.ContainerDefinitions, func(c types.ContainerDefinition) string { return aws.ToString(c.Name) })
	for i, c := range n.ContainerDefinitions {
		n.ContainerDefinitions[i] = normalizeContainer(c, n.NetworkMode)
	}
	return &n
}

func normalizeContainer(c types.ContainerDefinition, mode types.NetworkMode) types.ContainerDefinition {
	if c.Essential == nil {
		c.Essential = aws.Bool(true) // the API's default for the only container; Terraform leaves it out
	}
	c.Environment = sorted(c.Environment, func(v types.KeyValuePair) string { return aws.ToString(v.Name) })
	c.Secrets = sorted(c.Secrets, func(s types.Secret) string { return aws.ToString(s.Name) })
	c.MountPoints = sorted(c.MountPoints, func(m types.MountPoint) string { return aws.ToString(m.ContainerPath) })
	c.VolumesFrom = sorted(c.VolumesFrom, func(v types.VolumeFrom) string { return aws.ToString(v.SourceContainer) })
	c.PortMappings = sorted(c.PortMappings, func(p types.PortMapping) string {
		return fmt.Sprintf("%05d/%s", aws.ToInt32(p.ContainerPort), p.Protocol)
	})
	for i := range c.PortMappings {
		port := &c.PortMappings[i]
		port.Protocol = cmp.Or(port.Protocol, types.TransportProtocolTcp)
		if mode == types.NetworkModeAwsvpc {
			port.HostPort = port.ContainerPort // the API fills it in for awsvpc
		}
	}
	return c
}

// sorted returns a sorted copy, nil for an empty list.
func sorted[T any](list []T, key func(T) string) []T {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	return list
}
