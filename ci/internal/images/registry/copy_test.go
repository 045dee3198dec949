package registry_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// published is an image in a source, with an SBOM, a proof and a signature of an older
// cosign.
type published struct {
	index                          v1.ImageIndex
	digest, sbom, proof, signature v1.Hash
}

func publish(t *testing.T, f *fixture) published {
	t.Helper()
	p := published{index: index(t, randomLayer(t, 5000), randomLayer(t, 3000))}
	_, err := f.registry.Publish(t.Context(), publication(p.index))
	require.NoError(t, err)
	attached, err := f.registry.Attach(t.Context(), "a", artifact(t, p.index, "application/vnd.example.sbom", "{}"), artifact(t, p.index, "application/vnd.example.proof", "[]"))
	require.NoError(t, err)
	p.sbom, p.proof = attached[0], attached[1]
	p.digest, err = p.index.Digest()
	require.NoError(t, err)
	old := artifact(t, index(t, randomLayer(t, 10)), "application/vnd.example.signature", "signed")
	require.NoError(t, remote.Write(f.tag("a", cosignTag(p.digest)), old, f.RemoteOptions()...))
	p.signature, err = old.Digest()
	require.NoError(t, err)
	f.proxy.Reset()
	return p
}

func cosignTag(digest v1.Hash) string { return "sha256-" + digest.Hex + ".sig" }

func copyOf(from *fixture, p published) registry.CopyRequest {
	return registry.CopyRequest{From: from.open(), FromRepository: "a", Repository: "a", Digest: p.digest, Tag: sha}
}

// requireCopied checks that a repository has all of an image.
func requireCopied(t *testing.T, f *fixture, repository string, p published) {
	t.Helper()
	require.Equal(t, p.digest.String(), f.names(repository, sha))
	require.Equal(t, p.signature.String(), f.names(repository, cosignTag(p.digest)))
	back, err := remote.Index(f.tag(repository, sha), f.RemoteOptions()...)
	require.NoError(t, err)
	require.NoError(t, validate.Index(back))
	found, err := f.direct().Referrers(t.Context(), repository, p.digest, "")
	require.NoError(t, err)
	var digests []string
	for _, one := range found {
		require.NoError(t, validate.Image(one))
		digests = append(digests, digestOf(t, one))
	}
	require.ElementsMatch(t, []string{p.sbom.String(), p.proof.String()}, digests)
}

func TestCopy(t *testing.T) {
	source, target := setUp(t, ecrtypes.ImageTagMutabilityMutable), setUp(t, ecrtypes.ImageTagMutabilityImmutable)
	p := publish(t, source)

	t.Run("everything, by digest", func(t *testing.T) {
		got, err := target.open().Copy(t.Context(), copyOf(source, p))
		require.NoError(t, err)
		require.False(t, got.Present)
		require.Equal(t, target.proxy.Host+"/repo/a@"+p.digest.String(), got.Image)
		require.Equal(t, 3, got.Attached, "SBOM, proof and signature")
		require.Equal(t, int64(8), got.Blobs, "2 layers and 2 configurations, and those of the artifacts: 3 and 1")
		require.Positive(t, got.Bytes)
		require.Zero(t, source.proxy.Writes())
		requireCopied(t, target, "a", p)
	})
	t.Run("nothing is left to copy", func(t *testing.T) {
		source.proxy.Reset()
		target.proxy.Reset()
		got, err := target.open().Copy(t.Context(), copyOf(source, p))
		require.NoError(t, err)
		require.True(t, got.Present)
		require.Zero(t, got.UploadStats)
		require.Zero(t, target.proxy.Writes())
		require.Equal(t, 5, source.proxy.Count("", ""), "login, referrers, three tags of cosign")
		require.Equal(t, 4, target.proxy.Count("", ""), "login, tag, referrers, one tag of cosign")
	})
	t.Run("in one registry, mounted", func(t *testing.T) {
		source.proxy.Reset()
		request := copyOf(source, p)
		request.Repository = "b"
		got, err := source.open().Copy(t.Context(), request)
		require.NoError(t, err)
		require.Zero(t, got.Blobs, "nothing is uploaded")
		require.Equal(t, int64(8), got.Mounted)
		require.Zero(t, source.proxy.Count(http.MethodPatch, ""))
		requireCopied(t, source, "b", p)
	})
	t.Run("what was attached later", func(t *testing.T) {
		_, err := source.open().Attach(t.Context(), "a", artifact(t, p.index, "application/vnd.example.signature", "late"))
		require.NoError(t, err)
		got, err := target.open().Copy(t.Context(), copyOf(source, p))
		require.NoError(t, err)
		require.False(t, got.Present)
		require.Equal(t, 1, got.Attached)
		require.Equal(t, int64(1), got.Manifests, "the tag stays")
	})
	t.Run("a tag is never moved", func(t *testing.T) {
		target.proxy.Reset()
		other := publication(index(t, randomLayer(t, 100)))
		other.Tag = strings.Repeat("f", 40)
		first, err := target.open().Publish(t.Context(), other)
		require.NoError(t, err)
		target.proxy.Reset()
		request := copyOf(source, p)
		request.Tag = other.Tag
		_, err = target.open().Copy(t.Context(), request)
		require.ErrorContains(t, err, "tag "+other.Tag+" already names "+first.Digest+" in repo/a, not "+p.digest.String())
		require.Equal(t, outcome.Refused, outcome.Of(err))
		require.Zero(t, target.proxy.Writes())
	})
	t.Run("in one repository, it is there", func(t *testing.T) {
		got, err := source.open().Copy(t.Context(), copyOf(source, p))
		require.NoError(t, err)
		require.True(t, got.Present)
	})
}

// TestCopyWithoutReferrersAPI checks that the fallback tag of OCI is read and written.
func TestCopyWithoutReferrersAPI(t *testing.T) {
	source, target := setUp(t, ecrtypes.ImageTagMutabilityMutable), setUp(t, ecrtypes.ImageTagMutabilityMutable)
	noAPI := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/referrers/") {
			http.NotFound(w, r)
			return true
		}
		return false
	}
	source.proxy.OnRequest, target.proxy.OnRequest = noAPI, noAPI
	p := publish(t, source)
	source.proxy.OnRequest = noAPI
	got, err := target.open().Copy(t.Context(), copyOf(source, p))
	require.NoError(t, err)
	require.Equal(t, 3, got.Attached)
	requireCopied(t, target, "a", p)
	fallback, err := name.ParseReference(target.Server.Registry() + "/repo/a:sha256-" + p.digest.Hex)
	require.NoError(t, err)
	found, err := remote.Index(fallback, target.RemoteOptions()...)
	require.NoError(t, err)
	manifest, err := found.IndexManifest()
	require.NoError(t, err)
	require.Len(t, manifest.Manifests, 2)
}

// TestCopyInterrupted ends a copy at each of its writes, and continues it: what was sent is
// not sent again, and the tag comes last.
func TestCopyInterrupted(t *testing.T) {
	source := setUp(t, ecrtypes.ImageTagMutabilityMutable)
	p := publish(t, source)
	for n := range int32(8) {
		target := setUp(t, ecrtypes.ImageTagMutabilityImmutable)
		ctx, interrupt := context.WithCancel(t.Context())
		var puts atomic.Int32
		target.proxy.OnRequest = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut && puts.Add(1) > n {
				interrupt()
				panic(http.ErrAbortHandler)
			}
			return false
		}
		_, err := target.open().Copy(ctx, copyOf(source, p))
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, outcome.Interrupted, outcome.Of(err))
		require.Empty(t, target.names("a", sha))
		target.proxy.Reset()
		got, err := target.open().Copy(t.Context(), copyOf(source, p))
		require.NoError(t, err)
		sent := 8 + 8 - (got.Blobs + got.Manifests) // by the first copy, of 8 blobs and 8 writes of manifests
		require.GreaterOrEqual(t, sent, int64(n)-4, "less those that were in flight at its end")
		requireCopied(t, target, "a", p)
	}
}

func TestCopyFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		fault  localaws.Fault
		target bool
		code   outcome.Code
		want   string // "" is success
	}{
		"the source denies a manifest": {fault: localaws.Fault{Kind: localaws.AccessDenied, Action: "BatchGetImage"}, code: outcome.Failed, want: "(repo/a in SOURCE): the registry denied access (403 DENIED"},
		"the source denies a layer":    {fault: localaws.Fault{Kind: localaws.AccessDenied, Action: "GetDownloadUrlForLayer"}, code: outcome.Failed, want: "(repo/a in SOURCE): the registry denied access (403 DENIED"},
		"the source fails":             {fault: localaws.Fault{Kind: localaws.ServerError, Action: "GetDownloadUrlForLayer"}, code: outcome.Failed, want: "(repo/a in SOURCE): the registry failed in all of 5 attempts (500"},
		"the source fails for a while": {fault: localaws.Fault{Kind: localaws.ServerError, Action: "GetDownloadUrlForLayer", Times: 4}},
		"the source throttles":         {fault: localaws.Fault{Kind: localaws.Throttle, Action: "BatchGetImage", Times: 3}},
		"the target denies an upload":  {fault: localaws.Fault{Kind: localaws.AccessDenied, Action: "InitiateLayerUpload"}, target: true, code: outcome.Failed, want: "pushing (repo/a in TARGET), blob sha256:"},
		"the target fails for a while": {fault: localaws.Fault{Kind: localaws.ServerError, Action: "UploadLayerPart", Times: 3}, target: true},
		"the target loses a response":  {fault: localaws.Fault{Kind: localaws.LostResponse, Action: "PutImage", Times: 2}, target: true},
	} {
		t.Run(name, func(t *testing.T) {
			source, target := setUp(t, ecrtypes.ImageTagMutabilityMutable), setUp(t, ecrtypes.ImageTagMutabilityImmutable)
			p := publish(t, source)
			at := source
			if tt.target {
				at = target
			}
			remove := at.Server.Inject(tt.fault)
			_, err := target.open().Copy(t.Context(), copyOf(source, p))
			remove()
			if tt.want == "" {
				require.NoError(t, err)
				requireCopied(t, target, "a", p)
				return
			}
			require.ErrorContains(t, err, strings.NewReplacer("SOURCE", source.proxy.Host, "TARGET", target.proxy.Host).Replace(tt.want))
			require.Equal(t, tt.code, outcome.Of(err))
			require.Equal(t, 1, strings.Count(err.Error(), target.proxy.Host)+strings.Count(err.Error(), source.proxy.Host), "%s", err)
			require.Empty(t, target.names("a", sha), "no tag")
		})
	}
}
