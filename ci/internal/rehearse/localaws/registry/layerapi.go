package registry

import (
	"bytes"
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

func (s *Store) batchCheckLayerAvailability(ctx context.Context, in *ecr.BatchCheckLayerAvailabilityInput) (*ecr.BatchCheckLayerAvailabilityOutput, error) {
	out := &ecr.BatchCheckLayerAvailabilityOutput{Layers: []ecrtypes.Layer{}, Failures: []ecrtypes.LayerFailure{}}
	return out, s.withRepository(ctx, aws.ToString(in.RepositoryName), func(r *repository) error {
		for _, text := range in.LayerDigests {
			h, err := v1.NewHash(text)
			if err != nil {
				out.Failures = append(out.Failures, ecrtypes.LayerFailure{
					LayerDigest: &text, FailureCode: ecrtypes.LayerFailureCodeInvalidLayerDigest, FailureReason: new("Invalid layer digest"),
				})
				continue
			}
			layer := ecrtypes.Layer{LayerDigest: &text, LayerAvailability: ecrtypes.LayerAvailabilityUnavailable}
			if size, ok := r.blobs[h]; ok {
				layer.LayerAvailability, layer.LayerSize = ecrtypes.LayerAvailabilityAvailable, &size
			}
			out.Layers = append(out.Layers, layer)
		}
		return nil
	})
}

// partSize is the part size that ECR requests.
const partSize = 10 << 20

func (s *Store) initiateLayerUpload(ctx context.Context, in *ecr.InitiateLayerUploadInput) (*ecr.InitiateLayerUploadOutput, error) {
	name := aws.ToString(in.RepositoryName)
	wire.AddResources(ctx, s.arn(name))
	id, err := s.startUpload(name)
	if err != nil {
		return nil, s.awsError(err, name, "")
	}
	return &ecr.InitiateLayerUploadOutput{UploadId: &id, PartSize: new(int64(partSize))}, nil
}

func (s *Store) uploadLayerPart(ctx context.Context, in *ecr.UploadLayerPartInput) (*ecr.UploadLayerPartOutput, error) {
	name := aws.ToString(in.RepositoryName)
	wire.AddResources(ctx, s.arn(name))
	size, err := s.appendUpload(name, aws.ToString(in.UploadId), bytes.NewReader(in.LayerPartBlob))
	if err != nil {
		return nil, s.awsError(err, name, "")
	}
	return &ecr.UploadLayerPartOutput{
		RegistryId: &s.scope.Account, RepositoryName: &name, UploadId: in.UploadId, LastByteReceived: new(size - 1),
	}, nil
}

func (s *Store) completeLayerUpload(ctx context.Context, in *ecr.CompleteLayerUploadInput) (*ecr.CompleteLayerUploadOutput, error) {
	name := aws.ToString(in.RepositoryName)
	wire.AddResources(ctx, s.arn(name))
	if len(in.LayerDigests) == 0 {
		return nil, wire.Errorf("InvalidParameterException", "layerDigests must not be empty")
	}
	h, err := v1.NewHash(in.LayerDigests[0])
	if err == nil {
		err = s.finishUpload(name, aws.ToString(in.UploadId), h)
	} else {
		err = ErrDigestMismatch
	}
	if err != nil {
		return nil, s.awsError(err, name, "")
	}
	return &ecr.CompleteLayerUploadOutput{
		RegistryId: &s.scope.Account, RepositoryName: &name, UploadId: in.UploadId, LayerDigest: &in.LayerDigests[0],
	}, nil
}
