package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// targets returns the receivers, and the settings that are invalid.
func (s Settings) targets() (targets []target, problems []string) {
	add := func(name string, send func(context.Context, *http.Client, Notification) error, errs ...error) {
		if err := errors.Join(errs...); err != nil {
			problems = append(problems, fmt.Sprintf("%s is not notified: %s", name, outcome.JoinLines(err.Error())))
			return
		}
		targets = append(targets, target{name: name, send: send})
	}
	if s.URL != "" || s.Key != "" {
		key, err := parseKey(s.Key)
		add("the webhook", func(ctx context.Context, c *http.Client, n Notification) error {
			return postSigned(ctx, c, s.URL, key, n)
		}, checkURL("SLIPWAY_NOTIFY_URL", s.URL), err)
	}
	if s.SlackURL != "" {
		add("Slack", func(ctx context.Context, c *http.Client, n Notification) error {
			return postSlack(ctx, c, s.SlackURL, n)
		}, checkURL("SLIPWAY_SLACK_URL", s.SlackURL))
	}
	if g := s.GitHub; g.Token != "" && g.Repository != "" {
		g.API = strings.TrimSuffix(cmp.Or(g.API, "https://api.github.com"), "/")
		add("GitHub's deployment", g.set, checkURL("GITHUB_API_URL", g.API))
	}
	return targets, problems
}

// checkURL validates the URL of a receiver. The error does not contain it.
func checkURL(name, text string) error {
	if text == "" {
		return fmt.Errorf("%s is not set", name)
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" || parsed.Scheme != "https" && (parsed.Scheme != "http" || !registry.IsLoopback(parsed.Host)) {
		return fmt.Errorf("%s is not https://HOST/…", name)
	}
	return nil
}

// minKey is the shortest key, in bytes.
const minKey = 24

// parseKey returns the bytes of a key, which begins with whsec_ like those of the Standard
// Webhooks specification.
func parseKey(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(key) < minKey {
		return nil, fmt.Errorf("SLIPWAY_NOTIFY_KEY is not whsec_ followed by the base64 of %d random bytes or more", minKey)
	}
	return key, nil
}

// postSigned sends the document with the headers of the Standard Webhooks specification, which
// its libraries verify. The id is the same in all attempts.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
func postSigned(ctx context.Context, c *http.Client, to string, key []byte, n Notification) error {
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	id, at := "msg_"+hex.EncodeToString(sum[:12]), strconv.FormatInt(time.Now().Unix(), 10)
	return post(ctx, c, to, body, map[string]string{"webhook-id": id, "webhook-timestamp": at, "webhook-signature": sign(key, id, at, body)})
}

// sign returns the signature of a body: HMAC-SHA256 of its id, the time and the body.
func sign(key []byte, id, at string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// postSlack sends the text, as an incoming webhook of Slack takes it.
// https://docs.slack.dev/messaging/formatting-message-text
func postSlack(ctx context.Context, c *http.Client, to string, n Notification) error {
	text := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(n.Text)
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		return err
	}
	return post(ctx, c, to, body, nil)
}

func post(ctx context.Context, c *http.Client, to string, body []byte, header map[string]string) error {
	_, err := do(ctx, c, http.MethodPost, to, body, header)
	return err
}

// statusError is a response that is not a success.
type statusError struct {
	code int
	hint string
}

func (e statusError) Error() string {
	text := fmt.Sprintf("it answered %d %s", e.code, http.StatusText(e.code))
	if e.hint != "" {
		text += ": " + e.hint
	}
	return text
}

// isPermanent reports whether a further attempt has no prospect.
func isPermanent(err error) bool {
	var status statusError
	return errors.As(err, &status) && status.code < 500 && status.code != http.StatusTooManyRequests
}

// maxAnswer limits the answer that is read.
const maxAnswer = 1 << 20

// do sends a request with a JSON body, and returns the answer. Its errors contain neither the
// URL nor the answer.
func do(ctx context.Context, c *http.Client, method, to string, body []byte, header map[string]string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("its URL is invalid")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "slipway")
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := c.Do(request)
	if err != nil {
		return nil, describe(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case response.StatusCode < 200 || response.StatusCode > 299:
		return nil, statusError{code: response.StatusCode}
	case err != nil:
		return nil, describe(err)
	}
	return answer, nil
}

// describe returns why there was no answer, without the host, which is part of the URL.
func describe(err error) error {
	var number syscall.Errno
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer within %s", attemptTimeout)
	case errors.Is(err, context.Canceled):
		return errors.New("no answer in time")
	case errors.As(err, new(*net.DNSError)):
		return errors.New("its host name cannot be resolved")
	case errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.HostnameError)), errors.As(err, new(x509.CertificateInvalidError)):
		return errors.New("its certificate is not trusted")
	case errors.As(err, &number):
		return number
	}
	return errors.New("no connection")
}

// githubStates are the states of a deployment by event.
// https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status
var githubStates = map[Event]string{Begun: "in_progress", Paused: "in_progress", Done: "success", Restored: "failure", Failed: "failure", ActionRequired: "error"}

// maxDescription is how many characters GitHub takes.
const maxDescription = 140

// set sets the status of the newest deployment of the commit in the environment, if GitHub has
// one: it creates one for each job of an environment.
func (g GitHub) set(ctx context.Context, c *http.Client, n Notification) error {
	if n.SHA == "" {
		return nil
	}
	header := map[string]string{"Authorization": "Bearer " + g.Token, "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
	at := g.API + "/repos/" + g.Repository + "/deployments"
	query := url.Values{"sha": {n.SHA}, "environment": {n.Environment}, "per_page": {"1"}}
	answer, err := do(ctx, c, http.MethodGet, at+"?"+query.Encode(), nil, header)
	if err != nil {
		return withPermission(err)
	}
	var found []struct {
		ID int64 `json:"id"`
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		return errors.New("its answer is not a list of deployments")
	}
	if len(found) == 0 {
		return nil
	}
	status := map[string]string{"state": githubStates[n.Event], "description": report.Shorten(n.Text, maxDescription)}
	if strings.HasPrefix(n.URL, "http") && n.Event == Done {
		status["environment_url"] = n.URL
	}
	body, err := json.Marshal(status)
	if err != nil {
		return err
	}
	return withPermission(post(ctx, c, fmt.Sprintf("%s/%d/statuses", at, found[0].ID), body, header))
}

// withPermission adds the missing permission to a refusal.
func withPermission(err error) error {
	if status, ok := errors.AsType[statusError](err); ok && (status.code == http.StatusForbidden || status.code == http.StatusNotFound) {
		status.hint = "give the job permissions: deployments: write"
		return status
	}
	return err
}
