package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxResponse limits a response body, in bytes.
const maxResponse = 1 << 20

// client makes requests to one system.
type client struct {
	base, version string
	http          *http.Client
}

// response is a response with its body.
type response struct {
	*http.Response
	body []byte
}

// do makes a request. header contains names and values in turn.
func (a client) do(ctx context.Context, method, path string, header ...string) (response, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, http.NoBody)
	if err != nil {
		return response{}, err
	}
	for n := 0; n+1 < len(header); n += 2 {
		request.Header.Set(header[n], header[n+1])
	}
	resp, err := a.http.Do(request)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if err != nil {
		return response{}, fmt.Errorf("%s %s: reading the response: %w", method, path, err)
	}
	return response{resp, body}, nil
}

// getJSON makes a request, checks that the response is JSON with a status, and decodes it
// into result.
func (a client) getJSON(ctx context.Context, status int, method, path string, result any) (response, error) {
	got, err := a.do(ctx, method, path)
	if err != nil {
		return got, err
	}
	if got.StatusCode != status {
		return got, fmt.Errorf("%s %s answers %s, not %d", method, path, got.Status, status)
	}
	if kind := got.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		return got, fmt.Errorf("%s %s answers with %q, not JSON", method, path, kind)
	}
	if err := json.Unmarshal(got.body, result); err != nil {
		return got, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return got, nil
}
