// Package calls records Terraform's calls to an AWS emulator and derives the IAM
// permissions that each call needs.
package calls

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Call is a recorded call and its response.
type Call struct {
	// Service is the service in the request's signature (ec2, monitoring). Action is
	// the name of the API operation, or "" for S3, whose requests have none.
	Service, Action string
	Method          string
	URL             *url.URL
	// Form has the fields of the query protocol, Body those of a JSON protocol.
	Form url.Values
	Body map[string]any
	// Status and Answer are the response.
	Status int
	Answer string
}

// Recorder is a proxy that records calls.
type Recorder struct {
	// URL is the recorder's address for clients.
	URL string

	mu    sync.Mutex
	calls []Call
	fault error
}

// Record starts a recorder in front of endpoint. It ends with the test.
func Record(t testing.TB, endpoint string) *Recorder {
	t.Helper()
	target, err := url.Parse(endpoint)
	require.NoError(t, err)
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	r := &Recorder{}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(p *httputil.ProxyRequest) { p.SetURL(target); p.Out.Host = p.In.Host },
		Transport:      transport,
		ModifyResponse: r.answered,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		asked := request.Clone(withBody(request.Context(), body))
		asked.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, asked)
	}))
	t.Cleanup(func() {
		server.Close()
		transport.CloseIdleConnections()
	})
	r.URL = server.URL
	return r
}

// Take returns the calls since the last Take, in the order of their responses. A call
// that cannot be parsed is an error, because it could need any permission.
func (r *Recorder) Take() ([]Call, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	calls := r.calls
	r.calls = nil
	return calls, r.fault
}

// answered records a call.
func (r *Recorder) answered(response *http.Response) error {
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(answer))
	call, err := read(response.Request)
	call.Status, call.Answer = response.StatusCode, string(answer)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && r.fault == nil {
		r.fault = fmt.Errorf("reading %s %s: %w", response.Request.Method, response.Request.URL.Path, err)
	}
	r.calls = append(r.calls, call)
	return nil
}

// signed matches the service in a request's signature:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
var signed = regexp.MustCompile(`Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request`)

// schedulerActions are the actions of EventBridge Scheduler on /schedules/NAME, by method.
var schedulerActions = map[string]string{
	http.MethodPost: "CreateSchedule", http.MethodGet: "GetSchedule", http.MethodPut: "UpdateSchedule", http.MethodDelete: "DeleteSchedule",
}

// read parses a request.
func read(request *http.Request) (Call, error) {
	call := Call{Method: request.Method, URL: request.URL}
	scope := signed.FindStringSubmatch(request.Header.Get("Authorization"))
	if scope == nil {
		return call, fmt.Errorf("it is not signed")
	}
	call.Service = scope[1]
	body := bodyOf(request.Context())
	switch kind := request.Header.Get("Content-Type"); {
	case call.Service == "s3":
		return call, nil
	case call.Service == "scheduler":
		call.Action = schedulerActions[request.Method]
		if len(body) > 0 {
			if err := json.Unmarshal(body, &call.Body); err != nil {
				return call, fmt.Errorf("its JSON: %w", err)
			}
		}
	case request.Header.Get("X-Amz-Target") != "":
		_, call.Action, _ = strings.Cut(request.Header.Get("X-Amz-Target"), ".")
		if err := json.Unmarshal(body, &call.Body); err != nil {
			return call, fmt.Errorf("its JSON: %w", err)
		}
	case strings.HasPrefix(kind, "application/x-www-form-urlencoded"):
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return call, fmt.Errorf("its form: %w", err)
		}
		call.Form, call.Action = form, form.Get("Action")
	}
	if call.Action == "" {
		return call, fmt.Errorf("nothing says which action of %s it is", call.Service)
	}
	return call, nil
}
