package smoke

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	requestTimeout = 5 * time.Second // from connecting to the answer's last byte
	maxBody        = 1 << 20         // bytes read of an answer
)

// newClient makes a client for the system at base.
func newClient(base string) *http.Client {
	carrier := http.DefaultTransport.(*http.Transport).Clone() // by the proxy that the environment names
	if parsed, err := url.Parse(base); err == nil && isELBHostname(parsed.Hostname()) {
		carrier.TLSClientConfig = anyHostname(nil)
	}
	return &http.Client{Timeout: requestTimeout, Transport: carrier}
}

// run makes the check once.
func (c Check) run(ctx context.Context, client *http.Client, base string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+c.Path, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return fmt.Errorf("%s: reading the answer: %w", c.Path, err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", c.Path, answer.Status)
	}
	if kind := answer.Header.Get("Content-Type"); c.HTML && !strings.HasPrefix(kind, "text/html") {
		return fmt.Errorf("%s answers with %q where a page is expected", c.Path, kind)
	}
	if c.Version == "" {
		return nil
	}
	var said struct {
		Version *string `json:"version"`
	}
	if err := json.Unmarshal(body, &said); err == nil && said.Version != nil && *said.Version != c.Version {
		return fmt.Errorf("%s answers with version %q, not %q", c.Path, *said.Version, c.Version)
	}
	return nil
}
