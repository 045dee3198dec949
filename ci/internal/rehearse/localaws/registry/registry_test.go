package registry_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is an embedded AWS with one repository.
type fixture struct {
	*localawstest.Platform
	options []remote.Option
}

func start(t *testing.T, in *ecr.CreateRepositoryInput) *fixture {
	t.Helper()
	r := &fixture{Platform: localawstest.Start(t, localaws.Options{})}
	if in.RepositoryName == nil {
		in.RepositoryName = aws.String("team/app")
	}
	out, err := r.ECR.CreateRepository(t.Context(), in)
	require.NoError(t, err)
	r.Repo = *out.Repository.RepositoryUri
	r.options = r.RemoteOptions()
	return r
}

func (r *fixture) ref(reference string) name.Reference {
	r.Helper()
	ref, err := name.ParseReference(r.Repo + reference)
	r.RequireNoError(err)
	return ref
}

func image(t *testing.T, layers int64) v1.Image {
	t.Helper()
	img, err := random.Image(2000, layers)
	require.NoError(t, err)
	return img
}

// errorCode returns the registry's error code of a failed call.
func errorCode(t *testing.T, err error) string {
	t.Helper()
	var answered *transport.Error
	require.ErrorAs(t, err, &answered)
	require.NotEmpty(t, answered.Errors, "%v", err)
	return string(answered.Errors[0].Code)
}

func TestImagesArePushedAndPulled(t *testing.T) {
	r := start(t, &ecr.CreateRepositoryInput{})
	img := image(t, 3)
	require.NoError(t, remote.Write(r.ref(":v1"), img, r.options...))
	back, err := remote.Image(r.ref(":v1"), r.options...)
	require.NoError(t, err)
	require.NoError(t, validate.Image(back), "digests, sizes and contents agree")
	want, err := img.Digest()
	require.NoError(t, err)
	got, err := back.Digest()
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NoError(t, remote.Write(r.ref(":v2"), img, r.options...))
	tags, err := remote.List(r.ref(":v1").Context(), r.options...)
	require.NoError(t, err)
	require.Equal(t, []string{"v1", "v2"}, tags)
	pages, err := remote.List(r.ref(":v1").Context(), append(r.options, remote.WithPageSize(1))...)
	require.NoError(t, err)
	require.Equal(t, []string{"v1", "v2"}, pages)
}

func TestIndexesAndReferrers(t *testing.T) {
	r := start(t, &ecr.CreateRepositoryInput{})
	layer, err := testapp.Layer(testapp.File{Name: "file", Body: []byte("content"), Mode: 0o644})
	require.NoError(t, err)
	child, err := testapp.Image(v1.Config{}, layer)
	require.NoError(t, err)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: child})
	require.NoError(t, remote.WriteIndex(r.ref(":multi"), index, r.options...))
	back, err := remote.Index(r.ref(":multi"), r.options...)
	require.NoError(t, err)
	digest, err := index.Digest()
	require.NoError(t, err)
	pulled, err := back.Digest()
	require.NoError(t, err)
	require.Equal(t, digest, pulled)
	size, err := index.Size()
	require.NoError(t, err)
	mediaType, err := index.MediaType()
	require.NoError(t, err)
	sbom := mutate.ConfigMediaType(mutate.MediaType(image(t, 1), "application/vnd.oci.image.manifest.v1+json"), "application/spdx+json")
	sbom = mutate.Subject(sbom, v1.Descriptor{MediaType: mediaType, Size: size, Digest: digest}).(v1.Image)
	sbomDigest, err := sbom.Digest()
	require.NoError(t, err)
	require.NoError(t, remote.Write(r.ref("@"+sbomDigest.String()), sbom, r.options...))
	for kind, want := range map[string]int{"application/spdx+json": 1, "application/other": 0} {
		found, err := remote.Referrers(r.ref("@"+digest.String()).(name.Digest), append(r.options, remote.WithFilter("artifactType", kind))...)
		require.NoError(t, err)
		manifest, err := found.IndexManifest()
		require.NoError(t, err)
		require.Len(t, manifest.Manifests, want)
	}
	details, err := r.ECR.DescribeImages(t.Context(), &ecr.DescribeImagesInput{RepositoryName: aws.String("team/app"), ImageIds: []ecrtypes.ImageIdentifier{{ImageDigest: aws.String(sbomDigest.String())}}})
	require.NoError(t, err)
	require.Equal(t, digest.String(), *details.ImageDetails[0].SubjectManifestDigest)
	require.Equal(t, "application/spdx+json", *details.ImageDetails[0].ArtifactMediaType)

	orphan := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image(t, 1)})
	raw, err := orphan.RawManifest()
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, r.send(http.MethodPut, "/v2/team/app/manifests/orphan", string(raw), nil).StatusCode)
}

func TestInvalidPushes(t *testing.T) {
	t.Run("unknown repository", func(t *testing.T) {
		r := start(t, &ecr.CreateRepositoryInput{})
		ref, err := name.ParseReference(r.Server.Registry() + "/none:v1")
		require.NoError(t, err)
		err = remote.Write(ref, image(t, 1), r.options...)
		require.Equal(t, "NAME_UNKNOWN", errorCode(t, err))
		require.ErrorContains(t, err, "The repository with name 'none' does not exist in the registry with id '000000000000'")
	})
	t.Run("not logged in", func(t *testing.T) {
		r := start(t, &ecr.CreateRepositoryInput{})
		for _, auth := range []authn.Authenticator{authn.Anonymous, &authn.Basic{Username: "AWS", Password: "guess"}, &authn.Basic{Username: "me", Password: "guess"}} {
			err := remote.Write(r.ref(":v1"), image(t, 1), remote.WithAuth(auth), remote.WithTransport(&http.Transport{DisableKeepAlives: true}))
			var answered *transport.Error
			require.ErrorAs(t, err, &answered)
			require.Equal(t, http.StatusUnauthorized, answered.StatusCode)
		}
	})
	immutable := map[string]struct {
		in      *ecr.CreateRepositoryInput
		movable map[string]bool
	}{
		"immutable": {&ecr.CreateRepositoryInput{ImageTagMutability: ecrtypes.ImageTagMutabilityImmutable}, map[string]bool{"v1": false, "latest": false}},
		"immutable except latest": {&ecr.CreateRepositoryInput{
			ImageTagMutability:                 ecrtypes.ImageTagMutabilityImmutableWithExclusion,
			ImageTagMutabilityExclusionFilters: []ecrtypes.ImageTagMutabilityExclusionFilter{{Filter: aws.String("late*"), FilterType: ecrtypes.ImageTagMutabilityExclusionFilterTypeWildcard}},
		}, map[string]bool{"v1": false, "latest": true}},
		"mutable except releases": {&ecr.CreateRepositoryInput{
			ImageTagMutability:                 ecrtypes.ImageTagMutabilityMutableWithExclusion,
			ImageTagMutabilityExclusionFilters: []ecrtypes.ImageTagMutabilityExclusionFilter{{Filter: aws.String("v*"), FilterType: ecrtypes.ImageTagMutabilityExclusionFilterTypeWildcard}},
		}, map[string]bool{"v1": false, "latest": true}},
		"mutable": {&ecr.CreateRepositoryInput{}, map[string]bool{"v1": true, "latest": true}},
	}
	for label, test := range immutable {
		t.Run(label, func(t *testing.T) {
			r := start(t, test.in)
			for tag, movable := range test.movable {
				first := image(t, 1)
				require.NoError(t, remote.Write(r.ref(":"+tag), first, r.options...))
				for _, again := range []v1.Image{image(t, 1), first} {
					raw, err := again.RawManifest()
					require.NoError(t, err)
					digest, err := again.Digest()
					require.NoError(t, err)
					require.NoError(t, remote.Write(r.ref("@"+digest.String()), again, r.options...), "by digest it may come")
					resp := r.send(http.MethodPut, "/v2/team/app/manifests/"+tag, string(raw), nil)
					if movable {
						require.Equal(t, http.StatusCreated, resp.StatusCode)
						continue
					}
					require.Equal(t, http.StatusBadRequest, resp.StatusCode)
					require.Contains(t, r.body(resp), "The image tag '"+tag+"' already exists in the 'team/app' repository and cannot be overwritten because the tag is immutable.")
				}
			}
		})
	}
}

// send sends a request of the registry's protocol.
func (r *fixture) send(method, path, body string, header map[string]string) *http.Response {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.Server.Endpoint()+path, strings.NewReader(body))
	r.RequireNoError(err)
	req.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	for key, value := range header {
		req.Header.Set(key, value)
	}
	auth, err := authn.Authorization(r.Context(), r.Auth())
	r.RequireNoError(err)
	req.SetBasicAuth(auth.Username, auth.Password)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	r.RequireNoError(err)
	r.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (r *fixture) body(resp *http.Response) string {
	r.Helper()
	raw, err := io.ReadAll(resp.Body)
	r.RequireNoError(err)
	return string(raw)
}

func TestBlobs(t *testing.T) {
	const hello, sum = "hello", "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	r := start(t, &ecr.CreateRepositoryInput{})
	begin := func() string {
		resp := r.send(http.MethodPost, "/v2/team/app/blobs/uploads/", "", nil)
		require.Equal(t, http.StatusAccepted, resp.StatusCode)
		return resp.Header.Get("Location")
	}
	at := begin()
	require.Equal(t, http.StatusAccepted, r.send(http.MethodPatch, at, "hel", nil).StatusCode)
	part := r.send(http.MethodPatch, at, "lo", nil)
	require.Equal(t, "0-4", part.Header.Get("Range"))
	require.Equal(t, http.StatusNotFound, r.send(http.MethodPatch, strings.Replace(at, "team/app", "other", 1), "x", nil).StatusCode)
	require.Equal(t, http.StatusCreated, r.send(http.MethodPut, at+"?digest="+sum, "", nil).StatusCode)
	blob := r.send(http.MethodGet, "/v2/team/app/blobs/"+sum, "", map[string]string{"Range": "bytes=1-3"})
	require.Equal(t, http.StatusPartialContent, blob.StatusCode)
	require.Equal(t, "ell", r.body(blob))

	wrong := r.send(http.MethodPost, "/v2/team/app/blobs/uploads/?digest="+sum, "other", nil)
	require.Equal(t, http.StatusBadRequest, wrong.StatusCode)
	require.Contains(t, r.body(wrong), "DIGEST_INVALID")
	require.Equal(t, http.StatusCreated, r.send(http.MethodPost, "/v2/team/app/blobs/uploads/?digest="+sum, hello, nil).StatusCode)

	at = begin()
	require.Equal(t, http.StatusNoContent, r.send(http.MethodDelete, at, "", nil).StatusCode)
	require.Equal(t, http.StatusNotFound, r.send(http.MethodDelete, at, "", nil).StatusCode)
	begin() // left open: closing the server removes it

	_, err := r.ECR.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("second")})
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, r.send(http.MethodHead, "/v2/second/blobs/"+sum, "", nil).StatusCode)
	require.Equal(t, http.StatusAccepted, r.send(http.MethodPost, "/v2/second/blobs/uploads/?mount="+sum+"&from=none", "", nil).StatusCode)
	require.Equal(t, http.StatusCreated, r.send(http.MethodPost, "/v2/second/blobs/uploads/?mount="+sum+"&from=team/app", "", nil).StatusCode)
	require.Equal(t, http.StatusOK, r.send(http.MethodHead, "/v2/second/blobs/"+sum, "", nil).StatusCode)
}

func TestUploadStatus(t *testing.T) {
	r := start(t, &ecr.CreateRepositoryInput{})
	at := r.send(http.MethodPost, "/v2/team/app/blobs/uploads/", "", nil).Header.Get("Location")
	require.Equal(t, http.StatusAccepted, r.send(http.MethodPatch, at, "hel", nil).StatusCode)
	status := r.send(http.MethodGet, at, "", nil)
	require.Equal(t, http.StatusNoContent, status.StatusCode)
	require.Equal(t, "0-2", status.Header.Get("Range"))
	require.Equal(t, at, status.Header.Get("Location"))

	gap := r.send(http.MethodPatch, at, "lo", map[string]string{"Content-Range": "4-5"})
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, gap.StatusCode)
	require.Contains(t, r.body(gap), "RANGE_INVALID")
	last := r.send(http.MethodPut, at+"?digest=sha256:"+strings.Repeat("0", 64), "lo", map[string]string{"Content-Range": "4-5"})
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, last.StatusCode, "nor is the last part taken out of order")
	require.Equal(t, http.StatusAccepted, r.send(http.MethodPatch, at, "lo", map[string]string{"Content-Range": "3-4"}).StatusCode)
	require.Equal(t, "0-4", r.send(http.MethodGet, at, "", nil).Header.Get("Range"))
	require.Equal(t, http.StatusNotFound, r.send(http.MethodPatch, at+"x", "", map[string]string{"Content-Range": "0-0"}).StatusCode)
}

func TestInvalidRequests(t *testing.T) {
	r := start(t, &ecr.CreateRepositoryInput{})
	digest := "sha256:" + strings.Repeat("0", 64)
	tests := []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"GET", "/v2/", "", 200, ""},
		{"GET", "/v2/_catalog", "", 404, "UNSUPPORTED"},
		{"GET", "/v2/team/app/manifests/none", "", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/team/app/manifests/" + digest, "", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/none/tags/list", "", 404, "NAME_UNKNOWN"},
		{"GET", "/v2/none/referrers/" + digest, "", 404, "NAME_UNKNOWN"},
		{"GET", "/v2/team/app/referrers/none", "", 400, "DIGEST_INVALID"},
		{"GET", "/v2/team/app/blobs/none", "", 404, "BLOB_UNKNOWN"},
		{"GET", "/v2/none/blobs/" + digest, "", 404, "NAME_UNKNOWN"},
		{"PUT", "/v2/team/app/manifests/v1", "{", 400, "MANIFEST_INVALID"},
		{"PUT", "/v2/team/app/manifests/" + digest, "{}", 400, "DIGEST_INVALID"},
		{"PUT", "/v2/team/app/manifests/v1", `{"layers":[{"digest":"` + digest + `"}]}`, 404, "BLOB_UNKNOWN"},
		{"DELETE", "/v2/team/app/manifests/v1", "", 405, "UNSUPPORTED"},
		{"DELETE", "/v2/team/app/blobs/" + digest, "", 405, "UNSUPPORTED"},
		{"GET", "/v2/team/app/blobs/uploads/x", "", 404, "BLOB_UPLOAD_UNKNOWN"},
		{"POST", "/v2/team/app/manifests/v1", "", 405, "UNSUPPORTED"},
		{"PUT", "/v2/team/app/blobs/uploads/x?digest=none", "", 400, "DIGEST_INVALID"},
		{"PUT", "/v2/team/app/blobs/uploads/x?digest=" + digest, "", 404, "BLOB_UPLOAD_UNKNOWN"},
	}
	for _, test := range tests {
		resp := r.send(test.method, test.path, test.body, nil)
		require.Equal(t, test.status, resp.StatusCode, test.path)
		if test.code != "" {
			var answer struct{ Errors []struct{ Code string } }
			require.NoError(t, json.Unmarshal([]byte(r.body(resp)), &answer))
			require.Equal(t, test.code, answer.Errors[0].Code, test.path)
		}
	}
}
