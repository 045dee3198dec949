package ecs

import (
	"cmp"
	"path"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/task"
)

// mount returns how a container mounts a volume of the task definition. An EFS file
// system keeps its files for as long as the embedded AWS runs; other volumes belong to
// the task.
func (t *taskRun) mount(m types.MountPoint) task.Mount {
	out := task.Mount{Volume: aws.ToString(m.SourceVolume), Path: aws.ToString(m.ContainerPath), ReadOnly: aws.ToBool(m.ReadOnly)}
	i := slices.IndexFunc(t.definition.Volumes, func(v types.Volume) bool { return aws.ToString(v.Name) == out.Volume })
	if i >= 0 && t.definition.Volumes[i].EfsVolumeConfiguration != nil {
		out.Shared = sharedFolder(t.definition.Volumes[i].EfsVolumeConfiguration)
	}
	return out
}

// sharedFolder returns the folder of an EFS volume: one for each access point, and the
// root directory for a file system without.
func sharedFolder(v *types.EFSVolumeConfiguration) string {
	system, auth := path.Base(path.Clean("/"+aws.ToString(v.FileSystemId))), cmp.Or(v.AuthorizationConfig, &types.EFSAuthorizationConfig{})
	if point := aws.ToString(auth.AccessPointId); point != "" {
		return path.Join(system, "access-points", path.Base(path.Clean("/"+point)))
	}
	return path.Join(system, "root", path.Clean("/"+aws.ToString(v.RootDirectory)))
}

// validateFiles reports environment files, which Fargate gets from S3: the embedded AWS
// has no S3.
func (t *taskRun) validateFiles() error {
	for _, p := range t.containers {
		for _, f := range p.definition.EnvironmentFiles {
			return initializationError("failed to download env files: file download command: non empty error stream: "+
				"service call has been retried 1 time(s): failed to download %s: the embedded AWS has no S3", aws.ToString(f.Value))
		}
	}
	return nil
}
