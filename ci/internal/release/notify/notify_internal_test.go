package notify

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	sha = "0123456789012345678901234567890123456789"
	key = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5" // gitleaks:allow: planted
)

// received are the requests that a server got.
type received struct {
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
}

func (r *received) add(request *http.Request) string {
	body, _ := io.ReadAll(request.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests, r.bodies = append(r.requests, request), append(r.bodies, string(body))
	return string(body)
}

// of returns the requests to a path and their bodies.
func (r *received) of(path string) (requests []*http.Request, bodies []string) {
	for n, request := range r.requests {
		if request.URL.Path == path {
			requests, bodies = append(requests, request), append(bodies, r.bodies[n])
		}
	}
	return requests, bodies
}

var succeeded = report.Release{
	Result: report.Succeeded, SHA: sha, ID: "012345678901.abc", URL: "https://shop.example.com",
	Services: []report.Service{{Name: "api", Result: report.Succeeded}, {Name: "web", Result: report.Unchanged}},
}

// TestReceivers sends a release to all receivers.
func TestReceivers(t *testing.T) {
	var got received
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.add(r)
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `[{"id": 7}]`)
		}
	}))
	defer server.Close()
	s := New(Settings{
		URL: server.URL + "/hook", Key: key, SlackURL: server.URL + "/slack",
		GitHub: GitHub{Token: "t0ken", Repository: "o/r", API: server.URL + "/api/"},
	}, "deploy", "staging", func(problem string) { t.Error(problem) })
	s.Begin(sha, []string{"api", "web"})
	s.Begin(sha, nil)
	require.Empty(t, s.End(succeeded))

	requests, bodies := got.of("/hook")
	require.Len(t, requests, 2, "it begins once")
	secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	require.NoError(t, err)
	for n, request := range requests {
		h := request.Header
		require.Equal(t, sign(secret, h.Get("webhook-id"), h.Get("webhook-timestamp"), []byte(bodies[n])), h.Get("webhook-signature"))
		require.Equal(t, "application/json", h.Get("Content-Type"))
	}
	require.NotEqual(t, requests[0].Header.Get("webhook-id"), requests[1].Header.Get("webhook-id"))
	var begun, done Notification
	require.NoError(t, json.Unmarshal([]byte(bodies[0]), &begun))
	require.NoError(t, json.Unmarshal([]byte(bodies[1]), &done))
	require.WithinDuration(t, time.Now(), done.At, time.Minute)
	require.Equal(t, []string{"api", "web"}, begun.Services)
	require.Nil(t, begun.ExitCode)
	require.Equal(t, Begun, begun.Event)
	require.Equal(t, "staging: deploy of 012345678901 has begun (api, web)", begun.Text)
	done.At = time.Time{}
	require.Equal(t, Notification{
		Event: Done, Command: "deploy", Environment: "staging", SHA: sha, Release: succeeded.ID, Result: report.Succeeded, ExitCode: new(outcome.Code),
		Services: []string{"api"}, URL: succeeded.URL, Text: "staging: deploy of 012345678901 succeeded (api): https://shop.example.com",
	}, done)

	_, bodies = got.of("/slack")
	require.JSONEq(t, `{"text": "staging: deploy of 012345678901 has begun (api, web)"}`, bodies[0])
	requests, _ = got.of("/api/repos/o/r/deployments")
	require.Equal(t, "environment=staging&per_page=1&sha="+sha, requests[0].URL.RawQuery)
	requests, bodies = got.of("/api/repos/o/r/deployments/7/statuses")
	require.Equal(t, "Bearer t0ken", requests[0].Header.Get("Authorization"))
	require.JSONEq(t, `{"state": "in_progress", "description": "staging: deploy of 012345678901 has begun (api, web)"}`, bodies[0])
	require.JSONEq(t, `{"state": "success", "description": "staging: deploy of 012345678901 succeeded (api): https://shop.example.com", "environment_url": "https://shop.example.com"}`, bodies[1])
}

// TestSignature is a test vector of the Standard Webhooks specification's libraries.
func TestSignature(t *testing.T) {
	secret, err := parseKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))) // gitleaks:allow: of the specification
}

func TestEvents(t *testing.T) {
	none := outcome.Done
	for name, tt := range map[string]struct {
		command string
		release report.Release
		event   Event
		text    string
	}{
		"paused":                 {"deploy", report.Release{Result: report.Paused, SHA: sha, Next: "slipway continue"}, Paused, "live: deploy of 012345678901 is paused; to continue it, run slipway continue"},
		"restored":               {"deploy", report.Release{Result: report.Restored, ExitCode: outcome.Restored, SHA: sha, Error: "api: <unhealthy>"}, Restored, "live: deploy of 012345678901 ended: the previous version runs again: api: <unhealthy>"},
		"aborted":                {"abort", report.Release{Result: report.Succeeded, ExitCode: none, SHA: sha}, Restored, "live: abort of 012345678901 ended: the previous version runs again"},
		"interrupted, restored":  {"deploy", report.Release{Result: report.Interrupted, ExitCode: outcome.Interrupted, Services: []report.Service{{Name: "api", Result: report.Restored}}}, Restored, "live: deploy of a release ended: the previous version runs again (api)"},
		"interrupted in time":    {"deploy", report.Release{Result: report.Interrupted, ExitCode: outcome.Interrupted, SHA: sha}, Failed, "live: deploy of 012345678901 failed and has changed nothing"},
		"needs a person":         {"rollback", report.Release{Result: report.Failed, ExitCode: outcome.Unrestored, ID: "r.1", Error: "a\nb", Next: "aws ecs x"}, ActionRequired, "live: rollback of r.1 failed and was not restored: a; b; run aws ecs x"},
		"refused":                {"promote", report.Release{Result: report.Refused, ExitCode: outcome.Refused, SHA: sha, Error: "soak"}, Failed, "live: promote of 012345678901 failed and has changed nothing: soak"},
		"unchanged":              {"deploy", report.Release{Result: report.Unchanged, SHA: sha}, "", ""},
		"a secret is not passed": {"deploy", report.Release{Result: report.Failed, ExitCode: outcome.Failed, SHA: sha, Error: "https://me:hunter2hunter2@host"}, Failed, "live: deploy of 012345678901 failed and has changed nothing: https://(hidden)@host"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []Notification
			s := newSender(Settings{SlackURL: "https://x", URL: "https://y", Key: key}, tt.command, "live", func(problem string) { t.Error(problem) }, roundTrip(func(r *http.Request) (*http.Response, error) {
				var n Notification
				if r.URL.Host == "y" && json.NewDecoder(r.Body).Decode(&n) == nil {
					got = append(got, n)
				}
				return answer(200, ""), nil
			}))
			require.Empty(t, s.End(tt.release))
			if tt.event == "" {
				require.Empty(t, got)
				return
			}
			require.Equal(t, []string{string(tt.event), tt.text}, []string{string(got[0].Event), got[0].Text})
		})
	}
	var off *Sender
	off.Begin(sha, nil)
	require.Nil(t, off.End(succeeded))
	require.Nil(t, New(Settings{GitHub: GitHub{Token: "t", API: "https://api"}}, "deploy", "live", nil), "without a repository")
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}
}

// TestFailures: what cannot be sent is a problem without secrets, and takes a limited time.
func TestFailures(t *testing.T) {
	hangs := func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
	status := func(codes ...int) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			code := codes[0]
			codes = codes[min(1, len(codes)-1):]
			return answer(code, "secret-answer"), nil
		}
	}
	for name, tt := range map[string]struct {
		respond  roundTrip
		settings Settings
		want     string // of the problem, "" if it arrives
		tries    int
		took     time.Duration
	}{
		"arrives at last":   {status(500, 429, 204), Settings{SlackURL: "https://secret-host/secret-path"}, "", 3, 4 * time.Second},
		"never":             {status(503), Settings{SlackURL: "https://secret-host/secret-path"}, "Slack was not notified (done): it answered 503 Service Unavailable", 3, 4 * time.Second},
		"a wrong path":      {status(404), Settings{SlackURL: "https://secret-host/secret-path"}, "Slack was not notified (done): it answered 404 Not Found", 1, 0},
		"redirected":        {status(302), Settings{URL: "https://secret-host/secret-path", Key: key}, "the webhook was not notified (done): it answered 302 Found", 1, 0},
		"no connection":     {func(*http.Request) (*http.Response, error) { return nil, errors.New("dial secret-host") }, Settings{URL: "https://secret-host/secret-path", Key: key}, "the webhook was not notified (done): no connection", 3, 4 * time.Second},
		"no answer":         {hangs, Settings{URL: "https://secret-host/secret-path", Key: key}, "the webhook was not notified (done): no answer in time", 3, closeTimeout},
		"a token without":   {status(403), Settings{GitHub: GitHub{Token: "secret-token", Repository: "o/r"}}, "GitHub's deployment was not notified (done): it answered 403 Forbidden: give the job permissions: deployments: write", 1, 0},
		"not GitHub":        {status(200), Settings{GitHub: GitHub{Token: "secret-token", Repository: "o/r"}}, "its answer is not a list of deployments", 3, 4 * time.Second},
		"no such thing":     {func(*http.Request) (*http.Response, error) { return answer(200, "[]"), nil }, Settings{GitHub: GitHub{Token: "secret-token", Repository: "o/r"}}, "", 1, 0},
		"not a URL":         {status(200), Settings{SlackURL: "secret-host"}, "Slack is not notified: SLIPWAY_SLACK_URL is not https://HOST/…", 0, 0},
		"in the clear":      {status(200), Settings{SlackURL: "http://secret-host"}, "SLIPWAY_SLACK_URL is not https://HOST/…", 0, 0},
		"a URL without key": {status(200), Settings{URL: "https://secret-host"}, "the webhook is not notified: SLIPWAY_NOTIFY_KEY is not whsec_ followed by the base64 of 24 random bytes or more", 0, 0},
		"a short key":       {status(200), Settings{URL: "https://secret-host", Key: "whsec_c2VjcmV0"}, "SLIPWAY_NOTIFY_KEY is not", 0, 0},
		"a key without URL": {status(200), Settings{Key: key}, "the webhook is not notified: SLIPWAY_NOTIFY_URL is not set", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var reported []string
				tries, began := 0, time.Now()
				s := newSender(tt.settings, "deploy", "live", func(problem string) { reported = append(reported, problem) }, roundTrip(func(r *http.Request) (*http.Response, error) {
					tries++
					return tt.respond(r)
				}))
				problems := s.End(succeeded)
				require.Equal(t, tt.took, time.Since(began))
				require.Equal(t, tt.tries, tries)
				require.Equal(t, reported, problems)
				if tt.want == "" {
					require.Empty(t, problems)
					return
				}
				require.Len(t, problems, 1)
				require.Contains(t, problems[0], tt.want)
				require.NotContains(t, problems[0], "secret")
				require.NotContains(t, problems[0], "\n")
			})
		})
	}
}

// TestUnreachable uses the real transport: its errors name the URL, ours do not.
func TestUnreachable(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for url, want := range map[string]string{
		server.URL: "its certificate is not trusted", gone.URL: "connection refused",
		"https://host.invalid": "its host name cannot be resolved",
	} {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.Proxy = nil
		_, err := do(t.Context(), &http.Client{Transport: transport}, http.MethodPost, url+"/path", nil, nil)
		transport.CloseIdleConnections()
		require.EqualError(t, err, want)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	_, err := do(ctx, http.DefaultClient, http.MethodPost, gone.URL, bytes.NewBuffer(nil).Bytes(), nil)
	require.EqualError(t, err, "no answer within 5s")
}
