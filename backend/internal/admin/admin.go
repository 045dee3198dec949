// Package admin serves metrics and profiles on a separate listener that clients of the
// API cannot reach.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"time"
)

const (
	readTimeout  = 5 * time.Second
	writeTimeout = 2 * time.Minute // a CPU profile takes 30 seconds by default
	idleTimeout  = 2 * time.Minute
	headerLimit  = 8 << 10
)

// Serve serves requests on ln until ctx is done, and closes it. metrics writes the
// metrics in the text format of Prometheus.
func Serve(ctx context.Context, ln net.Listener, metrics func(io.Writer)) error {
	server := &http.Server{
		Handler:           handler(metrics),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    headerLimit,
	}
	// Requests in progress are not awaited.
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving metrics on %s: %w", ln.Addr(), err)
	}
	return nil
}

func handler(metrics func(io.Writer)) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		metrics(w)
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
