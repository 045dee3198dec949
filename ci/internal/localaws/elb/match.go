package elb

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// all says whether a request meets every condition of a rule.
func all(conditions []types.RuleCondition, r *http.Request) bool {
	for _, c := range conditions {
		if !meets(c, r) {
			return false
		}
	}
	return true
}

func meets(c types.RuleCondition, r *http.Request) bool {
	switch aws.ToString(c.Field) {
	case "path-pattern":
		return slices.ContainsFunc(values(c), func(p string) bool { return glob(p, r.URL.Path) })
	case "host-header":
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		return slices.ContainsFunc(values(c), func(p string) bool { return glob(strings.ToLower(p), strings.ToLower(host)) })
	case "http-request-method":
		return slices.Contains(values(c), r.Method)
	case "http-header":
		return slices.ContainsFunc(values(c), func(p string) bool {
			return slices.ContainsFunc(r.Header.Values(aws.ToString(c.HttpHeaderConfig.HttpHeaderName)),
				func(v string) bool { return glob(strings.ToLower(p), strings.ToLower(v)) })
		})
	default:
		return false
	}
}

// values lists a condition's values from whichever member holds them.
func values(c types.RuleCondition) []string {
	switch {
	case c.PathPatternConfig != nil:
		return c.PathPatternConfig.Values
	case c.HostHeaderConfig != nil:
		return c.HostHeaderConfig.Values
	case c.HttpRequestMethodConfig != nil:
		return c.HttpRequestMethodConfig.Values
	case c.HttpHeaderConfig != nil:
		return c.HttpHeaderConfig.Values
	default:
		return c.Values
	}
}

// glob matches an ALB pattern: * is any text, also an empty one, ? any one character.
func glob(pattern, text string) bool {
	p, t, star, resume := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			resume++
			p, t = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
