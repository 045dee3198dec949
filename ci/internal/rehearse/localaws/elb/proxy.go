package elb

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// traffic counts the requests of a load balancer.
type traffic struct{ served, failed atomic.Int64 }

// statusRecorder records the status of a response.
type statusRecorder struct {
	http.ResponseWriter
	status int
}

func (c *statusRecorder) WriteHeader(status int) {
	if status >= 200 { // 1xx responses are informational
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

// Unwrap supports http.ResponseController.
func (c *statusRecorder) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// portHandler serves one port of a load balancer.
type portHandler struct {
	balancer *Balancer
	port     *port
}

func (h portHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &statusRecorder{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		panicked := recover()
		counts := &h.port.lb.traffic
		switch {
		case r.Context().Err() != nil && (panicked != nil || c.status >= 500): // the client disconnected
		case panicked != nil || c.status >= 500:
			counts.failed.Add(1)
		default:
			counts.served.Add(1)
		}
		if panicked != nil {
			panic(panicked)
		}
	}()
	h.serve(c, r)
}

func (h portHandler) serve(w http.ResponseWriter, r *http.Request) {
	h.balancer.mu.Lock()
	var action types.Action
	var t *target
	via := types.Listener{}
	if l := h.listener(r); l != nil {
		rule := l.route(r)
		via, action = l.Listener, routingAction(rule.Actions)
		if action.Type == types.ActionTypeEnumForward {
			if g := h.balancer.chooseTargetGroup(aws.ToString(rule.RuleArn), action, r); g != nil {
				t = g.pick()
				setStickyCookie(w, action, g)
				if t != nil {
					t.requests.Add(1)
					l.requests[t.group]++
					h.balancer.minute(g).Requests++
				}
			}
			r = transform(r, rule.Transforms)
		}
	}
	h.balancer.mu.Unlock()
	if t != nil {
		defer t.requests.Done()
	}
	switch {
	case action.Type == types.ActionTypeEnumFixedResponse && action.FixedResponseConfig != nil:
		writeFixedResponse(w, action.FixedResponseConfig)
	case action.Type == types.ActionTypeEnumRedirect && action.RedirectConfig != nil:
		writeRedirect(w, r, action.RedirectConfig, aws.ToInt32(via.Port))
	case t == nil:
		writeErrorPage(w, http.StatusServiceUnavailable)
	default:
		h.forward(w, r, via, t)
	}
}

// listener returns the listener of a request: the one at the port, or another one of the
// load balancer whose port is in the header Host, because the DNS name of the embedded load
// balancer has a port already.
func (h portHandler) listener(r *http.Request) *listener {
	_, port, _ := net.SplitHostPort(r.Host)
	return cmp.Or(h.port.lb.listenerAt(port), h.port.listener)
}

// route returns the first rule that matches, or the default rule.
func (l *listener) route(r *http.Request) *types.Rule {
	for _, rule := range l.rules {
		if matchesAll(rule.Conditions, r) {
			return rule
		}
	}
	return &l.defaultRule
}

// routingAction returns the last action, which routes; those before it authenticate.
func routingAction(actions []types.Action) types.Action {
	if len(actions) == 0 {
		return types.Action{}
	}
	return actions[len(actions)-1]
}

// chooseTargetGroup returns one of the groups of a rule's forward action: that of the
// request's cookie, otherwise by smooth weighted round robin. A group with weight 0 gets
// no new requests.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-action-types.html
func (b *Balancer) chooseTargetGroup(rule string, action types.Action, r *http.Request) *targetGroup {
	credit := b.currentWeights[rule]
	if credit == nil {
		credit = map[string]int{}
		b.currentWeights[rule] = credit
	}
	if cookie, err := r.Cookie(stickyCookie); err == nil && stickinessSeconds(action) > 0 {
		for _, tuple := range forwardTargetGroups(action) {
			if g, err := b.group(aws.ToString(tuple.TargetGroupArn)); err == nil && g.stickyCookieValue() == cookie.Value {
				return g
			}
		}
	}
	var best *targetGroup
	total := 0
	for _, tuple := range forwardTargetGroups(action) {
		g, err := b.group(aws.ToString(tuple.TargetGroupArn))
		if err != nil {
			continue
		}
		weight := 1
		if tuple.Weight != nil {
			weight = int(*tuple.Weight)
		}
		if weight == 0 {
			continue
		}
		arn := *g.TargetGroupArn
		total += weight
		credit[arn] += weight
		if best == nil || credit[arn] > credit[*best.TargetGroupArn] {
			best = g
		}
	}
	if best != nil {
		credit[*best.TargetGroupArn] -= total
	}
	return best
}

// stickyCookie keeps a client at its first target group.
const stickyCookie = "AWSALBTG"

// stickyCookieValue returns the cookie's value for the group.
func (g *targetGroup) stickyCookieValue() string {
	sum := sha256.Sum256([]byte(aws.ToString(g.TargetGroupArn)))
	return hex.EncodeToString(sum[:16])
}

// stickinessSeconds returns for how many seconds a client stays with a group, or 0.
func stickinessSeconds(action types.Action) int {
	if action.ForwardConfig == nil || action.ForwardConfig.TargetGroupStickinessConfig == nil ||
		!aws.ToBool(action.ForwardConfig.TargetGroupStickinessConfig.Enabled) {
		return 0
	}
	return int(aws.ToInt32(action.ForwardConfig.TargetGroupStickinessConfig.DurationSeconds))
}

func setStickyCookie(w http.ResponseWriter, action types.Action, g *targetGroup) {
	if seconds := stickinessSeconds(action); seconds > 0 {
		http.SetCookie(w, &http.Cookie{Name: stickyCookie, Value: g.stickyCookieValue(), Path: "/", MaxAge: seconds}) //nolint:gosec // as an ALB sets it
	}
}

// forward proxies a request to a target. If the target's deregistration delay ends
// before the response, the connection is closed, as by an ALB.
func (h portHandler) forward(w http.ResponseWriter, r *http.Request, via types.Listener, t *target) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(t.ctx, cancel)()
	address := net.JoinHostPort(t.ip, strconv.Itoa(t.port))
	port := strconv.Itoa(int(aws.ToInt32(via.Port)))
	began := time.Now()
	proxy := &httputil.ReverseProxy{
		Transport: h.balancer.transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: address})
			p.Out.Host = p.In.Host
			client, _, _ := net.SplitHostPort(p.In.RemoteAddr)
			chain := append(slices.Clone(p.In.Header.Values("X-Forwarded-For")), client)
			p.Out.Header.Set("X-Forwarded-For", strings.Join(chain, ", "))
			p.Out.Header.Set("X-Forwarded-Proto", strings.ToLower(string(via.Protocol)))
			p.Out.Header.Set("X-Forwarded-Port", port)
			if p.Out.Header.Get("X-Amzn-Trace-Id") == "" {
				p.Out.Header.Set("X-Amzn-Trace-Id", "Root=1-"+wire.RandomHex(8)+"-"+wire.RandomHex(24))
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			h.balancer.answered(t.group, resp.StatusCode, time.Since(began))
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil { // neither the client nor the target has gone
				h.balancer.answered(t.group, 0, 0)
			}
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) {
				writeErrorPage(w, http.StatusGatewayTimeout)
				return
			}
			writeErrorPage(w, http.StatusBadGateway)
		},
	}
	proxy.ServeHTTP(w, r.WithContext(ctx))
}

// writeErrorPage writes the error page of an ALB.
func writeErrorPage(w http.ResponseWriter, status int) {
	title := fmt.Sprintf("%d %s", status, strings.ReplaceAll(http.StatusText(status), "Unavailable", "Temporarily Unavailable"))
	w.Header().Set("Server", "awselb/2.0")
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1></center>\r\n</body>\r\n</html>\r\n", title, title)
}

func writeFixedResponse(w http.ResponseWriter, c *types.FixedResponseActionConfig) {
	status, err := strconv.Atoi(aws.ToString(c.StatusCode))
	if err != nil || status < 200 || status > 599 {
		status = http.StatusInternalServerError
	}
	w.Header().Set("Server", "awselb/2.0")
	w.Header().Set("Content-Type", cmp.Or(aws.ToString(c.ContentType), "text/plain"))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(aws.ToString(c.MessageBody)))
}

func writeRedirect(w http.ResponseWriter, r *http.Request, c *types.RedirectActionConfig, port int32) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	fill := strings.NewReplacer(
		"#{protocol}", "http", "#{host}", host, "#{port}", strconv.Itoa(int(port)),
		"#{path}", strings.TrimPrefix(r.URL.Path, "/"), "#{query}", r.URL.RawQuery,
	).Replace
	or := func(p *string, defaultValue string) string { return fill(cmp.Or(aws.ToString(p), defaultValue)) }
	target := url.URL{
		Scheme:   strings.ToLower(or(c.Protocol, "#{protocol}")),
		Host:     net.JoinHostPort(or(c.Host, "#{host}"), or(c.Port, "#{port}")),
		Path:     or(c.Path, "/#{path}"),
		RawQuery: or(c.Query, "#{query}"),
	}
	status := http.StatusFound
	if c.StatusCode == types.RedirectActionStatusCodeEnumHttp301 {
		status = http.StatusMovedPermanently
	}
	w.Header().Set("Server", "awselb/2.0")
	w.Header().Set("Location", target.String())
	w.WriteHeader(status)
}
