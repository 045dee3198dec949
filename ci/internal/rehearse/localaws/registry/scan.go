package registry

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// describeImageScanFindings responds as ECR does for images that its basic scan does not
// support: the embedded ECR has no database of vulnerabilities, and must not report that
// an image has none.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-troubleshooting.html
func (s *Store) describeImageScanFindings(ctx context.Context, in *ecr.DescribeImageScanFindingsInput) (*ecr.DescribeImageScanFindingsOutput, error) {
	name := aws.ToString(in.RepositoryName)
	out := &ecr.DescribeImageScanFindingsOutput{RegistryId: &s.scope.Account, RepositoryName: in.RepositoryName, ImageId: in.ImageId}
	return out, s.withRepository(ctx, name, func(r *repository) error {
		if in.ImageId == nil {
			return wire.Errorf("InvalidParameterException", "Invalid parameter at 'imageId' failed to satisfy constraint: 'must not be null'")
		}
		reference := aws.ToString(in.ImageId.ImageDigest)
		if reference == "" {
			reference = aws.ToString(in.ImageId.ImageTag)
		}
		m, err := r.find(reference)
		if err != nil {
			return s.imageNotFound(name, *in.ImageId)
		}
		if !r.scanOnPush {
			return wire.Errorf("ScanNotFoundException", "Image scan does not exist for the image with '{imageDigest:'%s'}' in the repository with name '%s' in the registry with id '%s'",
				m.Digest, name, s.scope.Account)
		}
		out.ImageScanStatus = &ecrtypes.ImageScanStatus{
			Status:      ecrtypes.ScanStatusFailed,
			Description: aws.String("UnsupportedImageError: The operating system and/or package manager are not supported."),
		}
		return nil
	})
}
