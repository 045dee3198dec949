package tracing

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	attempts       = 3
	attemptTimeout = 3 * time.Second
	firstPause     = 500 * time.Millisecond // doubled after each attempt
	answerLimit    = 64 << 10               // bytes read of an answer, so that the connection can be used again
)

// uploader is the exporter's way to the collector. OpenTelemetry's own brings
// gRPC with it, which would double the size of the binary.
type uploader struct {
	url     string
	headers map[string]string
	client  *http.Client
	pause   time.Duration
}

func newUploader(url string, headers map[string]string) *uploader {
	return &uploader{
		url: url, headers: headers, pause: firstPause,
		client: &http.Client{
			Timeout:   attemptTimeout,
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second},
			// The headers hold secrets, which are for nobody else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Start does nothing: the first upload connects.
func (u *uploader) Start(context.Context) error { return nil }

// Stop closes the connection.
func (u *uploader) Stop(context.Context) error {
	u.client.CloseIdleConnections()
	return nil
}

// UploadTraces sends spans, and tries again where the collector is overloaded
// or away, as the protocol asks.
// https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
func (u *uploader) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// On the wire the same as an ExportTraceServiceRequest, whose package
	// brings gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return fmt.Errorf("encoding spans: %w", err)
	}
	pause := u.pause
	for attempt := 1; ; attempt++ {
		again, err := u.post(ctx, body)
		if err == nil || !again || attempt == attempts {
			return err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return err
		}
	}
}

// post tells whether it is worth to try again.
func (u *uploader) post(ctx context.Context, body []byte) (again bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	for name, value := range u.headers {
		request.Header.Set(name, value)
	}
	request.Header.Set("Content-Type", "application/x-protobuf")
	answer, err := u.client.Do(request)
	if err != nil {
		return true, fmt.Errorf("sending spans: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, answerLimit))
	switch answer.StatusCode {
	case http.StatusOK, http.StatusAccepted:
		return false, nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		again = true
	}
	return again, fmt.Errorf("sending spans: %s answers %s", request.URL.Redacted(), answer.Status)
}
