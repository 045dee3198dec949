package localaws_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

func TestRegistryRequestsAreRecordedAsECRCalls(t *testing.T) {
	p := localawstest.New(t, binary, localaws.Options{})
	ref, err := name.ParseReference(p.PushImage("one"))
	require.NoError(t, err)
	img, err := remote.Image(ref, p.RemoteOptions()...)
	require.NoError(t, err)
	layers, err := img.Layers()
	require.NoError(t, err)
	content, err := layers[0].Compressed()
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, content)
	require.NoError(t, err)
	require.NoError(t, content.Close())
	_, err = remote.List(ref.Context(), p.RemoteOptions()...)
	require.NoError(t, err)
	require.Eventually(t, func() bool { // the last call is recorded after its response
		calls := p.Server.Calls()
		return calls[len(calls)-1].Action == "ListImages"
	}, time.Minute, time.Millisecond)
	var actions []string
	for _, c := range p.Server.Calls() {
		if c.Service == "ecr" && !slices.Contains(actions, c.Action) {
			actions = append(actions, c.Action)
			if c.Action != "GetAuthorizationToken" {
				require.Equal(t, []string{"arn:aws:ecr:us-east-1:000000000000:repository/app"}, c.Resources)
			}
		}
	}
	slices.Sort(actions)
	require.Equal(t, []string{
		"BatchCheckLayerAvailability", "BatchGetImage", "CompleteLayerUpload", "CreateRepository", "GetAuthorizationToken",
		"GetDownloadUrlForLayer", "InitiateLayerUpload", "ListImages", "PutImage", "UploadLayerPart",
	}, actions)
}

func TestRegistryFaults(t *testing.T) {
	p := localawstest.New(t, binary, localaws.Options{})
	img, err := testapp.ServiceImage(binary, "one")
	require.NoError(t, err)
	ref, err := name.ParseReference(p.Repo + ":one")
	require.NoError(t, err)
	options := append(p.RemoteOptions(), remote.WithRetryStatusCodes(), remote.WithRetryBackoff(remote.Backoff{Duration: time.Millisecond, Steps: 2}))
	for kind, want := range map[localaws.FaultKind]string{
		localaws.Throttle: "TOOMANYREQUESTS", localaws.ServerError: "UNKNOWN", localaws.ExpiredToken: "DENIED", localaws.Reset: "EOF",
	} {
		remove := p.Server.Inject(localaws.Fault{Kind: kind, Service: "ecr", Action: "PutImage"})
		require.ErrorContains(t, remote.Write(ref, img, options...), want)
		remove()
	}
	p.Server.Inject(localaws.Fault{Kind: localaws.LostResponse, Service: "ecr", Action: "PutImage", Times: 1})
	_ = remote.Write(ref, img, options...) // the client may try again by itself
	_, err = remote.Head(ref, options...)
	require.NoError(t, err, "the image is there though the answer was lost")
	require.Equal(t, http.StatusText(http.StatusTooManyRequests), lastError(p, "PutImage", "Too Many Requests"))
}

// lastError returns the error of an action's last call with an error code.
func lastError(p *localawstest.Platform, action, code string) string {
	for _, c := range p.Server.Calls() {
		if c.Action == action && c.Err == code {
			return c.Err
		}
	}
	return ""
}

// TestFaultsDuringUpload checks that an upload keeps the bytes before a fault.
func TestFaultsDuringUpload(t *testing.T) {
	for kind, status := range map[localaws.FaultKind]int{localaws.ServerError: http.StatusInternalServerError, localaws.Throttle: http.StatusTooManyRequests, localaws.Reset: 0} {
		t.Run(string(kind), func(t *testing.T) {
			p := localawstest.New(t, binary, localaws.Options{})
			send := func(method, path, body string) *http.Response {
				req, err := http.NewRequestWithContext(t.Context(), method, p.Server.Endpoint()+path, strings.NewReader(body))
				require.NoError(t, err)
				login, err := p.Auth().Authorization()
				require.NoError(t, err)
				req.SetBasicAuth(login.Username, login.Password)
				carrier := &http.Transport{DisableKeepAlives: true}
				answer, err := carrier.RoundTrip(req)
				if err != nil {
					return nil
				}
				require.NoError(t, answer.Body.Close())
				return answer
			}
			at := send(http.MethodPost, "/v2/app/blobs/uploads/", "").Header.Get("Location")
			defer p.Server.Inject(localaws.Fault{Kind: kind, Action: "UploadLayerPart", Times: 1, After: 3})()
			answer := send(http.MethodPatch, at, "hello")
			if status == 0 {
				require.Nil(t, answer)
			} else {
				require.Equal(t, status, answer.StatusCode)
			}
			require.Equal(t, "0-2", send(http.MethodGet, at, "").Header.Get("Range"))
		})
	}
}
