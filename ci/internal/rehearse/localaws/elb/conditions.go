package elb

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// matchesAll reports whether a request matches all conditions of a rule.
func matchesAll(conditions []types.RuleCondition, r *http.Request) bool {
	return !slices.ContainsFunc(conditions, func(c types.RuleCondition) bool { return !matchesCondition(c, r) })
}

func matchesCondition(c types.RuleCondition, r *http.Request) bool {
	switch aws.ToString(c.Field) {
	case "path-pattern":
		return slices.ContainsFunc(conditionValues(c), func(p string) bool { return platform.MatchPattern(p, r.URL.Path) })
	case "host-header":
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		return slices.ContainsFunc(conditionValues(c), func(p string) bool { return platform.MatchPattern(strings.ToLower(p), strings.ToLower(host)) })
	case "http-request-method":
		return slices.Contains(conditionValues(c), r.Method)
	case "http-header":
		return slices.ContainsFunc(conditionValues(c), func(p string) bool {
			return slices.ContainsFunc(r.Header.Values(aws.ToString(c.HttpHeaderConfig.HttpHeaderName)),
				func(v string) bool { return platform.MatchPattern(strings.ToLower(p), strings.ToLower(v)) })
		})
	default:
		return false
	}
}

// conditionValues returns a condition's values from the member that holds them.
func conditionValues(c types.RuleCondition) []string {
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
