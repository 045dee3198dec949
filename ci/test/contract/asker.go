package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// answerLimit is far above what any answer holds, in bytes.
const answerLimit = 1 << 20

// asker makes requests to one system.
type asker struct {
	base, version string
	client        *http.Client
}

// answer is a response that has been read.
type answer struct {
	*http.Response
	body []byte
}

// ask makes a request with headers, names and values in turn.
func (a asker) ask(ctx context.Context, method, path string, header ...string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, http.NoBody)
	if err != nil {
		return answer{}, err
	}
	for n := 0; n+1 < len(header); n += 2 {
		request.Header.Set(header[n], header[n+1])
	}
	response, err := a.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, answerLimit))
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: reading the answer: %w", method, path, err)
	}
	return answer{response, body}, nil
}

// expect makes a request whose answer must be JSON with a status, and decodes it
// into result.
func (a asker) expect(ctx context.Context, status int, method, path string, result any) (answer, error) {
	got, err := a.ask(ctx, method, path)
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
