package elb

import (
	"net/http"
	"net/url"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// capture matches a capture group in a replacement, which AWS writes as $1.
var capture = regexp.MustCompile(`\$([0-9])`)

// rewritesOf returns the rewrites of a transform.
func rewritesOf(t types.RuleTransform) []types.RewriteConfig {
	switch {
	case t.Type == types.TransformTypeEnumUrlRewrite && t.UrlRewriteConfig != nil:
		return t.UrlRewriteConfig.Rewrites
	case t.Type == types.TransformTypeEnumHostHeaderRewrite && t.HostHeaderRewriteConfig != nil:
		return t.HostHeaderRewriteConfig.Rewrites
	}
	return nil
}

func validateTransforms(transforms []types.RuleTransform) error {
	seen := map[types.TransformTypeEnum]bool{}
	for _, t := range transforms {
		rewrites := rewritesOf(t)
		if seen[t.Type] || len(rewrites) != 1 {
			return wire.Errorf("ValidationError", "A rule can have one transform with one rewrite of each type")
		}
		seen[t.Type] = true
		if _, err := regexp.Compile(aws.ToString(rewrites[0].Regex)); err != nil {
			return wire.Errorf("ValidationError", "The regular expression '%s' is not valid", aws.ToString(rewrites[0].Regex))
		}
	}
	return nil
}

// transform rewrites a request for the target of a rule. Patterns that do not match
// change nothing.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-transforms.html
func transform(r *http.Request, transforms []types.RuleTransform) *http.Request {
	if len(transforms) == 0 {
		return r
	}
	r = r.Clone(r.Context())
	for _, t := range transforms {
		for _, rewrite := range rewritesOf(t) {
			pattern := regexp.MustCompile(aws.ToString(rewrite.Regex)) // validated
			replacement := capture.ReplaceAllString(aws.ToString(rewrite.Replace), "$${$1}")
			if t.Type == types.TransformTypeEnumHostHeaderRewrite {
				r.Host = pattern.ReplaceAllString(r.Host, replacement)
				continue
			}
			if to, err := url.ParseRequestURI(pattern.ReplaceAllString(r.URL.RequestURI(), replacement)); err == nil {
				r.URL = to
			}
		}
	}
	return r
}
