package localaws

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// serveRegistry serves a request of the registry's protocol as a call of the
// corresponding ECR action: it is recorded, and subject to the same faults and quotas.
func (s *Server) serveRegistry(w http.ResponseWriter, r *http.Request) {
	action, repo := registryAction(r)
	if action == "" { // the version check, which needs no permission
		s.store.ServeHTTP(w, r)
		return
	}
	call := Call{
		At: time.Now().UTC(), Service: "ecr", Action: action, Region: s.options.Region,
		Resources: []string{"arn:aws:ecr:" + s.options.Region + ":" + s.options.Account + ":repository/" + repo},
	}
	d := s.injectionFor(call)
	if d.Delay > 0 {
		t := time.NewTimer(d.Delay)
		defer t.Stop()
		select {
		case <-r.Context().Done():
		case <-t.C:
		}
	}
	recorder := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		call.Duration = time.Since(call.At)
		if recorder.status >= http.StatusBadRequest {
			call.Err = http.StatusText(recorder.status)
		}
		s.recordCall(call)
	}()
	if d.AfterBytes > 0 {
		r.Body = &truncatedBody{ReadCloser: r.Body, remaining: d.AfterBytes}
		s.store.ServeHTTP(discardResponse{http.Header{}}, r)
	}
	switch {
	case d.Execute:
		s.store.ServeHTTP(discardResponse{http.Header{}}, r)
		recorder.status = 0
		panic(http.ErrAbortHandler)
	case d.Reset:
		panic(http.ErrAbortHandler)
	case d.Err != nil:
		writeRegistryError(recorder, d.Err)
	default:
		s.store.ServeHTTP(recorder, r)
	}
}

// registryAction returns the ECR action that a request needs permission for, and its
// repository.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-push-iam.html
func registryAction(r *http.Request) (action, repo string) {
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/v2"), "/")
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	for _, kind := range []string{"/blobs/uploads", "/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		at := strings.LastIndex(path, kind)
		if at < 0 {
			continue
		}
		repo = path[:at]
		switch {
		case kind == "/blobs/uploads" && r.Method == http.MethodPost:
			return "InitiateLayerUpload", repo
		case kind == "/blobs/uploads" && r.Method == http.MethodPatch:
			return "UploadLayerPart", repo
		case kind == "/blobs/uploads":
			return "CompleteLayerUpload", repo
		case kind == "/manifests/" && !read:
			return "PutImage", repo
		case kind == "/blobs/" && r.Method == http.MethodHead:
			return "BatchCheckLayerAvailability", repo
		case kind == "/blobs/":
			return "GetDownloadUrlForLayer", repo
		case kind == "/tags/":
			return "ListImages", repo
		default:
			return "BatchGetImage", repo
		}
	}
	return "", ""
}

// ecrCall is any call of ECR.
var ecrCall = Call{Service: "ecr"}

// writeRegistryError writes an error in the format of the registry's protocol.
func writeRegistryError(w http.ResponseWriter, e *wire.Error) {
	status, code := e.Status, "UNKNOWN"
	switch e.Code {
	case throttlingError(ecrCall).Code:
		status, code = http.StatusTooManyRequests, "TOOMANYREQUESTS"
	case expiredTokenError(ecrCall).Code, accessDeniedError(ecrCall, "").Code:
		status, code = http.StatusForbidden, "DENIED"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": e.Message}}})
}

// statusRecorder records the status of a response.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (n *statusRecorder) WriteHeader(status int) {
	n.status = status
	n.ResponseWriter.WriteHeader(status)
}

// discardResponse drops the response of a call whose connection is closed.
type discardResponse struct{ header http.Header }

func (d discardResponse) Header() http.Header         { return d.header }
func (d discardResponse) Write(b []byte) (int, error) { return len(b), nil }
func (d discardResponse) WriteHeader(int)             {}

// truncatedBody is a request body that ends early.
type truncatedBody struct {
	io.ReadCloser
	remaining int64
}

func (c *truncatedBody) Read(p []byte) (int, error) {
	if c.remaining == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.remaining)])
	c.remaining -= int64(n)
	return n, err
}
