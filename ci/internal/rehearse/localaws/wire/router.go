package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// maxBody bounds a request's size. The largest real ones are layer parts sent
// through the ECR API (20 MiB, base64).
const maxBody = 32 << 20

// Call is one API call, for the record.
type Call struct {
	At        time.Time
	Duration  time.Duration
	Service   string   // ecs
	Action    string   // UpdateService
	Resources []string // ARNs, as an IAM policy would name them
	// Conditions are the known values of the service's condition keys.
	Conditions map[string]string
	AccessKey  string
	Region     string
	Err        string // the error's code, "" for success

	requiredCalls []Call
}

// Injection is a fault to inject into a call.
type Injection struct {
	Delay      time.Duration // before anything else
	Err        *Error        // returned instead of the operation's result
	Reset      bool          // the connection is closed without a response
	Execute    bool          // with Err or Reset: the operation takes effect first
	AfterBytes int64         // with Err or Reset: so many bytes of an upload are read first
	// RecordResponse records the response to a read. StaleBy returns the one recorded
	// that long ago, or the oldest.
	RecordResponse bool
	StaleBy        time.Duration
	// Failure is the reason of the failures that the operation returns instead of its
	// effect, if it can: RunTask.
	Failure string
	// HiddenFor is for how long a new resource is not visible to the operation.
	HiddenFor time.Duration
}

// Router finds and runs the operation of a request and writes the response.
type Router struct {
	Services []Service
	// Observe is called with every call once it has run.
	Observe func(Call)
	// Inject returns the fault to inject into a call; nil injects none.
	Inject func(Call) Injection

	history readHistory
}

var credential = regexp.MustCompile(`Credential=([^/]*)/[^/]*/([^/]*)/([^/,]*)/aws4_request`)

// parsedRequest is a request's service and operation, and with them its protocol.
type parsedRequest struct {
	service Service
	action  string
	found   bool
	op      Operation
	form    url.Values // of a Query request; nil for AWS JSON
	rest    url.Values // members in path and query of a REST request; nil for others
	cbor    bool       // Smithy RPC v2
}

// ServeHTTP serves an AWS API request. An SDK can decode every response, including
// those to unknown requests.
func (rt *Router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	requestID := NewUUID()
	w.Header().Set("X-Amzn-Requestid", requestID)
	p, known := rt.parseRequest(r)
	if !known {
		writeNotImplemented(w, requestID)
		return
	}
	call := &Call{At: time.Now().UTC(), Service: p.service.Name, Action: p.action}
	if m := credential.FindStringSubmatch(r.Header.Get("Authorization")); m != nil {
		call.AccessKey, call.Region = m[1], m[2]
	}
	body, err := rt.run(r, p, call, requestID)
	call.Duration = time.Since(call.At)
	if err != nil {
		call.Err = toError(err).Code
	}
	if rt.Observe != nil {
		for _, other := range call.requiredCalls {
			other.At, other.AccessKey, other.Region = call.At, call.AccessKey, call.Region
			rt.Observe(other)
		}
		rt.Observe(*call)
	}
	if errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler) // net/http closes the connection without a response
	}
	p.respond(w, requestID, body, err)
}

func (rt *Router) parseRequest(r *http.Request) (parsedRequest, bool) {
	prefix, action, isCBOR := cborTarget(r)
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		prefix, action, _ = strings.Cut(target, ".")
	}
	if prefix != "" {
		p := parsedRequest{service: Service{Name: prefix, Target: prefix}, action: action, cbor: isCBOR}
		for _, s := range rt.Services {
			if s.Target != "" && s.Target == prefix {
				p.service = s
				p.op, p.found = s.find(action)
			}
		}
		return p, true
	}
	for _, s := range rt.Services {
		for _, op := range s.Operations {
			if members, ok := op.matchREST(r); ok {
				return parsedRequest{service: s, action: op.Name, op: op, found: true, rest: members}, true
			}
		}
	}
	if err := r.ParseForm(); err != nil || r.Form.Get("Action") == "" {
		return parsedRequest{}, false
	}
	p := parsedRequest{action: r.Form.Get("Action"), form: r.Form}
	p.service = Service{Name: "unknown", Version: r.Form.Get("Version"), Namespace: "http://webservices.amazon.com/AWSFault/2005-15-09"}
	for _, s := range rt.Services {
		if s.Version != "" && s.Version == r.Form.Get("Version") {
			p.service = s
			p.op, p.found = s.find(p.action)
		}
	}
	return p, true
}

func (rt *Router) run(r *http.Request, p parsedRequest, call *Call, requestID string) ([]byte, error) {
	ctx := context.WithValue(r.Context(), callContextKey{}, callContext{call})
	// Read before any wait: net/http notices that a client has disconnected only once
	// its request was read.
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, Errorf("SerializationException", "reading the request: %v", err)
	}
	var d Injection
	if rt.Inject != nil {
		d = rt.Inject(*call)
	}
	if d.Delay > 0 {
		t := time.NewTimer(d.Delay)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return nil, http.ErrAbortHandler
		case <-t.C:
		}
	}
	ctx = context.WithValue(ctx, injectionKey{}, d)
	failed := d.Err != nil || d.Reset
	var body []byte
	if !failed || d.Execute {
		body, err = rt.invoke(ctx, raw, p, d, requestID)
	}
	switch {
	case d.Reset:
		return nil, http.ErrAbortHandler
	case d.Err != nil:
		return nil, d.Err
	}
	return body, err
}

// invoke runs the operation, or returns an earlier response of it.
func (rt *Router) invoke(ctx context.Context, raw []byte, p parsedRequest, d Injection, requestID string) ([]byte, error) {
	if !d.RecordResponse {
		return p.invoke(ctx, bytes.NewReader(raw), requestID)
	}
	request := p.service.Name + "." + p.action + " " + p.form.Encode() + p.rest.Encode() + string(raw)
	body, err := p.invoke(ctx, bytes.NewReader(raw), requestID)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	rt.history.record(request, body, now)
	if recorded, ok := rt.history.asOf(request, now.Add(-d.StaleBy)); ok && d.StaleBy > 0 {
		return recorded, nil
	}
	return body, nil
}

func (p parsedRequest) invoke(ctx context.Context, body io.Reader, requestID string) ([]byte, error) {
	if !p.found {
		return nil, p.unknownOperation()
	}
	in := p.op.input()
	if p.cbor {
		if err := DecodeCBOR(body, in); err != nil {
			return nil, err
		}
		return p.op.call(ctx, in, EncodeCBOR)
	}
	if p.form == nil {
		if err := DecodeJSON(body, in); err != nil {
			return nil, err
		}
		if err := setMembers(in, p.rest); err != nil {
			return nil, err
		}
		return p.op.call(ctx, in, EncodeJSON)
	}
	if err := DecodeQuery(p.form, in); err != nil {
		return nil, err
	}
	return p.op.call(ctx, in, func(out any) ([]byte, error) {
		return EncodeXML(p.action, p.service.Namespace, requestID, out), nil
	})
}

func (p parsedRequest) unknownOperation() *Error {
	if p.form != nil {
		return Errorf("InvalidAction", "Could not find operation %s for version %s", p.action, p.service.Version)
	}
	return Errorf("UnknownOperationException", "The operation %s of %s is not served by the embedded AWS.", p.action, p.service.Name)
}

func (p parsedRequest) respond(w http.ResponseWriter, requestID string, body []byte, err error) {
	message := "message"
	switch {
	case p.cbor:
		w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
		w.Header().Set("Content-Type", "application/cbor")
	case p.form != nil:
		w.Header().Set("Content-Type", "text/xml")
	case p.rest != nil:
		message = "Message"
		w.Header().Set("Content-Type", "application/json")
	default:
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	}
	if err != nil {
		e := toError(err)
		switch {
		case p.cbor:
			body = encodeCBORError(e)
		case p.form != nil:
			body = EncodeXMLError(p.service.Namespace, requestID, e)
		default:
			w.Header().Set("X-Amzn-Errortype", e.Code)
			members := map[string]any{"__type": e.Code, message: e.Message}
			maps.Copy(members, e.Members)
			body, _ = json.Marshal(members)
		}
		w.WriteHeader(e.Status)
	}
	_, _ = w.Write(body)
}

// writeNotImplemented responds to a request of no service that is served here, such as a
// call of S3, in the error format of S3.
func writeNotImplemented(w http.ResponseWriter, requestID string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusNotImplemented)
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>NotImplemented</Code>`+
		`<Message>The embedded AWS serves ECS, ECR, ELBv2, CloudWatch, CloudWatch Logs, EventBridge Scheduler, IAM, Secrets Manager, SSM parameters and STS; this request is for another service.</Message>`+
		`<RequestId>%s</RequestId></Error>`, requestID)
}
