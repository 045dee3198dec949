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
	// tokenLimit is how many bytes of an answer are read: a token has about 2000.
	tokenLimit = 1 << 20
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

// errAgain marks a failure that may be over in a moment.
var errAgain = errors.New("again")

// fetch returns a token. Errors repeat neither it, nor the permission to ask
// for it, nor what GitHub answered.
func (s *tokenSource) fetch(ctx context.Context) (string, error) {
	pause := tokenPause
	for attempt := 1; ; attempt++ {
		token, err := s.ask(ctx)
		if err == nil {
			return token, nil
		}
		again := errors.Is(err, errAgain)
		if !again || attempt == tokenAttempts || ctx.Err() != nil {
			return "", s.failure(err, again)
		}
		if wait := s.clock.Sleep(ctx, pause); wait != nil {
			return "", s.failure(err, again)
		}
		pause *= 2
	}
}

// failure says what came of asking GitHub. Nobody but GitHub can help where
// asking again might; what GitHub refuses, the workflow can mend.
func (s *tokenSource) failure(err error, again bool) error {
	text := fmt.Sprintf("asking GitHub (%s) for the job's identity: %s", s.url.Host, reason(err))
	if again {
		return withhold(explained(outcome.Failed, err, "%s: rerun the job when GitHub answers", text), s.token)
	}
	return withhold(explained(outcome.Usage, err, "%s: %s", text, permission), s.token)
}

// tokenError is an answer other than a token.
type tokenError struct {
	text  string
	again bool
}

func (r *tokenError) Error() string        { return r.text }
func (r *tokenError) Is(target error) bool { return r.again && target == errAgain }

// ask makes one attempt.
func (s *tokenSource) ask(ctx context.Context) (string, error) {
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
	answer, err := s.http.Do(request)
	if err != nil {
		return "", &tokenError{text: reason(err), again: true}
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, tokenLimit))
	switch {
	case err != nil:
		return "", &tokenError{text: "its answer broke off", again: true}
	case answer.StatusCode != http.StatusOK:
		again := answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests
		return "", &tokenError{text: fmt.Sprintf("it answers %d %s", answer.StatusCode, http.StatusText(answer.StatusCode)), again: again}
	}
	var said struct{ Value string }
	if json.Unmarshal(body, &said) != nil || said.Value == "" {
		return "", &tokenError{text: "its answer has no token", again: true}
	}
	return said.Value, nil
}
