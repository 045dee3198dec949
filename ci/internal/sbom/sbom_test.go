package sbom_test

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/spdx/tools-golang/spdxlib"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/contents/contentstest"
	"dagger/slipway/internal/sbom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// document writes the bill of materials, and reads it back with SPDX's own library.
func document(t *testing.T, index v1.ImageIndex) (*spdx.Document, []byte) {
	t.Helper()
	made, err := sbom.New(t.Context(), "backend", index)
	require.NoError(t, err)
	data, err := made.JSON()
	require.NoError(t, err)
	read, err := spdxjson.Read(bytes.NewReader(data))
	require.NoError(t, err)
	require.NoError(t, spdxlib.ValidateDocument(read))
	return read, data
}

// urls are the package URLs of a document, with the packages.
func urls(d *spdx.Document) map[string]*spdx.Package {
	found := map[string]*spdx.Package{}
	for _, p := range d.Packages {
		found[p.PackageExternalReferences[0].Locator] = p
	}
	return found
}

func TestProgram(t *testing.T) {
	program, err := os.ReadFile(contentstest.Program(t))
	require.NoError(t, err)
	img := contentstest.Image(t, map[string]string{"server": string(program)})
	index := contentstest.Index(t, map[string]v1.Image{"linux/amd64": img, "linux/arm64": contentstest.Image(t, map[string]string{"server": string(program), "x": "y"})})
	digest, err := index.Digest()
	require.NoError(t, err)
	child, err := img.Digest()
	require.NoError(t, err)

	d, data := document(t, index)
	require.Equal(t, "https://slipway.dev/spdx/backend/"+digest.String(), d.DocumentNamespace)
	require.Equal(t, "1970-01-01T00:00:00Z", d.CreationInfo.Created)
	found := urls(d)
	require.Contains(t, found, "pkg:oci/backend@sha256:"+digest.Hex)
	require.Contains(t, found, "pkg:oci/backend@sha256:"+child.Hex+"?arch=amd64")
	require.Contains(t, found, "pkg:golang/example.com/app")
	require.Contains(t, found, "pkg:golang/stdlib@"+strings.TrimPrefix(runtime.Version(), "go"))
	library := found["pkg:golang/example.com/library@v1.2.3"]
	require.NotNil(t, library)
	require.Equal(t, common.SHA256, library.PackageChecksums[0].Algorithm)
	require.Len(t, library.PackageChecksums[0].Value, 64)
	require.Len(t, d.Packages, 6, "what both platforms have is listed once")

	described, err := spdxlib.GetDescribedPackageIDs(d)
	require.NoError(t, err)
	require.Equal(t, []common.ElementID{found["pkg:oci/backend@sha256:"+digest.Hex].PackageSPDXIdentifier}, described)

	_, again := document(t, index)
	require.Equal(t, string(data), string(again))
	made, err := sbom.New(t.Context(), "backend", index)
	require.NoError(t, err)
	require.Equal(t, 3, made.Packages())
	require.Equal(t, []string{runtime.Version()}, made.Toolchains())
	require.Equal(t, []string{"linux/amd64", "linux/arm64"}, made.Platforms())
}

func TestDistributions(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  []string
	}{
		"Alpine": {
			map[string]string{"etc/os-release": "ID=alpine\nVERSION_ID=3.22.1\n", "lib/apk/db/installed": contentstest.APK},
			[]string{
				"pkg:generic/alpine@3.22.1", "pkg:apk/alpine/musl@1.2.5-r9?arch=x86_64&distro=alpine-3.22.1",
				"pkg:apk/alpine/busybox@1.37.0-r18?arch=x86_64&distro=alpine-3.22.1",
			},
		},
		"Debian that does not say so": {map[string]string{"var/lib/dpkg/status": contentstest.Dpkg}, []string{"pkg:deb/debian/libc6@2.36-9?arch=amd64"}},
		"nothing that is known":       {map[string]string{"a": "b"}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, _ := document(t, contentstest.Index(t, map[string]v1.Image{"linux/amd64": contentstest.Image(t, tt.files)}))
			found := urls(d)
			for _, want := range tt.want {
				require.Contains(t, found, want)
			}
			require.Len(t, found, 2+len(tt.want))
		})
	}
}

type index = v1.ImageIndex

// broken is an index without its images.
type broken struct {
	index
	manifest, digest error
}

func (b broken) Digest() (v1.Hash, error) {
	return v1.Hash{Algorithm: "sha256", Hex: "00"}, b.digest
}

func (b broken) IndexManifest() (*v1.IndexManifest, error) {
	return &v1.IndexManifest{Manifests: []v1.Descriptor{{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}}}, b.manifest
}

func TestNewFails(t *testing.T) {
	gone := errors.New("it is gone")
	tests := map[string]struct {
		index v1.ImageIndex
		want  string
	}{
		"no digest":   {broken{digest: gone}, "describing what is in web: it is gone"},
		"no manifest": {broken{manifest: gone}, "describing what is in web: it is gone"},
		"no image":    {broken{index: empty.Index}, "describing what is in web for linux/amd64: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := sbom.New(t.Context(), "web", tt.index)
			require.ErrorContains(t, err, tt.want)
		})
	}
}
