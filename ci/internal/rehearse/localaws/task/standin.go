package task

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// StandInLabel is the label of an image that takes the place of one that could not be
// built or pulled for a rehearsal. The embedded AWS runs its containers itself.
const StandInLabel = "dev.slipway.standin"

// startStandIn starts a container of a stand-in: with ports it returns 200 for every
// request, in a task that no service runs it ends at once with exit code 0, and otherwise
// it runs until it is stopped.
func (s *Sandbox) startStandIn(spec Spec) (Container, error) {
	const line = "the image is a stand-in: the embedded AWS runs it in place of the real one"
	if len(spec.Ports) > 0 && !spec.OneOff {
		version := ""
		for _, variable := range spec.environment() {
			if value, ok := strings.CutPrefix(variable, "VERSION="); ok {
				version = value
			}
		}
		return s.serve(spec, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]string{"status": "ok", "version": version})
		}), func() error { return nil }, line)
	}
	spec.log(line)
	c := &standIn{done: make(chan struct{})}
	if spec.OneOff {
		c.Stop(0)
	}
	return c, nil
}

// standIn is a container without a process.
type standIn struct {
	done chan struct{}
	once sync.Once
}

func (c *standIn) Done() <-chan struct{}                 { return c.done }
func (c *standIn) ExitCode() int                         { return 0 }
func (c *standIn) Stop(time.Duration)                    { c.once.Do(func() { close(c.done) }) }
func (c *standIn) Check(context.Context, []string) error { return nil }
