package contract

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Identity is what an instance says of itself. More fields may come.
type Identity struct {
	Hostname  string    `json:"hostname"`
	IP        string    `json:"ip"`
	Status    string    `json:"status"`
	Version   string    `json:"version"`
	StartedAt time.Time `json:"started_at"`
	Requests  int       `json:"requests"`
}

func (i Identity) check(version string) error {
	ip, err := netip.ParseAddr(i.IP)
	switch {
	case i.Hostname == "":
		return errors.New("there is no hostname")
	case err != nil || !ip.Is4():
		return fmt.Errorf("ip is %q, which is no IPv4 address", i.IP)
	case i.Status != "active":
		return fmt.Errorf("status is %q, not active", i.Status)
	case version != "" && i.Version != version:
		return fmt.Errorf("version is %q, not %q", i.Version, version)
	case i.Version == "":
		return errors.New("there is no version")
	case i.StartedAt.IsZero():
		return errors.New("there is no started_at")
	}
	return nil
}

func (a client) identify(ctx context.Context, path string) error {
	var who Identity
	if _, err := a.getJSON(ctx, http.StatusOK, http.MethodGet, path, &who); err != nil {
		return err
	}
	if who.Requests < 1 {
		return fmt.Errorf("requests is %d, this one not counted", who.Requests)
	}
	return who.check(a.version)
}

func instance(ctx context.Context, a client) error     { return a.identify(ctx, "/api/") }
func withoutSlash(ctx context.Context, a client) error { return a.identify(ctx, "/api") }
func query(ctx context.Context, a client) error        { return a.identify(ctx, "/api/?a=b&c=%ff") }

func health(ctx context.Context, a client) error {
	for _, path := range []string{"/health", "/api/health"} {
		var got struct {
			Status string `json:"status"`
		}
		if _, err := a.getJSON(ctx, http.StatusOK, http.MethodGet, path, &got); err != nil {
			return err
		}
		if got.Status != "ok" {
			return fmt.Errorf("%s: status is %q, not ok", path, got.Status)
		}
	}
	return nil
}

func head(ctx context.Context, a client) error {
	got, err := a.do(ctx, http.MethodHead, "/api/")
	if err == nil && (got.StatusCode != http.StatusOK || len(got.body) > 0) {
		err = fmt.Errorf("HEAD /api/ answers %s with %d bytes", got.Status, len(got.body))
	}
	return err
}

// errorBody is the body of every error.
type errorBody struct {
	Error     string `json:"error"`
	RequestID string `json:"request_id"`
}

func (a client) getError(ctx context.Context, status int, method, path string) (response, error) {
	var why errorBody
	got, err := a.getJSON(ctx, status, method, path, &why)
	if err == nil && (why.Error == "" || why.RequestID == "" || why.RequestID != got.Header.Get("X-Request-ID")) {
		err = fmt.Errorf("%s %s answers %s, without reason or with another id than in the header", method, path, got.body)
	}
	return got, err
}

func method(ctx context.Context, a client) error {
	got, err := a.getError(ctx, http.StatusMethodNotAllowed, http.MethodPost, "/api/")
	if err == nil && !strings.Contains(got.Header.Get("Allow"), http.MethodGet) {
		err = fmt.Errorf("header Allow is %q, without GET", got.Header.Get("Allow"))
	}
	return err
}

func unknown(ctx context.Context, a client) error {
	_, err := a.getError(ctx, http.StatusNotFound, http.MethodGet, "/api/no-such-path")
	return err
}

func requestIDs(ctx context.Context, a client) error {
	for sent, kept := range map[string]bool{"contract-0123456789": true, `"},{"level":"ERROR`: false, "short": false} {
		got, err := a.do(ctx, http.MethodGet, "/api/", "X-Request-ID", sent)
		if err != nil {
			return err
		}
		if id := got.Header.Get("X-Request-ID"); id == "" || (id == sent) != kept {
			return fmt.Errorf("sent %q, got %q", sent, id)
		}
	}
	return nil
}

func headers(ctx context.Context, a client) error {
	got, err := a.do(ctx, http.MethodGet, "/api/")
	if err != nil {
		return err
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'",
	} {
		if value := got.Header.Get(name); !strings.Contains(value, want) {
			return fmt.Errorf("%s is %q, without %s", name, value, want)
		}
	}
	// Another origin has no business here.
	if origin := got.Header.Get("Access-Control-Allow-Origin"); origin != "" {
		return fmt.Errorf("origin %s may read the answer", origin)
	}
	return nil
}

// openAPI is the part of the document that is needed here.
type openAPI struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]struct {
		Get struct {
			Responses map[string]struct {
				Content map[string]any `json:"content"`
			} `json:"responses"`
		} `json:"get"`
	} `json:"paths"`
}

const documentPath = "/api/openapi.json"

// document is checked against the system: what it says must be there.
func document(ctx context.Context, a client) error {
	var doc openAPI
	got, err := a.getJSON(ctx, http.StatusOK, http.MethodGet, documentPath, &doc)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.") {
		return fmt.Errorf("openapi is %q, not 3", doc.OpenAPI)
	}
	for _, path := range []string{"/api/", "/api/health", "/health", documentPath} {
		item, ok := doc.Paths[path]
		if !ok {
			return fmt.Errorf("%s is not documented", path)
		}
		answer, err := a.do(ctx, http.MethodGet, path)
		if err != nil {
			return err
		}
		described, ok := item.Get.Responses[fmt.Sprint(answer.StatusCode)]
		if !ok {
			return fmt.Errorf("%s answers %s, which is not documented", path, answer.Status)
		}
		kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
		if _, ok := described.Content[kind]; !ok {
			return fmt.Errorf("%s answers with %q, which is not documented", path, kind)
		}
	}
	again, err := a.do(ctx, http.MethodGet, documentPath, "If-None-Match", got.Header.Get("ETag"))
	if err == nil && again.StatusCode != http.StatusNotModified {
		err = fmt.Errorf("it is sent again (%s) to who has it", again.Status)
	}
	return err
}

// largeHeaders are those of a user who is signed in at an Application Load
// Balancer: claims and session cookies, which it forwards up to 16 KB each.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
func largeHeaders(ctx context.Context, a client) error {
	claims := strings.Repeat("a", 15<<10)
	got, err := a.do(ctx, http.MethodGet, "/api/", "X-Amzn-Oidc-Data", claims, "Cookie", "AWSELBAuthSessionCookie-0="+claims)
	if err == nil && got.StatusCode != http.StatusOK {
		err = fmt.Errorf("two of 15 KB: GET /api/ answers %s", got.Status)
	}
	return err
}
