package ecs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// fill sets every member of an SDK struct, lists with one item.
func fill(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), name)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && !f.Anonymous {
				fill(v.Field(i), f.Name)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), name)
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, name)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), value)
	case reflect.String:
		v.SetString("of-" + name)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32:
		v.SetInt(7)
	case reflect.Interface: // a union: how a GPU is shared, which Fargate does not have
	default:
		panic(fmt.Sprintf("%s has the kind %s", name, v.Kind()))
	}
}

// requireKept requires that everything that was registered is described. What was not
// given may have a default.
func requireKept(t *testing.T, registered, described reflect.Value, path string) {
	t.Helper()
	switch registered.Kind() {
	case reflect.Pointer:
		if !registered.IsNil() {
			require.False(t, described.IsNil(), path)
			requireKept(t, registered.Elem(), described.Elem(), path)
		}
	case reflect.Struct:
		for i := range registered.NumField() {
			if f := registered.Type().Field(i); f.IsExported() && !f.Anonymous {
				requireKept(t, registered.Field(i), described.FieldByName(f.Name), path+"."+f.Name)
			}
		}
	case reflect.Slice:
		require.Equal(t, registered.Len(), described.Len(), path)
		for i := range registered.Len() {
			requireKept(t, registered.Index(i), described.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		if !registered.IsZero() {
			require.Equal(t, registered.Interface(), described.Interface(), path)
		}
	}
}

// requireRoundTrip registers a task definition and requires that all of it is described,
// and that registering the description again changes nothing.
func requireRoundTrip(t *testing.T, p *localawstest.Platform, in *ecs.RegisterTaskDefinitionInput) {
	t.Helper()
	register := func(in *ecs.RegisterTaskDefinitionInput) (ecstypes.TaskDefinition, []ecstypes.Tag) {
		made, err := p.ECS.RegisterTaskDefinition(t.Context(), in)
		require.NoError(t, err)
		out, err := p.ECS.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{
			TaskDefinition: made.TaskDefinition.TaskDefinitionArn, Include: []ecstypes.TaskDefinitionField{ecstypes.TaskDefinitionFieldTags},
		})
		require.NoError(t, err)
		return *out.TaskDefinition, out.Tags
	}
	first, tags := register(in)
	registered := *in
	require.ElementsMatch(t, in.Tags, tags)
	registered.Tags = nil
	given, described := reflect.ValueOf(registered), reflect.ValueOf(first)
	again := &ecs.RegisterTaskDefinitionInput{Tags: in.Tags}
	for i := range given.NumField() {
		f := given.Type().Field(i)
		if !f.IsExported() || f.Name == "Tags" {
			continue
		}
		requireKept(t, given.Field(i), described.FieldByName(f.Name), f.Name)
		reflect.ValueOf(again).Elem().FieldByName(f.Name).Set(described.FieldByName(f.Name))
	}
	second, _ := register(again)
	require.Equal(t, first.Revision+1, second.Revision)
	second.Revision, second.TaskDefinitionArn, second.RegisteredAt = first.Revision, first.TaskDefinitionArn, first.RegisteredAt
	require.Equal(t, first, second)
}

// TestEveryFieldIsKept registers a task definition with every field of the SDK's input.
func TestEveryFieldIsKept(t *testing.T) {
	t.Parallel()
	in := &ecs.RegisterTaskDefinitionInput{}
	fill(reflect.ValueOf(in).Elem(), "")
	container := &in.ContainerDefinitions[0]
	container.DependsOn = nil // of itself
	container.MountPoints[0].SourceVolume = in.Volumes[0].Name
	efs := in.Volumes[0].EfsVolumeConfiguration
	efs.RootDirectory, efs.TransitEncryption = aws.String("/"), ecstypes.EFSTransitEncryptionEnabled
	container.Secrets[0].Name = aws.String("OTHER")
	requireRoundTrip(t, localawstest.Start(t, localaws.Options{}), in)
}

// TestDocumentedTaskDefinitions registers examples of AWS's documentation.
func TestDocumentedTaskDefinitions(t *testing.T) {
	t.Parallel()
	p := localawstest.Start(t, localaws.Options{})
	files, err := filepath.Glob("testdata/taskdefinitions/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			raw, err := os.Open(file)
			require.NoError(t, err)
			defer raw.Close()
			in := &ecs.RegisterTaskDefinitionInput{}
			require.NoError(t, wire.DecodeJSON(raw, in))
			requireRoundTrip(t, p, in)
		})
	}
}
