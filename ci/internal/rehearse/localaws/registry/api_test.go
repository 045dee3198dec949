package registry_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"
)

var app = aws.String("team/app")

func TestRepositories(t *testing.T) {
	r := start(t, &ecr.CreateRepositoryInput{Tags: []ecrtypes.Tag{{Key: aws.String("a"), Value: aws.String("1")}}})
	ctx := t.Context()
	_, err := r.ECR.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: app})
	var exists *ecrtypes.RepositoryAlreadyExistsException
	require.ErrorAs(t, err, &exists)
	require.Equal(t, "The repository with name 'team/app' already exists in the registry with id '000000000000'", *exists.Message)
	_, err = r.ECR.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String("Upper")})
	var invalid *ecrtypes.InvalidParameterException
	require.ErrorAs(t, err, &invalid)

	out, err := r.ECR.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{})
	require.NoError(t, err)
	repo := out.Repositories[0]
	require.Equal(t, r.Server.Registry()+"/team/app", *repo.RepositoryUri)
	require.Equal(t, "arn:aws:ecr:us-east-1:000000000000:repository/team/app", *repo.RepositoryArn)
	require.Equal(t, ecrtypes.ImageTagMutabilityMutable, repo.ImageTagMutability)
	_, err = r.ECR.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"none"}})
	var unknown *ecrtypes.RepositoryNotFoundException
	require.ErrorAs(t, err, &unknown)

	_, err = r.ECR.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: repo.RepositoryArn, Tags: []ecrtypes.Tag{{Key: aws.String("b"), Value: aws.String("2")}}})
	require.NoError(t, err)
	_, err = r.ECR.UntagResource(ctx, &ecr.UntagResourceInput{ResourceArn: repo.RepositoryArn, TagKeys: []string{"a"}})
	require.NoError(t, err)
	tags, err := r.ECR.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: repo.RepositoryArn})
	require.NoError(t, err)
	require.Len(t, tags.Tags, 1)
	require.Equal(t, "2", *tags.Tags[0].Value)

	_, err = r.ECR.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: app})
	var none *ecrtypes.LifecyclePolicyNotFoundException
	require.ErrorAs(t, err, &none)
	_, err = r.ECR.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: app, LifecyclePolicyText: aws.String(`{"rules":[]}`)})
	require.NoError(t, err)
	policy, err := r.ECR.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: app})
	require.NoError(t, err)
	require.JSONEq(t, `{"rules":[]}`, *policy.LifecyclePolicyText)
	_, err = r.ECR.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{RepositoryName: app, ImageTagMutability: ecrtypes.ImageTagMutabilityImmutable})
	require.NoError(t, err)

	require.NoError(t, remote.Write(r.ref(":v1"), image(t, 1), r.options...))
	_, err = r.ECR.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: app})
	var full *ecrtypes.RepositoryNotEmptyException
	require.ErrorAs(t, err, &full)
	_, err = r.ECR.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: app, Force: true})
	require.NoError(t, err)
	_, err = r.ECR.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: app})
	require.ErrorAs(t, err, &unknown)
}

func TestImages(t *testing.T) {
	r := start(t, &ecr.CreateRepositoryInput{})
	ctx := t.Context()
	img := image(t, 2)
	digest, err := img.Digest()
	require.NoError(t, err)
	require.NoError(t, remote.Write(r.ref(":v1"), img, r.options...))
	require.NoError(t, remote.Write(r.ref(":v2"), img, r.options...))
	require.NoError(t, remote.Write(r.ref(":other"), image(t, 1), r.options...))

	details, err := r.ECR.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: app, ImageIds: []ecrtypes.ImageIdentifier{{ImageTag: aws.String("v1")}, {ImageTag: aws.String("v2")}}})
	require.NoError(t, err)
	require.Len(t, details.ImageDetails, 1, "one image, however it is named")
	require.Equal(t, []string{"v1", "v2"}, details.ImageDetails[0].ImageTags)
	require.Equal(t, digest.String(), *details.ImageDetails[0].ImageDigest)
	require.Greater(t, *details.ImageDetails[0].ImageSizeInBytes, int64(4000))
	_, err = r.ECR.DescribeImages(ctx, &ecr.DescribeImagesInput{RepositoryName: app, ImageIds: []ecrtypes.ImageIdentifier{{ImageTag: aws.String("none")}}})
	var missing *ecrtypes.ImageNotFoundException
	require.ErrorAs(t, err, &missing)
	require.Equal(t, "The image with imageId {imageDigest:'null', imageTag:'none'} does not exist within the repository with name 'team/app' in the registry with id '000000000000'", *missing.Message)

	got, err := r.ECR.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: app, ImageIds: []ecrtypes.ImageIdentifier{{ImageTag: aws.String("v1")}, {ImageTag: aws.String("none")}}})
	require.NoError(t, err)
	raw, err := img.RawManifest()
	require.NoError(t, err)
	require.Equal(t, string(raw), *got.Images[0].ImageManifest)
	require.Equal(t, ecrtypes.ImageFailureCodeImageNotFound, got.Failures[0].FailureCode)

	// A tag is added without a push, as in a promotion.
	put := &ecr.PutImageInput{RepositoryName: app, ImageTag: aws.String("prod"), ImageManifest: got.Images[0].ImageManifest, ImageManifestMediaType: got.Images[0].ImageManifestMediaType}
	out, err := r.ECR.PutImage(ctx, put)
	require.NoError(t, err)
	require.Equal(t, digest.String(), *out.Image.ImageId.ImageDigest)
	_, err = r.ECR.PutImage(ctx, put)
	var already *ecrtypes.ImageAlreadyExistsException
	require.ErrorAs(t, err, &already)
	_, err = r.ECR.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{RepositoryName: app, ImageTagMutability: ecrtypes.ImageTagMutabilityImmutable})
	require.NoError(t, err)
	put.ImageTag = aws.String("other")
	_, err = r.ECR.PutImage(ctx, put)
	var taken *ecrtypes.ImageTagAlreadyExistsException
	require.ErrorAs(t, err, &taken)
	put.ImageTag, put.ImageManifest = aws.String("new"), aws.String("{")
	_, err = r.ECR.PutImage(ctx, put)
	require.ErrorContains(t, err, "InvalidParameterException")

	deleted, err := r.ECR.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: app, ImageIds: []ecrtypes.ImageIdentifier{{ImageTag: aws.String("v1")}, {ImageTag: aws.String("none")}}})
	require.NoError(t, err)
	require.Len(t, deleted.ImageIds, 1)
	require.Len(t, deleted.Failures, 1)
	list, err := r.ECR.ListImages(ctx, &ecr.ListImagesInput{RepositoryName: app, Filter: &ecrtypes.ListImagesFilter{TagStatus: ecrtypes.TagStatusTagged}})
	require.NoError(t, err)
	require.Len(t, list.ImageIds, 3, "v2, prod and other")
	_, err = r.ECR.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{RepositoryName: app, ImageIds: []ecrtypes.ImageIdentifier{{ImageDigest: aws.String(digest.String())}}})
	require.NoError(t, err)
	list, err = r.ECR.ListImages(ctx, &ecr.ListImagesInput{RepositoryName: app})
	require.NoError(t, err)
	require.Len(t, list.ImageIds, 1)
}

func TestLayerUploadAPI(t *testing.T) {
	r := start(t, &ecr.CreateRepositoryInput{})
	ctx := t.Context()
	sum := sha256.Sum256([]byte("hello"))
	digest := "sha256:" + hex.EncodeToString(sum[:])
	begun, err := r.ECR.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: app})
	require.NoError(t, err)
	part, err := r.ECR.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{
		RepositoryName: app, UploadId: begun.UploadId, LayerPartBlob: []byte("hello"), PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(4),
	})
	require.NoError(t, err)
	require.Equal(t, int64(4), *part.LastByteReceived)
	done, err := r.ECR.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{RepositoryName: app, UploadId: begun.UploadId, LayerDigests: []string{digest}})
	require.NoError(t, err)
	require.Equal(t, digest, *done.LayerDigest)
	_, err = r.ECR.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{RepositoryName: app, UploadId: begun.UploadId, LayerDigests: []string{digest}})
	var unknown *ecrtypes.UploadNotFoundException
	require.ErrorAs(t, err, &unknown)
	_, err = r.ECR.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{RepositoryName: app, UploadId: begun.UploadId, LayerDigests: []string{"none"}})
	var invalid *ecrtypes.InvalidLayerException
	require.ErrorAs(t, err, &invalid)
	layers, err := r.ECR.BatchCheckLayerAvailability(ctx, &ecr.BatchCheckLayerAvailabilityInput{
		RepositoryName: app, LayerDigests: []string{digest, "sha256:" + hex.EncodeToString(make([]byte, 32)), "none"},
	})
	require.NoError(t, err)
	require.Equal(t, ecrtypes.LayerAvailabilityAvailable, layers.Layers[0].LayerAvailability)
	require.Equal(t, ecrtypes.LayerAvailabilityUnavailable, layers.Layers[1].LayerAvailability)
	require.Equal(t, ecrtypes.LayerFailureCodeInvalidLayerDigest, layers.Failures[0].FailureCode)
	for _, err := range []error{
		second(r.ECR.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: aws.String("none")})),
		second(r.ECR.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: aws.String("none"), ImageIds: []ecrtypes.ImageIdentifier{{}}})),
	} {
		var none *ecrtypes.RepositoryNotFoundException
		require.ErrorAs(t, err, &none)
	}
}

func second[T any](_ T, err error) error { return err }

func TestScanFindings(t *testing.T) {
	for name, tt := range map[string]struct {
		onPush bool
		want   any
	}{"a repository that scans": {true, nil}, "one that does not": {false, new(*ecrtypes.ScanNotFoundException)}} {
		t.Run(name, func(t *testing.T) {
			r := start(t, &ecr.CreateRepositoryInput{ImageScanningConfiguration: &ecrtypes.ImageScanningConfiguration{ScanOnPush: tt.onPush}})
			describe := func(id *ecrtypes.ImageIdentifier) (*ecr.DescribeImageScanFindingsOutput, error) {
				return r.ECR.DescribeImageScanFindings(t.Context(), &ecr.DescribeImageScanFindingsInput{RepositoryName: app, ImageId: id})
			}
			require.NoError(t, remote.Write(r.ref(":v1"), image(t, 1), r.options...))
			out, err := describe(&ecrtypes.ImageIdentifier{ImageTag: aws.String("v1")})
			if tt.want != nil {
				require.ErrorAs(t, err, tt.want)
			} else {
				require.NoError(t, err)
				require.Equal(t, ecrtypes.ScanStatusFailed, out.ImageScanStatus.Status)
				require.Contains(t, *out.ImageScanStatus.Description, "UnsupportedImageError")
			}
			_, err = describe(&ecrtypes.ImageIdentifier{ImageDigest: aws.String("sha256:00")})
			var gone *ecrtypes.ImageNotFoundException
			require.ErrorAs(t, err, &gone)
		})
	}
}
