package attestation_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/attestation"
	"dagger/slipway/internal/contents/contentstest"
	"dagger/slipway/internal/localaws"
	"dagger/slipway/internal/localaws/localawstest"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/provenance"
	"dagger/slipway/internal/sbom"
	"dagger/slipway/internal/signature"
	"dagger/slipway/internal/signature/signaturetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// embedded is the registry of an embedded AWS, with a repository "app".
type embedded struct {
	host    string
	options []remote.Option
	// broken, if set, is the error of every listing.
	broken error
}

func newEmbedded(t *testing.T) *embedded {
	t.Helper()
	p := localawstest.Start(t, localaws.Options{})
	out, err := p.ECR.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("app")})
	require.NoError(t, err)
	host, _, _ := strings.Cut(*out.Repository.RepositoryUri, "/")
	return &embedded{host: host, options: p.RemoteOptions()}
}

func (e *embedded) digest(repository string, digest v1.Hash) (name.Digest, error) {
	return name.NewDigest(e.host + "/" + repository + "@" + digest.String())
}

func (e *embedded) Attach(_ context.Context, repository string, artifacts ...v1.Image) ([]v1.Hash, error) {
	var digests []v1.Hash
	for _, artifact := range artifacts {
		digest, err := artifact.Digest()
		if err != nil {
			return nil, err
		}
		ref, err := e.digest(repository, digest)
		if err != nil {
			return nil, err
		}
		if err := remote.Write(ref, artifact, e.options...); err != nil {
			return nil, err
		}
		digests = append(digests, digest)
	}
	return digests, nil
}

func (e *embedded) Referrers(_ context.Context, repository string, subject v1.Hash, _ string) ([]v1.Image, error) {
	if e.broken != nil {
		return nil, e.broken
	}
	ref, err := e.digest(repository, subject)
	if err != nil {
		return nil, err
	}
	index, err := remote.Referrers(ref, e.options...)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var images []v1.Image
	for _, descriptor := range manifest.Manifests {
		img, err := remote.Image(ref.Context().Digest(descriptor.Digest.String()), e.options...)
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}

// publish publishes an image and says what it is.
func publish(t *testing.T, to *embedded, files map[string]string) attestation.Subject {
	t.Helper()
	index := contentstest.Index(t, map[string]v1.Image{"linux/amd64": contentstest.Image(t, files)})
	digest, err := index.Digest()
	require.NoError(t, err)
	ref, err := to.digest("app", digest)
	require.NoError(t, err)
	require.NoError(t, remote.WriteIndex(ref, index, to.options...))
	return attestation.Subject{
		Repository: "app", Name: "backend", Index: index, Build: provenance.Build{Commit: strings.Repeat("1", 40), Service: "backend"},
	}
}

// listed is what others see of what is attached: types and predicates.
func listed(t *testing.T, from *embedded, s attestation.Subject) []string {
	t.Helper()
	digest, err := s.Index.Digest()
	require.NoError(t, err)
	artifacts, err := from.Referrers(t.Context(), s.Repository, digest, "")
	require.NoError(t, err)
	var all []string
	for _, artifact := range artifacts {
		manifest, err := artifact.Manifest()
		require.NoError(t, err)
		require.NoError(t, validate.Image(artifact, validate.Fast))
		require.Equal(t, types.MediaType("application/vnd.oci.empty.v1+json"), manifest.Config.MediaType)
		require.Equal(t, manifest.ArtifactType, string(manifest.Layers[0].MediaType))
		require.Equal(t, digest, manifest.Subject.Digest)
		all = append(all, manifest.ArtifactType+" "+manifest.Annotations["in-toto.io/predicate-type"]+manifest.Annotations["dev.sigstore.bundle.predicateType"])
	}
	return all
}

func keySigner(t *testing.T) (signature.Signer, *signature.Verifier) {
	t.Helper()
	private, public := signaturetest.KeyFiles(t, "ECDSA")
	key, _, err := signature.ReadKey(private)
	require.NoError(t, err)
	half, err := signature.ReadPublicKey(public)
	require.NoError(t, err)
	verifier, err := signature.TrustKey(half)
	require.NoError(t, err)
	return signature.NewKeySigner(key), verifier
}

func kinds(attached []attestation.Attached) []string {
	var all []string
	for _, a := range attached {
		kind := a.Kind
		if a.Signed {
			kind = "signed " + kind
		}
		all = append(all, kind)
	}
	return all
}

func TestUnsigned(t *testing.T) {
	to := newEmbedded(t)
	program, err := os.ReadFile(contentstest.Program(t))
	require.NoError(t, err)
	s := publish(t, to, map[string]string{"server": string(program)})
	a := attestation.Attestor{Registry: to}
	attached, err := a.Attest(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, []string{"sbom", "provenance"}, kinds(attached))
	require.ElementsMatch(t, []string{
		"application/spdx+json https://spdx.dev/Document", "application/vnd.in-toto+json https://slsa.dev/provenance/v1",
	}, listed(t, to, s))

	s.Build.Run.ID = "another run"
	attached, err = a.Attest(t.Context(), s)
	require.NoError(t, err)
	require.Empty(t, attached, "a second run attaches nothing")

	digest, err := s.Index.Digest()
	require.NoError(t, err)
	_, verifier := keySigner(t)
	_, err = attestation.Verify(t.Context(), to, "app", digest, verifier)
	require.ErrorContains(t, err, "app@"+digest.String()+": it is not signed")
	require.Equal(t, outcome.Refused, outcome.Of(err))
}

func TestTheProvenanceNamesTheBill(t *testing.T) {
	to := newEmbedded(t)
	program, err := os.ReadFile(contentstest.Program(t))
	require.NoError(t, err)
	s := publish(t, to, map[string]string{"server": string(program)})
	_, err = attestation.Attestor{Registry: to}.Attest(t.Context(), s)
	require.NoError(t, err)
	digest, err := s.Index.Digest()
	require.NoError(t, err)
	artifacts, err := to.Referrers(t.Context(), "app", digest, "")
	require.NoError(t, err)
	layers := map[string]v1.Hash{}
	contents := map[string]string{}
	for _, artifact := range artifacts {
		manifest, err := artifact.Manifest()
		require.NoError(t, err)
		layers[manifest.ArtifactType] = manifest.Layers[0].Digest
		require.Contains(t, manifest.Layers[0].Annotations["org.opencontainers.image.title"], "backend.")
		held, err := artifact.Layers()
		require.NoError(t, err)
		contents[manifest.ArtifactType] = text(t, held[0])
	}
	var said struct {
		Predicate struct {
			BuildDefinition struct {
				ExternalParameters struct{ Platforms []string }
			}
			RunDetails struct {
				Byproducts []struct{ Digest map[string]string }
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(contents[provenance.MediaType]), &said))
	require.Equal(t, layers[sbom.MediaType].Hex, said.Predicate.RunDetails.Byproducts[0].Digest["sha256"])
	require.Equal(t, []string{"linux/amd64"}, said.Predicate.BuildDefinition.ExternalParameters.Platforms)
	require.Contains(t, contents[provenance.MediaType], "pkg:generic/go@1.")
}

func text(t *testing.T, layer v1.Layer) string {
	t.Helper()
	stream, err := layer.Compressed()
	require.NoError(t, err)
	defer stream.Close()
	var b strings.Builder
	buffer := make([]byte, 1<<16)
	for {
		n, err := stream.Read(buffer)
		b.Write(buffer[:n])
		if err != nil {
			return b.String()
		}
	}
}

func TestSigned(t *testing.T) {
	sigstore := signaturetest.New(t)
	job, err := signature.TrustIdentity(sigstore.Trusted, signature.Identity{Name: signaturetest.Workflow})
	require.NoError(t, err)
	keyed, key := keySigner(t)
	for name, tt := range map[string]struct {
		signer   signature.Signer
		verifier *signature.Verifier
	}{"with a key": {keyed, key}, "as a job": {sigstore.Keyless(), job}} {
		t.Run(name, func(t *testing.T) {
			to := newEmbedded(t)
			s := publish(t, to, map[string]string{"a": "b"})
			a := attestation.Attestor{Registry: to, Signer: tt.signer}
			attached, err := a.Attest(t.Context(), s)
			require.NoError(t, err)
			require.Equal(t, []string{"sbom", "signed sbom", "signed provenance", "signed signature"}, kinds(attached))
			const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json "
			want := []string{
				"application/spdx+json https://spdx.dev/Document", bundle + "https://spdx.dev/Document",
				bundle + "https://slsa.dev/provenance/v1", bundle + "https://sigstore.dev/cosign/sign/v1",
			}
			require.ElementsMatch(t, want, listed(t, to, s))

			attached, err = a.Attest(t.Context(), s)
			require.NoError(t, err)
			require.Empty(t, attached, "a second run attaches nothing")
			require.ElementsMatch(t, want, listed(t, to, s))

			digest, err := s.Index.Digest()
			require.NoError(t, err)
			trusted, err := attestation.Verify(t.Context(), to, "app", digest, tt.verifier)
			require.NoError(t, err)
			require.Len(t, trusted.Statements, 3)
		})
	}
}

func TestRefused(t *testing.T) {
	signer, verifier := keySigner(t)
	_, other := keySigner(t)
	to := newEmbedded(t)
	s := publish(t, to, map[string]string{"a": "b"})
	digest, err := s.Index.Digest()
	require.NoError(t, err)
	_, err = attestation.Attestor{Registry: to, Signer: signer}.Attest(t.Context(), s)
	require.NoError(t, err)

	_, err = attestation.Verify(t.Context(), to, "app", digest, other)
	require.Equal(t, outcome.Refused, outcome.Of(err))
	require.ErrorContains(t, err, "the given key has not signed it: another key signed it, or what it signs was changed")
	require.NotContains(t, err.Error(), "\n")

	t.Run("the signatures of another image", func(t *testing.T) {
		second := publish(t, to, map[string]string{"c": "d"})
		copied, err := second.Index.Digest()
		require.NoError(t, err)
		for _, artifact := range mustList(t, to, digest) {
			_, err := to.Attach(t.Context(), "app", mutate.Subject(artifact, descriptor(t, second.Index)).(v1.Image))
			require.NoError(t, err)
		}
		_, err = attestation.Verify(t.Context(), to, "app", copied, verifier)
		require.Equal(t, outcome.Refused, outcome.Of(err))
		require.ErrorContains(t, err, "it is the signature of another image")
		attached, err := attestation.Attestor{Registry: to, Signer: signer}.Attest(t.Context(), second)
		require.NoError(t, err)
		require.Equal(t, []string{"signed sbom", "signed provenance", "signed signature"}, kinds(attached), "what says nothing is not taken for signed")
		_, err = attestation.Verify(t.Context(), to, "app", copied, verifier)
		require.NoError(t, err, "a good signature is found among bad ones")
	})
	t.Run("nothing but a bill of materials", func(t *testing.T) {
		third := publish(t, to, map[string]string{"e": "f"})
		hash, err := third.Index.Digest()
		require.NoError(t, err)
		said, err := provenance.Statement("backend", hash, sbom.PredicateType, []byte("{}"))
		require.NoError(t, err)
		bundle, err := signer.Sign(t.Context(), said)
		require.NoError(t, err)
		attach(t, to, third, bundle)
		_, err = attestation.Verify(t.Context(), to, "app", hash, verifier)
		require.Equal(t, outcome.Refused, outcome.Of(err))
		require.ErrorContains(t, err, "signed something about it, and neither the image nor its provenance")
	})
	t.Run("what is no bundle", func(t *testing.T) {
		fourth := publish(t, to, map[string]string{"g": "h"})
		hash, err := fourth.Index.Digest()
		require.NoError(t, err)
		attach(t, to, fourth, []byte("garbage"))
		attach(t, to, fourth, []byte("garbage"), []byte("more of it"))
		_, err = attestation.Verify(t.Context(), to, "app", hash, verifier)
		require.Equal(t, outcome.Refused, outcome.Of(err))
		require.ErrorContains(t, err, "it has 2 layers and not one")
		require.ErrorContains(t, err, "it is no sigstore bundle")
		_, err = attestation.Attestor{Registry: to, Signer: signer}.Attest(t.Context(), fourth)
		require.NoError(t, err)
	})
}

func mustList(t *testing.T, from *embedded, digest v1.Hash) []v1.Image {
	t.Helper()
	all, err := from.Referrers(t.Context(), "app", digest, "")
	require.NoError(t, err)
	return all
}

func descriptor(t *testing.T, index v1.ImageIndex) v1.Descriptor {
	t.Helper()
	digest, err := index.Digest()
	require.NoError(t, err)
	size, err := index.Size()
	require.NoError(t, err)
	return v1.Descriptor{MediaType: types.OCIImageIndex, Digest: digest, Size: size}
}

// attach attaches an artifact with the type of a bundle, as other programs may.
func attach(t *testing.T, to *embedded, s attestation.Subject, contents ...[]byte) {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), signature.MediaType)
	for _, content := range contents {
		var err error
		img, err = mutate.AppendLayers(img, static.NewLayer(content, signature.MediaType))
		require.NoError(t, err)
	}
	_, err := to.Attach(t.Context(), "app", mutate.Subject(img, descriptor(t, s.Index)).(v1.Image))
	require.NoError(t, err)
}

// failing is a signer that cannot.
type failing struct{ signature.Signer }

func (failing) Sign(context.Context, []byte) ([]byte, error) { return nil, errors.New("no ink") }

func TestFails(t *testing.T) {
	to := newEmbedded(t)
	s := publish(t, to, map[string]string{"a": "b"})
	digest, err := s.Index.Digest()
	require.NoError(t, err)
	attached, err := attestation.Attestor{Registry: to, Signer: failing{}}.Attest(t.Context(), s)
	require.ErrorContains(t, err, "attesting backend: sbom: no ink")
	require.Equal(t, []string{"sbom"}, kinds(attached))

	broken := *to
	broken.broken = errors.New("the registry is away")
	_, err = attestation.Attestor{Registry: &broken}.Attest(t.Context(), s)
	require.ErrorContains(t, err, "attesting backend: the registry is away")
	_, verifier := keySigner(t)
	_, err = attestation.Verify(t.Context(), &broken, "app", digest, verifier)
	require.ErrorContains(t, err, "looking for signatures of app@"+digest.String()+": the registry is away")
	require.Equal(t, outcome.Failed, outcome.Of(err), "what is not known is not refused")

	s.Repository = "nowhere"
	_, err = attestation.Attestor{Registry: to}.Attest(t.Context(), s)
	require.ErrorContains(t, err, "attesting backend: ")
	s.Repository, s.Build.Ref = "app", "\xff"
	s.Index = contentstest.Index(t, map[string]v1.Image{"linux/arm64": contentstest.Image(t, map[string]string{"x": "y"})})
	_, err = attestation.Attestor{Registry: to}.Attest(t.Context(), s)
	require.ErrorContains(t, err, "attesting backend: writing the provenance of backend")
}
