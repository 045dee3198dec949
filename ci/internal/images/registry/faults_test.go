package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// respondWith responds to a kind of request with a status.
func respondWith(method, part string, status int) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.Contains(r.URL.Path, part) {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		return true
	}
}

// secret is part of the credentials, which no error may contain.
const secret = "planted-secret"

func TestFaults(t *testing.T) {
	const large = 256 << 10
	tests := map[string]struct {
		options func(o *registry.Options)
		spoil   func(t *testing.T, f *fixture) (remove func())
		publish func(p *registry.Publication, t *testing.T, f *fixture)
		code    outcome.Code
		want    string
		tagged  bool // whole, and tagged
	}{
		"the registry is down": {
			spoil: func(_ *testing.T, f *fixture) func() { f.registry = f.at("127.0.0.1:1"); return func() {} },
			want:  "connecting (repo/a in 127.0.0.1:1): the registry cannot be reached (connect: connection refused): check its address and the network",
		},
		"an unknown host": {
			spoil: func(_ *testing.T, f *fixture) func() { f.registry = f.at("registry.invalid"); return func() {} },
			want:  "connecting (repo/a in registry.invalid): host registry.invalid not found: check the registry's name and the network",
		},
		"the registry hangs": {
			options: func(o *registry.Options) { o.StallTimeout = 250 * time.Millisecond },
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnRequest = hang(http.MethodHead, "/manifests/")
				return func() {}
			},
			want: "checking for tag " + sha + " (repo/a in GATE): no data transferred for 250ms: the registry or the connection to it hangs: try again later",
		},
		"the registry hangs in the middle of an upload": {
			options: func(o *registry.Options) { o.StallTimeout = 250 * time.Millisecond },
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnRequest = hang(http.MethodPatch, "")
				return func() {}
			},
			want: "hangs: try again later",
		},
		"the login is wrong": {
			options: func(o *registry.Options) { o.Auth = &authn.Basic{Username: "AWS", Password: secret} },
			code:    outcome.Usage,
			want:    "(repo/a in GATE): the registry rejected the credentials (401 Unauthorized): docker login GATE",
		},
		"the login ends while pushing": {
			options: func(o *registry.Options) { o.LoginHint = "log in again" },
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnRequest = respondWith(http.MethodPatch, "", http.StatusUnauthorized)
				return func() {}
			},
			code: outcome.Usage,
			want: "the registry rejected the credentials (401 Unauthorized): log in again",
		},
		"pushing is denied": {
			spoil: fault(localaws.Fault{Kind: localaws.AccessDenied, Action: "InitiateLayerUpload"}),
			want:  "the registry denied access (403 DENIED: User: ",
		},
		"tagging is denied": {
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnRequest = respondWith(http.MethodPut, "/manifests/"+sha, http.StatusForbidden)
				return func() {}
			},
			want: "tagging (repo/a in GATE): the registry denied access (403 Forbidden): allow these credentials to pull from and push to the repository",
		},
		"requests are throttled": {
			spoil: fault(localaws.Fault{Kind: localaws.Throttle, Action: "PutImage"}),
			want:  "pushing (repo/a in GATE): the registry throttles requests even after 5 attempts (429 TOOMANYREQUESTS: Rate exceeded): try again later, or request a higher limit",
		},
		"it fails in the middle of an upload": {
			spoil: fault(localaws.Fault{Kind: localaws.ServerError, Action: "UploadLayerPart", After: 100}),
			want:  "the registry failed in all of 5 attempts (500 UNKNOWN: The request processing has failed because of an unknown error, exception or failure.): try again later",
		},
		"it fails at the end of an upload": {
			spoil: fault(localaws.Fault{Kind: localaws.ServerError, Action: "CompleteLayerUpload"}),
			want:  "the registry failed in all of 5 attempts",
		},
		"the connection is reset in the middle of an upload": {
			spoil: func(_ *testing.T, f *fixture) func() {
				f.registry = f.direct()
				return f.Server.Inject(localaws.Fault{Kind: localaws.Reset, Action: "UploadLayerPart", After: 100})
			},
			want: ": try again",
		},
		"the connection is reset at the tag": {
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnRequest = func(_ http.ResponseWriter, r *http.Request) bool {
					if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/"+sha) {
						panic(http.ErrAbortHandler)
					}
					return false
				}
				return func() {}
			},
			want: "tagging (repo/a in GATE): EOF: try again",
		},
		"a blob is corrupted in transit": {
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnRequest = func(_ http.ResponseWriter, r *http.Request) bool {
					if r.Method == http.MethodPatch {
						r.Body = io.NopCloser(io.MultiReader(strings.NewReader("x"), io.LimitReader(&skipped{r.Body}, r.ContentLength-1)))
					}
					return false
				}
				return func() {}
			},
			want: "the registry returned 400 DIGEST_INVALID",
		},
		"a layer's file is corrupted": {
			publish: func(p *registry.Publication, t *testing.T, _ *fixture) {
				p.Index = index(t, corrupted(t, randomLayer(t, large), 0))
			},
			want: "its content does not match its digest: build it again",
		},
		"a layer's file is cut short": {
			publish: func(p *registry.Publication, t *testing.T, _ *fixture) {
				p.Index = index(t, corrupted(t, randomLayer(t, large), 1000))
			},
			want: "its content does not match its digest: build it again",
		},
		"a layer's file cannot be read": {
			publish: func(p *registry.Publication, t *testing.T, _ *fixture) {
				p.Index = index(t, unreadable{randomLayer(t, large)})
			},
			want: "reading it: input/output error",
		},
		"a base is corrupted when it is pulled": {
			publish: func(p *registry.Publication, t *testing.T, f *fixture) {
				layer := f.pullThroughProxy(t, randomLayer(t, large))
				f.proxy.OnResponse = func(answer *http.Response) error {
					if answer.Request.Method == http.MethodGet && answer.ContentLength > large/2 {
						raw, err := io.ReadAll(answer.Body)
						raw[len(raw)-1] ^= 1
						answer.Body = io.NopCloser(bytes.NewReader(raw))
						return err
					}
					return nil
				}
				p.Index = index(t, layer)
			},
			want: "reading it: error verifying sha256 checksum",
		},
		"the tag names something else": {
			spoil: func(t *testing.T, f *fixture) func() {
				_, err := f.direct().Publish(t.Context(), publication(index(t, randomLayer(t, 10))))
				require.NoError(t, err)
				return func() {}
			},
			code: outcome.Refused,
			want: "a tag is never moved; commit the change and publish that commit",
		},
		"no repository": {
			options: func(o *registry.Options) { o.RepositoryHint = "run slipway apply" },
			publish: func(p *registry.Publication, _ *testing.T, _ *fixture) { p.Repository = "none" },
			code:    outcome.Usage,
			want:    "the registry GATE has no repository repo/none: run slipway apply",
		},
		"no repository, without a message": {
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnRequest = respondWith(http.MethodPost, "/uploads/", http.StatusNotFound)
				return func() {}
			},
			code: outcome.Usage,
			want: "the registry GATE has no repository repo/a (404 Not Found): create it first",
		},
		"a blob is stored under another digest": {
			spoil: wrongDigest(http.MethodPut, "/uploads/"),
			want:  "the registry GATE stored digest sha256:" + strings.Repeat("0", 64) + " instead of sha256:",
		},
		"the tag names another image": {
			spoil: func(_ *testing.T, f *fixture) func() {
				asked := 0
				f.proxy.OnResponse = func(answer *http.Response) error {
					if answer.Request.Method == http.MethodHead && strings.HasSuffix(answer.Request.URL.Path, "/manifests/"+sha) {
						if asked++; asked == 3 {
							answer.Header.Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
						}
					}
					return nil
				}
				return func() {}
			},
			code: outcome.Refused,
			want: "already names sha256:" + strings.Repeat("0", 64), tagged: true,
		},
		"the tag is accepted but not stored": {
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnRequest = respondWith(http.MethodPut, "/manifests/"+sha, http.StatusCreated)
				return func() {}
			},
			want: "the registry GATE accepted tag " + sha + " of repo/a but does not have it: publish again",
		},
		"the registry refuses": {
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnRequest = respondWith(http.MethodPatch, "", http.StatusRequestEntityTooLarge)
				return func() {}
			},
			want: "the registry returned 413 Request Entity Too Large",
		},
		"an upload without a place": {
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnResponse = func(answer *http.Response) error {
					if answer.Request.Method == http.MethodPost {
						answer.Header.Del("Location")
					}
					return nil
				}
				return func() {}
			},
			want: ": missing Location header",
		},
		"an upload at an invalid location": {
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnResponse = func(answer *http.Response) error {
					if answer.Request.Method == http.MethodPost {
						answer.Header.Set("Location", "http://[::1")
					}
					return nil
				}
				return func() {}
			},
			want: `: missing ']' in host`,
		},
		"an upload redirected to plain HTTP": {
			spoil: func(_ *testing.T, f *fixture) func() {
				f.proxy.OnResponse = func(answer *http.Response) error {
					if answer.Request.Method == http.MethodPost {
						answer.Header.Set("Location", "http://elsewhere.example/upload")
					}
					return nil
				}
				return func() {}
			},
			code: outcome.Usage,
			want: "plain HTTP is allowed only for this machine",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := setUp(t, ecrtypes.ImageTagMutabilityMutable, func(o *registry.Options) {
				if tt.options != nil {
					tt.options(o)
				}
			})
			held := ""
			if tt.spoil != nil {
				defer tt.spoil(t, f)()
				held = f.names("a", sha)
			}
			p := publication(index(t, randomLayer(t, large)))
			if tt.publish != nil {
				tt.publish(&p, t, f)
			}
			_, err := f.registry.Publish(t.Context(), p)
			require.ErrorContains(t, err, strings.ReplaceAll(tt.want, "GATE", f.proxy.Host))
			require.NotContains(t, err.Error(), "\n", "one line")
			require.NotContains(t, err.Error(), secret)
			if tt.code == outcome.Done {
				tt.code = outcome.Failed
			}
			require.Equal(t, tt.code, outcome.Of(err), err.Error())
			f.proxy.Reset()
			if tt.tagged {
				held = digestOf(t, p.Index)
			}
			require.Equal(t, held, f.names("a", sha), "nothing is tagged that is not whole")
		})
	}
}

// at opens the registry at another address.
func (f *fixture) at(host string) *registry.Registry {
	f.Helper()
	r, err := registry.New(host+"/repo", registry.Options{Clock: f.clock})
	f.RequireNoError(err)
	f.Cleanup(r.Close)
	return r
}

func fault(fault localaws.Fault) func(*testing.T, *fixture) func() {
	return func(_ *testing.T, f *fixture) func() { return f.Server.Inject(fault) }
}

// hang blocks a kind of request until its client disconnects.
func hang(method, part string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.Contains(r.URL.Path, part) {
			return false
		}
		_, _ = io.Copy(io.Discard, r.Body) // only then is it seen that the client goes
		<-r.Context().Done()
		return true
	}
}

// wrongDigest changes the digest in a kind of response.
func wrongDigest(method, part string) func(*testing.T, *fixture) func() {
	return func(_ *testing.T, f *fixture) func() {
		f.proxy.OnResponse = func(answer *http.Response) error {
			if answer.Request.Method == method && strings.Contains(answer.Request.URL.Path, part) {
				answer.Header.Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
			}
			return nil
		}
		return func() {}
	}
}

// pullThroughProxy returns a layer as pulled from repository b through the proxy.
func (f *fixture) pullThroughProxy(t *testing.T, layer v1.Layer) v1.Layer {
	t.Helper()
	_, err := f.direct().Publish(t.Context(), registry.Publication{Repository: "b", Tag: "base", Index: index(t, layer)})
	require.NoError(t, err)
	ref, err := name.ParseReference(f.proxy.Host + "/repo/b:base")
	require.NoError(t, err)
	img, err := remote.Image(ref, append(f.RemoteOptions(), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))...)
	require.NoError(t, err)
	layers, err := img.Layers()
	require.NoError(t, err)
	return elsewhere{layers[0]}
}

// elsewhere is a layer that cannot be mounted.
type elsewhere struct{ v1.Layer }

// skipped is a reader without the first byte.
type skipped struct{ io.Reader }

func (s *skipped) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if n > 0 {
		copy(p, p[1:n])
		p[n-1] = 'x'
	}
	return n, err
}

// corrupted returns a layer with a changed byte, truncated by less bytes.
func corrupted(t *testing.T, layer v1.Layer, less int) v1.Layer {
	t.Helper()
	whole, err := layer.Compressed()
	require.NoError(t, err)
	raw, err := io.ReadAll(whole)
	require.NoError(t, err)
	raw[100] ^= 1
	return file{layer, raw[:len(raw)-less]}
}

// unreadable is a layer whose file cannot be read completely.
type unreadable struct{ v1.Layer }

func (u unreadable) Compressed() (io.ReadCloser, error) {
	whole, err := u.Layer.Compressed()
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(whole, 1000), failing{}), whole}, err
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

// TestReferrersFaults: attaching and finding report failures like publishing.
func TestReferrersFaults(t *testing.T) {
	f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
	image := index(t, randomLayer(t, 10))
	_, err := f.registry.Publish(t.Context(), publication(image))
	require.NoError(t, err)
	subject, err := image.Digest()
	require.NoError(t, err)
	sbom := artifact(t, image, "application/vnd.example.sbom", "{}")
	for status, code := range map[int]outcome.Code{http.StatusForbidden: outcome.Failed, http.StatusUnauthorized: outcome.Usage, http.StatusBadGateway: outcome.Failed} {
		f.proxy.OnRequest = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(status); return true }
		_, err = f.registry.Attach(t.Context(), "a", sbom)
		require.ErrorContains(t, err, "checking for an artifact (repo/a in "+f.proxy.Host+"): the registry")
		require.Equal(t, code, outcome.Of(err))
		_, err = f.registry.Referrers(t.Context(), "a", subject, "")
		require.ErrorContains(t, err, "listing referrers (repo/a in "+f.proxy.Host+"): the registry")
		_, _, err = f.registry.Find(t.Context(), "a", sha)
		require.ErrorContains(t, err, "checking for tag "+sha)
	}
	f.proxy.OnRequest = respondWith(http.MethodPut, "/manifests/", http.StatusForbidden)
	_, err = f.registry.Attach(t.Context(), "a", sbom)
	require.ErrorContains(t, err, "attaching an artifact (repo/a in "+f.proxy.Host+"): the registry denied access")
	f.proxy.Reset()
	_, err = f.registry.Attach(t.Context(), "A", sbom)
	require.Equal(t, outcome.Usage, outcome.Of(err))
	_, err = f.registry.Referrers(t.Context(), "A", subject, "")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}

// TestInterrupted: cancelling the context ends every kind of wait.
func TestInterrupted(t *testing.T) {
	for _, at := range []struct{ method, part string }{
		{http.MethodGet, "/v2/"},
		{http.MethodHead, "/manifests/"},
		{http.MethodHead, "/blobs/"},
		{http.MethodPost, "/uploads/"},
		{http.MethodPatch, "/uploads/"},
		{http.MethodPut, "/uploads/"},
		{http.MethodPut, "/manifests/"},
	} {
		t.Run(at.method+" "+at.part, func(t *testing.T) {
			f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
			ctx, cancel := context.WithCancelCause(t.Context())
			f.proxy.OnRequest = func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == at.method && strings.Contains(r.URL.Path, at.part) {
					_, _ = io.Copy(io.Discard, r.Body)
					cancel(outcome.Interruption("SIGINT"))
					<-r.Context().Done()
					return true
				}
				return false
			}
			_, err := f.registry.Publish(ctx, publication(index(t, randomLayer(t, 1000))))
			require.ErrorContains(t, err, "SIGINT")
			require.Equal(t, outcome.Interrupted, outcome.Of(err))
			require.Empty(t, f.names("a", sha))
		})
	}
	t.Run("a deadline", func(t *testing.T) {
		f := setUp(t, ecrtypes.ImageTagMutabilityMutable)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Millisecond, errors.New("--timeout is over"))
		defer cancel()
		f.proxy.OnRequest = hang(http.MethodPatch, "")
		_, err := f.registry.Publish(ctx, publication(index(t, randomLayer(t, 1000))))
		require.ErrorContains(t, err, "--timeout is over")
		require.Equal(t, outcome.Failed, outcome.Of(err))
	})
}
