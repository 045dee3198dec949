package task

import (
	"context"
	"io"
	"net/http"
	"time"
)

// StandInLabel is the label of an image that takes the place of one that could not be built
// or pulled. It has no program: the embedded AWS runs its containers itself.
const StandInLabel = "dev.slipway.standin"

func isStandIn(spec Spec) bool { return spec.Image.Config.Labels[StandInLabel] != "" }

// startStandIn starts a container of a stand-in. With a command it ends at once, as the
// program of a job does. Otherwise it runs until it is stopped, and returns 200 to every
// request on its ports.
func (s *Sandbox) startStandIn(spec Spec) (Container, error) {
	if spec.Command != nil {
		spec.log("the image is a stand-in, which does nothing")
		return ended{}, nil
	}
	spec.log("the image is a stand-in, which returns 200 to every request")
	return s.serve(spec, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"ok"}`)
	}), func() {})
}

// ended is a container that has ended with exit code 0.
type ended struct{}

func (ended) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (ended) ExitCode() int { return 0 }

func (ended) Stop(time.Duration) {}

func (ended) Check(context.Context, []string) error { return nil }
