package smoke

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const (
	requestTimeout = 5 * time.Second // from connecting to the last byte of the body
	maxBody        = 1 << 20         // bytes read of a body
)

// newClient returns an HTTP client for the system at base. Requests have the header Host
// with host, unless it is empty.
func newClient(base, host string) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone() // uses the environment's proxy
	if parsed, err := url.Parse(base); err == nil && isELBHostname(parsed.Hostname()) {
		transport.TLSClientConfig = anyHostname(nil)
	}
	if host == "" {
		return &http.Client{Timeout: requestTimeout, Transport: transport}
	}
	return &http.Client{Timeout: requestTimeout, Transport: hostTransport{transport, base, host}}
}

// hostTransport sets the header Host of requests to base, which routes them where the DNS
// name of a load balancer does not.
type hostTransport struct {
	*http.Transport
	base, host string
}

// RoundTrip implements [http.RoundTripper].
func (t hostTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	if strings.HasPrefix(request.URL.String(), t.base+"/") {
		request = request.Clone(request.Context())
		request.Host = t.host
	}
	return t.Transport.RoundTrip(request)
}

// run sends one request and checks the response.
func (c Check) run(ctx context.Context, client *http.Client, base string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+c.Path, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	if c.Below != 0 {
		client = withoutRedirects(client)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return fmt.Errorf("%s: reading the response: %w", c.Path, err)
	}
	switch {
	case c.AsBefore && response.StatusCode >= http.StatusBadRequest:
		return fmt.Errorf("%s returned %s, want a status below 400 as before the release", c.Path, response.Status)
	case c.Below != 0 && response.StatusCode >= c.Below:
		return fmt.Errorf("%s returned %s, want a status below %d", c.Path, response.Status, c.Below)
	case c.Below == 0 && response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s returned %s, want 200 OK", c.Path, response.Status)
	}
	if contentType := response.Header.Get("Content-Type"); c.HTML && !strings.HasPrefix(contentType, "text/html") {
		return fmt.Errorf("%s returned Content-Type %q, want text/html", c.Path, contentType)
	}
	if c.Version == "" {
		return nil
	}
	var document struct {
		Version *string `json:"version"`
	}
	if err := json.Unmarshal(body, &document); err != nil || document.Version == nil || *document.Version == c.Version {
		return nil
	}
	if c.CommitOnly && !commitID.MatchString(*document.Version) {
		return nil
	}
	return fmt.Errorf("%s returned version %q, want %q", c.Path, *document.Version, c.Version)
}

// commitID matches the full id of a commit.
var commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)

// withoutRedirects returns a client that returns redirects: they may lead to another
// system, such as one to log in.
func withoutRedirects(client *http.Client) *http.Client {
	copied := *client
	copied.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &copied
}
