// Package notify sends notifications of a release to a signed webhook, to Slack and to the
// deployment of GitHub. A notification never changes the result of the release: what cannot
// be sent is reported as a problem. URLs and keys are secrets, and no problem names them.
package notify

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Event is what has happened to a release.
type Event string

// The events.
const (
	Begun          Event = "begun"           // the first service is being updated
	Paused         Event = "paused"          // it waits for a person; next continues it
	Done           Event = "done"            // all services run the new version
	Restored       Event = "restored"        // it failed, and the previous version runs again
	Failed         Event = "failed"          // it failed or was refused, and has changed nothing
	ActionRequired Event = "action_required" // it failed and was not restored; next is the command to run
)

// Notification is the document that the webhook gets.
type Notification struct {
	Event Event     `json:"event"`
	At    time.Time `json:"at"`
	// Command is deploy, promote, rollback, continue or abort.
	Command     string `json:"command"`
	Environment string `json:"environment"`
	// SHA is the commit, empty if it is not known.
	SHA     string `json:"sha"`
	Release string `json:"release,omitempty"`
	// Result and ExitCode are those of the release, and absent before its end.
	Result   report.Result `json:"result,omitempty"`
	ExitCode *outcome.Code `json:"exit_code,omitempty"`
	// Services are those that change.
	Services []string `json:"services"`
	Error    string   `json:"error,omitempty"`
	// Next is the command to run.
	Next string `json:"next,omitempty"`
	URL  string `json:"url,omitempty"`
	// Text says all this in one line, for people.
	Text string `json:"text"`
}

// Settings are where to send notifications. What is empty is not used.
type Settings struct {
	// URL is that of the webhook, and Key signs what it gets: see [sign]. Both are secrets.
	URL, Key string
	// SlackURL is that of an incoming webhook of Slack, a secret.
	SlackURL string
	GitHub   GitHub
}

// GitHub is the repository whose deployments get a status.
type GitHub struct {
	Token, Repository string // OWNER/REPO
	// API is the base URL of the API; empty means that of github.com.
	API string
}

const (
	// attempts is how often a notification is sent until it arrives, with a pause between.
	attempts = 3
	// attemptTimeout limits one attempt.
	attemptTimeout = 5 * time.Second
	// closeTimeout limits the wait for what is being sent when the release has ended.
	closeTimeout = 15 * time.Second
)

// pauses are the pauses between attempts.
var pauses = [attempts - 1]time.Duration{time.Second, 3 * time.Second}

// target is a receiver of notifications.
type target struct {
	name  string
	send  func(context.Context, *http.Client, Notification) error
	queue chan Notification
}

// Sender sends the notifications of one release in the background, to each receiver in
// order. A nil Sender sends nothing.
type Sender struct {
	command, environment string
	now                  func() time.Time
	client               *http.Client
	targets              []target
	cancel               context.CancelFunc
	sending              sync.WaitGroup

	mu       sync.Mutex
	begun    bool
	problems []string
	report   func(problem string)
}

// New returns a sender for a release by a command to an environment, or nil if nothing is
// to be sent. onProblem is called with each notification that could not be sent. Close
// must be called.
func New(s Settings, command, environment string, onProblem func(problem string)) *Sender {
	return newSender(s, command, environment, onProblem, http.DefaultTransport.(*http.Transport).Clone())
}

func newSender(s Settings, command, environment string, onProblem func(problem string), transport http.RoundTripper) *Sender {
	targets, problems := s.targets()
	for _, problem := range problems {
		onProblem(problem)
	}
	if len(targets)+len(problems) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Sender{
		command: command, environment: environment, now: time.Now, cancel: cancel, problems: problems, report: onProblem,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // another host gets nothing
		},
	}
	for _, t := range targets {
		t.queue = make(chan Notification, 8) // more than a release has
		n.targets = append(n.targets, t)
		n.sending.Go(func() {
			for notification := range t.queue {
				if err := n.deliver(ctx, t, notification); err != nil {
					n.problem(fmt.Sprintf("%s was not notified (%s): %s", t.name, notification.Event, err))
				}
			}
		})
	}
	return n
}

func (n *Sender) problem(text string) {
	n.mu.Lock()
	n.problems = append(n.problems, text)
	n.mu.Unlock()
	n.report(text)
}

// deliver sends a notification, and retries for a while.
func (n *Sender) deliver(ctx context.Context, t target, notification Notification) (err error) {
	for try := range attempts {
		if try > 0 {
			select {
			case <-ctx.Done():
				return err
			case <-time.After(pauses[try-1]):
			}
		}
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		err = t.send(attempt, n.client, notification)
		cancel()
		if err == nil || isPermanent(err) {
			return err
		}
	}
	return err
}

// Begin reports that the release has begun to change services. Further calls do nothing.
func (n *Sender) Begin(sha string, services []string) {
	if n == nil {
		return
	}
	n.mu.Lock()
	again := n.begun
	n.begun = true
	n.mu.Unlock()
	if !again {
		n.queue(Notification{Event: Begun, SHA: sha, Services: services})
	}
}

// End reports the end of the release, and waits until all is sent. It returns what could
// not be sent. A release that changed nothing is not reported.
func (n *Sender) End(r report.Release) (problems []string) {
	if n == nil {
		return nil
	}
	event := eventOf(r)
	if n.command == "abort" && event == Done {
		event = Restored
	}
	if event != "" {
		notification := Notification{
			Event: event, SHA: r.SHA, Release: r.ID, Result: r.Result, ExitCode: &r.ExitCode, Error: leak.Redact(r.Error), Next: r.Next, URL: r.URL,
		}
		for _, s := range r.Services {
			if s.Result != report.Unchanged {
				notification.Services = append(notification.Services, s.Name)
			}
		}
		n.queue(notification)
	}
	return n.close()
}

// eventOf returns the event of a release's end, "" for none.
func eventOf(r report.Release) Event {
	switch {
	case r.Result == report.Paused:
		return Paused
	case r.ExitCode == outcome.Unrestored:
		return ActionRequired
	case r.Result == report.Unchanged:
		return ""
	case r.Result == report.Succeeded:
		return Done
	case r.Result == report.Restored,
		r.Result == report.Interrupted && slices.ContainsFunc(r.Services, func(s report.Service) bool { return s.Result == report.Restored }):
		return Restored
	}
	return Failed
}

// queue completes a notification and hands it to the receivers.
func (n *Sender) queue(notification Notification) {
	notification.At, notification.Command, notification.Environment = n.now().UTC(), n.command, n.environment
	if notification.Services == nil {
		notification.Services = []string{}
	}
	notification.Text = notification.text()
	for _, t := range n.targets {
		select {
		case t.queue <- notification:
		default: // cannot happen: a release has few
		}
	}
}

// close waits for what is being sent, for a limited time.
func (n *Sender) close() []string {
	for _, t := range n.targets {
		close(t.queue)
	}
	timer := time.AfterFunc(closeTimeout, n.cancel)
	n.sending.Wait()
	timer.Stop()
	n.cancel()
	n.client.CloseIdleConnections()
	return n.problems
}

// text returns the notification in one line.
func (n Notification) text() string {
	version := report.Version{SHA: n.SHA}.Short()
	if n.SHA == "" {
		version = cmp.Or(n.Release, "a release")
	}
	what := map[Event]string{
		Begun: "has begun", Paused: "is paused", Done: "succeeded", Restored: "ended: the previous version runs again",
		Failed: "failed and has changed nothing", ActionRequired: "failed and was not restored",
	}[n.Event]
	line := fmt.Sprintf("%s: %s of %s %s", n.Environment, n.Command, version, what)
	if len(n.Services) > 0 {
		line += " (" + strings.Join(n.Services, ", ") + ")"
	}
	if n.Error != "" {
		line += ": " + n.Error
	}
	switch {
	case n.Next != "" && n.Event == Paused:
		line += "; to continue it, run " + n.Next
	case n.Next != "":
		line += "; run " + n.Next
	case n.Event == Done && n.URL != "":
		line += ": " + n.URL
	}
	return outcome.JoinLines(line)
}
