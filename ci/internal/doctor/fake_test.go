package doctor_test

import (
	"context"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"dagger/slipway/internal/doctor"
	"dagger/slipway/internal/step"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// says is a machine on which commands say what they are to say. The others are not
// installed.
type says map[string]string

func (s says) Run(_ context.Context, call step.Step, _ string) (step.Result, error) {
	text, found := s[strings.Join(call.Args, " ")]
	if !found {
		return step.Result{}, &exec.Error{Name: call.Args[0], Err: exec.ErrNotFound}
	}
	if why, fails := strings.CutPrefix(text, "fails: "); fails {
		return step.Result{ExitCode: 1, Stderr: why}, nil
	}
	return step.Result{Stderr: text}, nil
}

// hangs is a machine on which no command ends by itself.
type hangs struct{}

func (hangs) Run(ctx context.Context, _ step.Step, _ string) (step.Result, error) {
	<-ctx.Done()
	return step.Result{}, context.Cause(ctx)
}

// network answers requests for an address, by status; others find nobody.
type network map[string]int

func (n network) RoundTrip(r *http.Request) (*http.Response, error) {
	status, found := n[r.URL.String()]
	if !found {
		return nil, errNobody
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: http.NoBody}, nil
}

// probe is one that has found something.
type probe struct {
	name  string
	found doctor.Finding
}

func (p probe) Name() string                        { return p.name }
func (p probe) Look(context.Context) doctor.Finding { return p.found }
