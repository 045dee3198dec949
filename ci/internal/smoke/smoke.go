// Package smoke asks a released system, through its front door, whether it is
// what was released.
package smoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"dagger/slipway/internal/platform"
)

// Limits of the test.
const (
	requestTimeout = 5 * time.Second
	answerLimit    = 1 << 20 // bytes read of an answer
	// rounds is how often the version is asked for: often enough that a load
	// balancer has passed every task of a small service.
	rounds = 8
)

// Check is one request and what its answer must be.
type Check struct {
	Path string
	// Version must be what the answer's JSON says as "version"; empty means
	// any. An answer that says none passes: not every service tells.
	Version string
	// HTML tells that the answer must be a page.
	HTML bool
}

// Checks derives the checks from the services' routes: the health path of each
// service as far as the load balancer leads there, the root below each prefix
// with the version, and the page.
func Checks(services []platform.Service, versions map[string]string) []Check {
	var checks []Check
	for _, s := range services {
		if s.CatchAll() {
			checks = append(checks, Check{Path: "/", HTML: s.Kind == platform.Nginx})
		}
		for _, route := range s.Routes {
			if prefix, ok := strings.CutSuffix(route, "/*"); ok && prefix != "" && s.Kind == platform.Go {
				checks = append(checks, slices.Repeat([]Check{{Path: prefix + "/", Version: versions[s.Name]}}, rounds)...)
				checks = append(checks, Check{Path: prefix + "/health"})
			}
		}
		if leadsTo(services, s.HealthPath) == s.Name {
			checks = append(checks, Check{Path: s.HealthPath})
		}
	}
	return checks
}

// leadsTo is the service that the load balancer gives a path to: the one with
// the longest matching route.
func leadsTo(services []platform.Service, requested string) string {
	name, length := "", -1
	for _, s := range services {
		for _, route := range s.Routes {
			if matches(route, requested) && len(route) > length {
				name, length = s.Name, len(route)
			}
		}
	}
	return name
}

// matches tells whether a path-pattern of the load balancer, in which "*"
// stands for any characters, matches a path.
func matches(pattern, requested string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok && !strings.Contains(prefix, "*") {
		return strings.HasPrefix(requested, prefix)
	}
	ok, err := path.Match(pattern, requested)
	return err == nil && ok
}

// Run makes the checks against the system at base, such as
// "http://ecs-alb-1.us-east-1.elb.amazonaws.com". The error joins all that was
// wrong, each with its path.
func Run(ctx context.Context, base string, checks []Check) error {
	client := &http.Client{Timeout: requestTimeout, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var failures []error
	told := map[string]bool{}
	for _, check := range checks {
		if err := check.run(ctx, client, base); err != nil && !told[err.Error()] {
			told[err.Error()] = true
			failures = append(failures, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return errors.Join(failures...)
}

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
	body, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
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
