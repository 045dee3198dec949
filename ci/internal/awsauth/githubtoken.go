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

	"dagger/slipway/internal/report/outcome"
)

const (
	// audienceSTS is whom the identity token is for: AWS's STS takes no other.
	audienceSTS = "sts.amazonaws.com"
	// tokenAttempts is how often GitHub is asked for one token.
	tokenAttempts = 5
	// tokenPause is the pause after the first attempt; each is twice as long
	// as the one before.
	tokenPause = 500 * time.Millisecond
	// maxTokenResponse is how many bytes of an answer are read: a token has about 2000.
	maxTokenResponse = 1 << 20
)

// tokenSource asks GitHub for the job's identity, a JWT that is good for
// minutes and so is fetched anew each time.
// https://docs.github.com/en/actions/reference/security/oidc
type tokenSource struct {
	url   *url.URL
	token string // the job's permission to ask
	// audience is whom the identity is for; empty means AWS.
	audience string
	http     aws.HTTPClient
	clock    sleeper
}

// errRetryable marks a failure that may be over in a moment.
var errRetryable = errors.New("again")

// fetch returns a token. Errors repeat neither it, nor the permission to ask
// for it, nor what GitHub answered.
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

// failure says what came of asking GitHub. Nobody but GitHub can help where
// asking again might; what GitHub refuses, the workflow can mend.
func (s *tokenSource) failure(err error, retryable bool) error {
	text := fmt.Sprintf("asking GitHub (%s) for the job's identity: %s", s.url.Host, reason(err))
	if retryable {
		return redactSecrets(explained(outcome.Failed, err, "%s: rerun the job when GitHub answers", text), s.token)
	}
	return redactSecrets(explained(outcome.Usage, err, "%s: %s", text, permissionHint), s.token)
}

// tokenError is an answer other than a token.
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
		return "", &tokenError{text: "its address is malformed"}
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
		return "", &tokenError{text: "its answer broke off", retryable: true}
	case response.StatusCode != http.StatusOK:
		retryable := response.StatusCode >= http.StatusInternalServerError || response.StatusCode == http.StatusTooManyRequests
		return "", &tokenError{text: fmt.Sprintf("it answers %d %s", response.StatusCode, http.StatusText(response.StatusCode)), retryable: retryable}
	}
	var token struct{ Value string }
	if json.Unmarshal(body, &token) != nil || token.Value == "" {
		return "", &tokenError{text: "its answer has no token", retryable: true}
	}
	return token.Value, nil
}
