package httpapi

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// event is one of a stream.
type event struct {
	name string
	data instanceBody
}

// next reads an event, and io.EOF at the end of the stream.
func next(t *testing.T, r *bufio.Reader) (event, error) {
	var e event
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return e, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch field {
		case "event":
			e.name = value
		case "data":
			require.NoError(t, json.Unmarshal([]byte(value), &e.data))
		case "":
			if e.name != "" {
				return e, nil
			}
		}
	}
}

func TestEvents(t *testing.T) {
	// Each event is in time, the whole stream is not.
	s, _ := newServer(t, func(o *Options) {
		o.Heartbeat, o.WriteTimeout, o.DrainDelay = 20*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond
	})
	r := run(t, s)
	client := newClient(t)
	resp, err := get(t.Context(), client, r.url+"/api/events")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.Equal(t, "no", resp.Header.Get("X-Accel-Buffering"))
	stream := bufio.NewReader(resp.Body)
	retry, err := stream.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "retry: 1000\n", retry)
	for range 10 { // twice the write timeout
		got, err := next(t, stream)
		require.NoError(t, err)
		require.Equal(t, "heartbeat", got.name)
		require.Equal(t, "web-1", got.data.Hostname)
		require.Equal(t, "v7", got.data.Version)
		require.Equal(t, "active", got.data.Status)
		require.Equal(t, s.startedAt, got.data.StartedAt)
	}

	r.stop()
	got, err := next(t, stream)
	for err == nil && got.name == "heartbeat" {
		got, err = next(t, stream)
	}
	require.NoError(t, err)
	require.Equal(t, "drain", got.name)
	require.Equal(t, "draining", got.data.Status)
	_, err = next(t, stream)
	require.ErrorIs(t, err, io.EOF)

	// Who comes now is sent on at once: a browser that is refused never returns.
	resp, err = get(t.Context(), client, r.url+"/api/events")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 1, strings.Count(string(body), "event: "))
	require.Contains(t, string(body), "event: drain\n")
	require.NoError(t, <-r.result)
}

// TestEventsDoNotHoldUpTheStop has a heartbeat that will not come.
func TestEventsDoNotHoldUpTheStop(t *testing.T) {
	s, _ := newServer(t, func(o *Options) { o.Heartbeat = time.Hour })
	r := run(t, s)
	resp, err := get(t.Context(), newClient(t), r.url+"/api/events")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	stream := bufio.NewReader(resp.Body)
	_, err = next(t, stream)
	require.NoError(t, err)
	r.stop()
	got, err := next(t, stream)
	require.NoError(t, err)
	require.Equal(t, "drain", got.name)
	require.NoError(t, <-r.result)
	require.Zero(t, s.streams.Load())
}

func TestEventsAreBounded(t *testing.T) {
	s, _ := newServer(t, func(o *Options) { o.MaxStreams, o.Heartbeat = 2, 10*time.Millisecond })
	r := run(t, s)
	client := newClient(t)
	var open []*http.Response
	for range 2 {
		resp, err := get(t.Context(), client, r.url+"/api/events")
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		open = append(open, resp)
	}
	defer func() { _ = open[1].Body.Close() }()
	refused, err := get(t.Context(), client, r.url+"/api/events")
	require.NoError(t, err)
	body, err := io.ReadAll(refused.Body)
	require.NoError(t, err)
	require.NoError(t, refused.Body.Close())
	require.Equal(t, 503, refused.StatusCode)
	require.Equal(t, "5", refused.Header.Get("Retry-After"))
	require.Equal(t, "application/json", refused.Header.Get("Content-Type"))
	require.Contains(t, string(body), refused.Header.Get("X-Request-ID"))

	// A client that leaves makes room.
	require.NoError(t, open[0].Body.Close())
	require.Eventually(t, func() bool { return s.streams.Load() == 1 }, 5*time.Second, 5*time.Millisecond)
}

func TestEventsNeedChunks(t *testing.T) {
	s, _ := newServer(t, nil)
	r := run(t, s)
	conn, err := net.Dial("tcp", r.addr)
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "GET /api/events HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusHTTPVersionNotSupported, resp.StatusCode)

	head := ask(t, s, http.MethodHead, "/api/events")
	require.Equal(t, 200, head.StatusCode)
	require.Equal(t, "text/event-stream", head.Header.Get("Content-Type"))
	require.Zero(t, s.streams.Load())
}

// TestPanicInAStream has one that cannot begin.
func TestPanicInAStream(t *testing.T) {
	s, logged := newServer(t, func(o *Options) { o.Heartbeat = 0 })
	r := run(t, s)
	resp, err := get(t.Context(), newClient(t), r.url+"/api/events")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NotContains(t, string(body), "event:")
	panics := logged.lines(t, "panic")
	require.Len(t, panics, 1)
	require.Equal(t, resp.Header.Get("X-Request-ID"), panics[0]["request_id"])
	require.Contains(t, panics[0]["reason"], "NewTicker")
	require.Equal(t, 200, askOver(t, r, http.MethodGet, "/health").StatusCode, "the others are served")
	require.Zero(t, s.streams.Load())
}
