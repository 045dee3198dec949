package httpapi

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/stretchr/testify/require"
)

func document(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openAPI)
	require.NoError(t, err)
	require.NoError(t, doc.Validate(t.Context()))
	return doc
}

// TestEveryRouteIsDocumented checks that the routes and the document agree.
func TestEveryRouteIsDocumented(t *testing.T) {
	var documented, there []string
	for path, item := range document(t).Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	s, _ := newServer(t, func(o *Options) { o.RateLimit, o.RateBurst = 1, 1 })
	for _, route := range s.app.GetRoutes(true) {
		if route.Method != http.MethodHead { // the framework adds it to every GET
			there = append(there, route.Method+" "+route.Path)
		}
	}
	slices.Sort(documented)
	slices.Sort(there)
	require.Equal(t, documented, there)
}

func TestResponsesMatchDocument(t *testing.T) {
	doc := document(t)
	s, _ := newServer(t, func(o *Options) { o.RateLimit, o.RateBurst = 1, 60 })
	s.opts.Instance.Environment = "staging"
	r := run(t, s)
	etag := send(t, s, http.MethodGet, "/api/openapi.json").Header.Get("ETag")
	require.NotEmpty(t, etag)
	often := func() {
		for range s.opts.RateBurst {
			sendOver(t, r, http.MethodGet, "/api/", "X-Forwarded-For", "203.0.113.7")
		}
	}
	drain := func() { s.draining.Store(true) }
	tests := []struct {
		name, path string
		header     []string
		status     int
		before     func()
	}{
		{"instance", "/api/", nil, 200, nil},
		{"health", "/health", nil, 200, nil},
		{"API health", "/api/health", nil, 200, nil},
		{"liveness", "/livez", nil, 200, nil},
		{"readiness", "/readyz", nil, 200, nil},
		{"document", "/api/openapi.json", nil, 200, nil},
		{"document, known", "/api/openapi.json", []string{"If-None-Match", etag}, 304, nil},
		{"draining", "/health", nil, 503, drain},
		{"API draining", "/api/health", nil, 503, drain},
		{"not ready", "/readyz", nil, 503, drain},
		{"alive all the same", "/livez", nil, 200, drain},
		{"too often", "/api/", []string{"X-Forwarded-For", "203.0.113.7"}, 429, often},
		{"too often for health", "/api/health", []string{"X-Forwarded-For", "203.0.113.7"}, 429, nil},
	}
	asked := map[string]bool{}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.before != nil {
				tt.before()
			}
			resp := sendOver(t, r, http.MethodGet, tt.path, tt.header...)
			require.Equal(t, tt.status, resp.StatusCode)
			asked[tt.path] = true
			item := doc.Paths.Value(tt.path)
			require.NotNil(t, item)
			input := &openapi3filter.ResponseValidationInput{
				RequestValidationInput: &openapi3filter.RequestValidationInput{
					Request: httptest.NewRequestWithContext(t.Context(), http.MethodGet, tt.path, http.NoBody),
					Route:   &routers.Route{Spec: doc, Path: tt.path, PathItem: item, Method: http.MethodGet, Operation: item.Get},
				},
				Status: resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewBufferString(resp.text)),
				Options: &openapi3filter.Options{IncludeResponseStatus: true},
			}
			require.NoError(t, openapi3filter.ValidateResponse(t.Context(), input))
		})
	}
	require.Len(t, asked, doc.Paths.Len(), "each path is requested")
}
