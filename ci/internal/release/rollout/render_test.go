package rollout

import (
	"reflect"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// fill sets every exported field of v to a non-zero value.
func fill(v reflect.Value, depth int) {
	if depth > 6 {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), depth+1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth+1)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, depth+1)
		v.SetMapIndex(reflect.ValueOf("key").Convert(v.Type().Key()), value)
	case reflect.String:
		v.SetString("x")
	case reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Bool:
		v.SetBool(true)
	}
}

func TestRenderCarriesEveryFieldOver(t *testing.T) {
	var template types.TaskDefinition
	fill(reflect.ValueOf(&template).Elem(), 0)
	template.ContainerDefinitions[0].Name = aws.String("api")
	template.ContainerDefinitions[0].Environment = []types.KeyValuePair{
		{Name: aws.String("A"), Value: aws.String("1")}, {Name: aws.String(VersionVariable), Value: aws.String("old")},
	}

	got, err := render(template, "api", "repo@sha256:new", "v2")
	require.NoError(t, err)
	value := reflect.ValueOf(*got)
	for i := range value.NumField() {
		field := value.Type().Field(i)
		if !field.IsExported() || field.Name == "Tags" || field.Name == "ContainerDefinitions" {
			continue
		}
		require.Equal(t, reflect.ValueOf(template).FieldByName(field.Name).Interface(), value.Field(i).Interface(), "field %s is dropped", field.Name)
	}
	want := template.ContainerDefinitions[0]
	want.Image = aws.String("repo@sha256:new")
	want.Environment = []types.KeyValuePair{want.Environment[0], {Name: aws.String(VersionVariable), Value: aws.String("v2")}}
	require.Equal(t, []types.ContainerDefinition{want}, got.ContainerDefinitions)
	require.Equal(t, "x", *template.ContainerDefinitions[0].Image, "the template stays as it is")
	require.Equal(t, "old", *template.ContainerDefinitions[0].Environment[1].Value)
}

func TestRenderSetsDeclaredVariablesOnly(t *testing.T) {
	template := types.TaskDefinition{ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("api")}, {Name: aws.String("log"), Image: aws.String("l")}}}
	got, err := render(template, "api", "i", "v2")
	require.NoError(t, err)
	require.Empty(t, got.ContainerDefinitions[0].Environment)
	require.Equal(t, "l", *got.ContainerDefinitions[1].Image)
}

func TestRenderWithoutTheContainer(t *testing.T) {
	template := types.TaskDefinition{
		TaskDefinitionArn:    aws.String("arn:td:1"),
		ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("main")}, {Name: aws.String("log")}},
	}
	_, err := render(template, "api", "i", "v")
	require.EqualError(t, err, `task definition arn:td:1 has no container "api": it has "main", "log": set container in the services file to its name`)
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

func TestSame(t *testing.T) {
	base := func(change func(*ecs.RegisterTaskDefinitionInput)) *ecs.RegisterTaskDefinitionInput {
		input := &ecs.RegisterTaskDefinitionInput{
			NetworkMode: types.NetworkModeAwsvpc,
			ContainerDefinitions: []types.ContainerDefinition{{
				Name: aws.String("api"), Essential: aws.Bool(true),
				Environment:  []types.KeyValuePair{{Name: aws.String("A")}, {Name: aws.String("B")}},
				Secrets:      []types.Secret{{Name: aws.String("S")}, {Name: aws.String("T")}},
				PortMappings: []types.PortMapping{{ContainerPort: aws.Int32(80)}, {ContainerPort: aws.Int32(90)}},
				MountPoints:  []types.MountPoint{{ContainerPath: aws.String("/a")}, {ContainerPath: aws.String("/b")}},
			}, {Name: aws.String("log"), Essential: aws.Bool(true)}},
			Volumes: []types.Volume{{Name: aws.String("v")}, {Name: aws.String("w")}},
		}
		change(input)
		return input
	}
	tests := map[string]struct {
		change func(*ecs.RegisterTaskDefinitionInput)
		want   bool
	}{
		"nothing": {func(*ecs.RegisterTaskDefinitionInput) {}, true},
		"orders": {func(i *ecs.RegisterTaskDefinitionInput) {
			c := &i.ContainerDefinitions[0]
			c.Environment[0], c.Environment[1] = c.Environment[1], c.Environment[0]
			c.Secrets[0], c.Secrets[1] = c.Secrets[1], c.Secrets[0]
			c.PortMappings[0], c.PortMappings[1] = c.PortMappings[1], c.PortMappings[0]
			c.MountPoints[0], c.MountPoints[1] = c.MountPoints[1], c.MountPoints[0]
			i.Volumes[0], i.Volumes[1] = i.Volumes[1], i.Volumes[0]
			i.ContainerDefinitions[0], i.ContainerDefinitions[1] = i.ContainerDefinitions[1], i.ContainerDefinitions[0]
		}, true},
		"what ECS fills in": {func(i *ecs.RegisterTaskDefinitionInput) {
			i.ContainerDefinitions[0].PortMappings[0].HostPort = aws.Int32(80)
			i.ContainerDefinitions[0].PortMappings[0].Protocol = types.TransportProtocolTcp
			i.ContainerDefinitions[1].Essential = nil
			i.ContainerDefinitions[1].Environment = []types.KeyValuePair{}
		}, true},
		"tags": {func(i *ecs.RegisterTaskDefinitionInput) { i.Tags = []types.Tag{{Key: aws.String("k")}} }, true},
		"a variable": {func(i *ecs.RegisterTaskDefinitionInput) {
			i.ContainerDefinitions[0].Environment[0].Value = aws.String("1")
		}, false},
		"cpu":      {func(i *ecs.RegisterTaskDefinitionInput) { i.Cpu = aws.String("512") }, false},
		"an image": {func(i *ecs.RegisterTaskDefinitionInput) { i.ContainerDefinitions[1].Image = aws.String("other") }, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, same(base(func(*ecs.RegisterTaskDefinitionInput) {}), base(tt.change)))
		})
	}
}
