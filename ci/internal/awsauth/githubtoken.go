package awsauth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

const (
	// audienceSTS is the only audience that AWS STS accepts.
	audienceSTS = "sts.amazonaws.com"
	// tokenAttempts is the maximum number of requests for one token.
	tokenAttempts = 5
	// tokenPause is the delay after the first attempt, which doubles each time.
	tokenPause = 500 * time.Millisecond
	// maxTokenResponse is the maximum size of a response in bytes: a token has
	// about 2000.
	maxTokenResponse = 1 << 20
)

// tokenSource requests the job's OIDC token from GitHub. It is valid for minutes,
// and so requested each time.
// https://docs.github.com/en/actions/reference/security/oidc
type tokenSource struct {
	url   *url.URL
	token string // authorizes the request
	// audience is the token's audience; if empty, AWS STS.
	audience string
	http     aws.HTTPClient
	clock    sleeper
}

// errRetryable marks a transient failure.
var errRetryable = errors.New("again")

// fetch returns a token. Errors contain neither the token, nor its authorization,
// nor GitHub's response.
func (s *tokenSource) fetch(ctx context.Context) (string, error) {
	pause := tokenPause
	for attempt := 1; ; attempt++ {
		token, err := s.request(ctx)
		if err == nil {
			return token, nil
		}
		retry := errors.Is(err, errRetryable)
		if !retry || attempt == tokenAttempts || ctx.Err() != nil {
			return "", s.failure(err, retry)
		}
		if wait := s.clock.Sleep(ctx, pause); wait != nil {
			return "", s.failure(err, retry)
		}
		pause *= 2
	}
}

// failure returns the error of a request. A transient one is GitHub's, any other is
// to be fixed in the workflow.
func (s *tokenSource) failure(err error, retryable bool) error {
	text := fmt.Sprintf("requesting the job's OIDC token from GitHub (%s): %s", s.url.Host, reason(err))
	if retryable {
		return redactSecrets(explained(outcome.Failed, err, "%s: rerun the job later", text), s.token)
	}
	return redactSecrets(explained(outcome.Usage, err, "%s: %s", text, permissionHint), s.token)
}

// tokenError is the error of a failed token request.
type tokenError struct {
	text      string
	retryable bool
}

func (r *tokenError) Error() string        { return r.text }
func (r *tokenError) Is(target error) bool { return r.retryable && target == errRetryable }

// request makes one attempt.
func (s *tokenSource) request(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	address := *s.url
	query := address.Query()
	query.Set("audience", cmp.Or(s.audience, audienceSTS))
	address.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return "", &tokenError{text: "its URL is malformed"}
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	request.Header.Set("Accept", "application/json")
	response, err := s.http.Do(request)
	if err != nil {
		return "", &tokenError{text: reason(err), retryable: true}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxTokenResponse))
	switch {
	case err != nil:
		return "", &tokenError{text: "the response was truncated", retryable: true}
	case response.StatusCode != http.StatusOK:
		retryable := response.StatusCode >= http.StatusInternalServerError || response.StatusCode == http.StatusTooManyRequests
		return "", &tokenError{text: fmt.Sprintf("it returned %d %s", response.StatusCode, http.StatusText(response.StatusCode)), retryable: retryable}
	}
	var token struct{ Value string }
	if json.Unmarshal(body, &token) != nil || token.Value == "" {
		return "", &tokenError{text: "the response has no token", retryable: true}
	}
	return token.Value, nil
}
