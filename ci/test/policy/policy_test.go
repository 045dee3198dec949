package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/policy"
)

// document returns a policy with the statements.
func document(statements ...string) string {
	return `{"Version": "2012-10-17", "Statement": [` + strings.Join(statements, ",") + `]}`
}

// statement returns a statement with an effect, an action, a resource and more
// elements.
func statement(effect, action, resource string, more ...string) string {
	return fmt.Sprintf(`{"Sid": "%s %s", "Effect": "%[1]s", "Action": "%[2]s", "Resource": "%s"%s}`, effect, action, resource, strings.Join(append([]string{""}, more...), ","))
}

func parse(t *testing.T, texts ...string) policy.Policies {
	t.Helper()
	var all policy.Policies
	for _, text := range texts {
		d, err := policy.Parse(text)
		require.NoError(t, err)
		all = append(all, d)
	}
	return all
}

const bucket = "arn:aws:s3:::shop"

// TestDecide follows the order of AWS's evaluation: explicit deny, allow, implicit
// deny.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic_policy-eval-denyallow.html
func TestDecide(t *testing.T) {
	var (
		all      = statement("Allow", "*", "*")
		get      = statement("Allow", "s3:GetObject", bucket+"/*")
		denyGet  = statement("Deny", "s3:GetObject", "*")
		denyPut  = statement("Deny", "s3:PutObject", "*")
		noIAM    = `{"Effect": "Allow", "NotAction": ["iam:*", "sts:*"], "Resource": "*"}`
		allBut   = `{"Effect": "Deny", "Action": "s3:*", "NotResource": ["` + bucket + `", "` + bucket + `/*"]}`
		anything = policy.NotAllowed
	)
	tests := map[string]struct {
		policies         []string
		action, resource string
		want             policy.Decision
	}{
		"nothing is allowed by itself":        {[]string{document(denyPut)}, "s3:GetObject", bucket + "/a", anything},
		"what one statement allows":           {[]string{document(denyPut, get)}, "s3:GetObject", bucket + "/a", policy.Allowed},
		"in any of the policies":              {[]string{document(denyPut), document(get)}, "s3:GetObject", bucket + "/a", policy.Allowed},
		"a deny wins over an allow":           {[]string{document(get, denyGet)}, "s3:GetObject", bucket + "/a", policy.Denied},
		"in whatever order":                   {[]string{document(denyGet), document(get)}, "s3:GetObject", bucket + "/a", policy.Denied},
		"even over one of everything":         {[]string{document(all), document(denyGet)}, "s3:GetObject", bucket + "/a", policy.Denied},
		"the case of an action":               {[]string{document(get)}, "S3:getobject", bucket + "/a", policy.Allowed},
		"and not of a resource":               {[]string{document(get)}, "s3:GetObject", "arn:aws:s3:::Shop/a", anything},
		"another action":                      {[]string{document(get)}, "s3:GetObjectAcl", bucket + "/a", anything},
		"another resource":                    {[]string{document(get)}, "s3:GetObject", bucket, anything},
		"a folder below":                      {[]string{document(get)}, "s3:GetObject", bucket + "/a/b", policy.Allowed},
		"another partition":                   {[]string{document(get)}, "s3:GetObject", "arn:aws-cn:s3:::shop/a", anything},
		"no resource":                         {[]string{document(get)}, "s3:GetObject", "*", anything},
		"no resource, of everything":          {[]string{document(all)}, "s3:ListAllMyBuckets", "*", policy.Allowed},
		"all actions but some":                {[]string{document(noIAM)}, "s3:GetObject", bucket + "/a", policy.Allowed},
		"one of those":                        {[]string{document(noIAM)}, "iam:CreateRole", "*", anything},
		"denied on all but some":              {[]string{document(all, allBut)}, "s3:PutObject", "arn:aws:s3:::other/a", policy.Denied},
		"one of them":                         {[]string{document(all, allBut)}, "s3:PutObject", bucket + "/a", policy.Allowed},
		"an action with wildcards":            {[]string{document(statement("Allow", "s3:Get*Ac?", "*"))}, "s3:GetObjectAcl", bucket, policy.Allowed},
		"and another":                         {[]string{document(statement("Allow", "s3:Get*Ac?", "*"))}, "s3:GetObjectAc", bucket, anything},
		"wildcards twice":                     {[]string{document(statement("Allow", "s3:*", "arn:aws:s3:::s*p/*/a"))}, "s3:GetObject", "arn:aws:s3:::sloop/x/y/a", policy.Allowed},
		"colons in the last part":             {[]string{document(statement("Allow", "logs:*", "arn:aws:logs:r:1:log-group:/ecs/*:*"))}, "logs:Get", "arn:aws:logs:r:1:log-group:/ecs/a:log-stream:b", policy.Allowed},
		"an end that the pattern has not":     {[]string{document(statement("Allow", "s3:*", "arn:aws:s3:::*/a"))}, "s3:GetObject", bucket + "/ab", anything},
		"a region that the pattern has not":   {[]string{document(statement("Allow", "ecs:*", "arn:aws:ecs:us-east-1:1:service/*"))}, "ecs:UpdateService", "arn:aws:ecs:us-east-2:1:service/a", anything},
		"an account that the pattern has not": {[]string{document(statement("Allow", "ecs:*", "arn:aws:ecs:us-east-1:1:service/*"))}, "ecs:UpdateService", "arn:aws:ecs:us-east-1:12:service/a", anything},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parse(t, tt.policies...).Decide(policy.Request{Action: tt.action, Resource: tt.resource})
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Decision, got.Decision)
			require.Equal(t, tt.want == policy.NotAllowed, got.By == nil)
		})
	}
}

func TestReason(t *testing.T) {
	policies := parse(t, document(statement("Deny", "s3:Put*", "*")), document(statement("Allow", "ecs:*", "*"), `{"Sid": "two", "Effect": "Allow", "Action": ["s3:List*", "s3:Get*"], "Resource": ["`+bucket+`", "`+bucket+`/*"]}`))
	got, err := policies.Decide(policy.Request{Action: "s3:GetObject", Resource: bucket + "/a"})
	require.NoError(t, err)
	require.Equal(t, []policy.Reason{{Document: 1, Statement: 1, Sid: "two", Action: "s3:Get*", Resource: bucket + "/*"}}, got.By)
	require.Equal(t, "allowed", got.Decision.String())
}

// TestWithin checks that a boundary limits permissions and grants none.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html
func TestWithin(t *testing.T) {
	read, all := document(statement("Allow", "s3:Get*", "*")), document(statement("Allow", "*", "*"))
	tests := map[string]struct {
		own, boundary string
		action        string
		want          policy.Decision
	}{
		"both allow":              {read, all, "s3:GetObject", policy.Allowed},
		"the boundary alone":      {read, all, "s3:PutObject", policy.NotAllowed},
		"the policy alone":        {all, read, "s3:PutObject", policy.NotAllowed},
		"the boundary denies":     {all, document(statement("Allow", "*", "*"), statement("Deny", "s3:Put*", "*")), "s3:PutObject", policy.Denied},
		"the policy denies":       {document(statement("Allow", "*", "*"), statement("Deny", "s3:Put*", "*")), all, "s3:PutObject", policy.Denied},
		"a deny beyond the limit": {document(statement("Deny", "s3:Put*", "*")), read, "s3:PutObject", policy.Denied},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parse(t, tt.own).Within(parse(t, tt.boundary)[0], policy.Request{Action: tt.action, Resource: bucket + "/a"})
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Decision)
		})
	}
}

// TestConditions checks that values are alternatives, and that all keys and operators
// must match.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-logic-multiple-context-keys-or-values.html
func TestConditions(t *testing.T) {
	type context = map[string][]string
	cluster := "arn:aws:ecs:us-east-1:1:cluster/a"
	tests := map[string]struct {
		condition string
		context   context
		want      bool
	}{
		"equal":                             {`{"StringEquals": {"k": "a"}}`, context{"k": {"a"}}, true},
		"the key's case":                    {`{"StringEquals": {"AWS:k": "a"}}`, context{"aws:K": {"a"}}, true},
		"the value's case":                  {`{"StringEquals": {"k": "a"}}`, context{"k": {"A"}}, false},
		"which does not matter":             {`{"StringEqualsIgnoreCase": {"k": "a"}}`, context{"k": {"A"}}, true},
		"one of many":                       {`{"StringEquals": {"k": ["a", "b"]}}`, context{"k": {"b"}}, true},
		"none of many":                      {`{"StringEquals": {"k": ["a", "b"]}}`, context{"k": {"c"}}, false},
		"no key":                            {`{"StringEquals": {"k": "a"}}`, nil, false},
		"a key with nothing":                {`{"StringEquals": {"k": ""}}`, context{"k": nil}, false},
		"no wildcard in equals":             {`{"StringEquals": {"k": "*"}}`, context{"k": {"a"}}, false},
		"two keys":                          {`{"StringEquals": {"k": "a", "l": "b"}}`, context{"k": {"a"}, "l": {"b"}}, true},
		"one of two keys":                   {`{"StringEquals": {"k": "a", "l": "b"}}`, context{"k": {"a"}}, false},
		"two operators":                     {`{"StringEquals": {"k": "a"}, "Bool": {"l": "true"}}`, context{"k": {"a"}, "l": {"false"}}, false},
		"not equal":                         {`{"StringNotEquals": {"k": ["a", "b"]}}`, context{"k": {"c"}}, true},
		"equal to one":                      {`{"StringNotEquals": {"k": ["a", "b"]}}`, context{"k": {"b"}}, false},
		"not equal, no key":                 {`{"StringNotEquals": {"k": "a"}}`, nil, true},
		"not equal in any case":             {`{"StringNotEqualsIgnoreCase": {"k": "a"}}`, context{"k": {"A"}}, false},
		"like":                              {`{"StringLike": {"k": "repo:a/*:ref"}}`, context{"k": {"repo:a/b:ref"}}, true},
		"unlike":                            {`{"StringLike": {"k": "repo:a/*:ref"}}`, context{"k": {"repo:b/b:ref"}}, false},
		"not like":                          {`{"StringNotLike": {"k": "a*"}}`, context{"k": {"ab"}}, false},
		"if it exists":                      {`{"StringEqualsIfExists": {"k": "a"}}`, nil, true},
		"it exists":                         {`{"StringEqualsIfExists": {"k": "a"}}`, context{"k": {"b"}}, false},
		"an ARN":                            {`{"ArnEquals": {"k": "` + cluster + `"}}`, context{"k": {cluster}}, true},
		"an ARN's end":                      {`{"ArnLike": {"k": "arn:aws:ecs:*:1:cluster/*"}}`, context{"k": {cluster}}, true},
		"a wildcard in ArnEquals":           {`{"ArnEquals": {"k": "arn:aws:ecs:*:1:cluster/?"}}`, context{"k": {cluster}}, true},
		"a wildcard across parts":           {`{"ArnLike": {"k": "arn:aws:ecs:*:cluster/*"}}`, context{"k": {cluster}}, false},
		"an ARN of fewer parts":             {`{"ArnLike": {"k": "arn:*"}}`, context{"k": {cluster}}, false},
		"no ARN":                            {`{"ArnLike": {"k": "` + cluster + `"}}`, context{"k": {"a"}}, false},
		"no ARN, if it exists":              {`{"ArnLikeIfExists": {"k": "` + cluster + `"}}`, nil, true},
		"another ARN":                       {`{"ArnNotEquals": {"k": "` + cluster + `"}}`, context{"k": {cluster + "b"}}, true},
		"an ARN unlike":                     {`{"ArnNotLike": {"k": "arn:aws:ecs:*:*:cluster/*"}}`, context{"k": {cluster}}, false},
		"true":                              {`{"Bool": {"k": "true"}}`, context{"k": {"True"}}, true},
		"false":                             {`{"Bool": {"k": "true"}}`, context{"k": {"false"}}, false},
		"not there":                         {`{"Null": {"k": "true"}}`, nil, true},
		"there":                             {`{"Null": {"k": "true"}}`, context{"k": {"a"}}, false},
		"there, as wanted":                  {`{"Null": {"k": "false"}}`, context{"k": {"a"}}, true},
		"any of the values":                 {`{"ForAnyValue:StringEquals": {"k": ["a", "b"]}}`, context{"k": {"x", "b"}}, true},
		"none of the values":                {`{"ForAnyValue:StringEquals": {"k": ["a", "b"]}}`, context{"k": {"x", "y"}}, false},
		"any of none":                       {`{"ForAnyValue:StringLike": {"k": "*"}}`, nil, false},
		"any of none, not equal":            {`{"ForAnyValue:StringNotEquals": {"k": "a"}}`, nil, false},
		"all of the values":                 {`{"ForAllValues:StringEquals": {"k": ["a", "b", "c"]}}`, context{"k": {"b", "a"}}, true},
		"not all of the values":             {`{"ForAllValues:StringEquals": {"k": ["a", "b"]}}`, context{"k": {"b", "x"}}, false},
		"all of none, which holds":          {`{"ForAllValues:StringEquals": {"k": "a"}}`, nil, true},
		"all of none, and it must be there": {`{"ForAllValues:StringEquals": {"k": "a"}, "Null": {"k": "false"}}`, nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parse(t, document(statement("Allow", "s3:*", "*", `"Condition": `+tt.condition))).Decide(policy.Request{Action: "s3:GetObject", Resource: bucket, Context: tt.context})
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Decision == policy.Allowed)
		})
	}
	t.Run("many values where one is compared", func(t *testing.T) {
		limit := document(statement("Allow", "s3:*", "*", `"Condition": {"StringEquals": {"k": "a"}}`))
		many := policy.Request{Action: "s3:GetObject", Resource: bucket, Context: context{"k": {"a", "b"}}}
		_, err := parse(t, limit).Decide(many)
		require.EqualError(t, err, "deciding on s3:GetObject: statement Allow s3:*: StringEquals compares one value, and k has 2: write ForAnyValue:StringEquals")
		_, err = parse(t, document(statement("Allow", "s3:*", "*"))).Within(parse(t, limit)[0], many)
		require.ErrorContains(t, err, "the boundary: ")
	})
}

func TestPrincipals(t *testing.T) {
	of := func(principal string) string {
		return document(`{"Effect": "Allow", "Principal": ` + principal + `, "Action": "sts:AssumeRole"}`)
	}
	ask := policy.Request{Action: "sts:AssumeRole", Resource: "*"}
	ask.Principal.Kind, ask.Principal.Name = "Service", "ecs-tasks.amazonaws.com"
	for principal, want := range map[string]policy.Decision{
		`"*"`:                                    policy.Allowed,
		`{"Service": "ecs-tasks.amazonaws.com"}`: policy.Allowed,
		`{"Service": ["a", "ecs-tasks.amazonaws.com"]}`: policy.Allowed,
		`{"Service": "ecs.amazonaws.com"}`:              policy.NotAllowed,
		`{"AWS": "ecs-tasks.amazonaws.com"}`:            policy.NotAllowed,
	} {
		d, err := policy.ParseTrust(of(principal))
		require.NoError(t, err, principal)
		got, err := policy.Policies{d}.Decide(ask)
		require.NoError(t, err)
		require.Equal(t, want, got.Decision, principal)
	}
}

// TestUnknown checks that unsupported elements are rejected, not ignored.
func TestUnknown(t *testing.T) {
	allow := func(more string) string { return document(`{"Effect": "Allow", "Action": "a:b", ` + more + `}`) }
	when := func(condition string) string { return allow(`"Resource": "*", "Condition": ` + condition) }
	for text, want := range map[string]string{
		`{`: "EOF",
		`{"Version": "2012-10-17", "Statement": []}`:                                     "it has no statement",
		`{"Version": "2008-10-17", "Statement": [` + statement("Allow", "*", "*") + `]}`: `version "2008-10-17" is not evaluated here`,
		`{"Version": "2012-10-17", "Statements": []}`:                                    `unknown field "Statements"`,
		document(statement("Allow", "*", "*")) + `{}`:                                    "there is more behind the document",
		document(statement("allow", "*", "*")):                                           `effect "allow": write Allow or Deny`,
		allow(`"Resource": "*", "Resources": "*"`):                                       `unknown field "Resources"`,
		allow(`"Resource": "*", "NotPrincipal": "*"`):                                    `unknown field "NotPrincipal"`,
		allow(`"Resource": 1`):                                                           "1 is neither a text nor a list of texts",
		allow(`"Resource": []`):                                                          "[] is neither a text nor a list of texts",
		allow(`"Resource": "*", "NotResource": "*"`):                                     "either Resource or NotResource",
		allow(`"Resource": "*", "NotAction": "*"`):                                       "either Action or NotAction",
		allow(`"Sid": "x"`):                                                              "statement 1 (x): it has to have either Resource or NotResource",
		allow(`"Resource": "arn:aws:s3:::${aws:username}"`):                              "policy variable",
		allow(`"Resource": "s3"`):                                                        "is neither an ARN nor *",
		allow(`"Resource": "arn:aws:ecs:*:1:service/a"`):                                 "a wildcard before its last part",
		allow(`"Resource": "*", "Principal": 1`):                                         "reading Principal",
		allow(`"Resource": "*", "Principal": {"CanonicalUser": "x"}`):                    `principals of the kind "CanonicalUser"`,
		when(`{"StringEquals": {"k": "a"}, "StringEquals": {"l": "b"}}`):                 `it has "StringEquals" twice in one object`,
		when(`{"StringEquals": {"k": "a", "K": "b"}}`):                                   `it has "K" twice in one object`,
		when(`{"StringEquals": {"k": "${aws:username}"}}`):                               "policy variable",
		when(`{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}`):                            "condition operator IpAddress is not evaluated here",
		when(`{"NumericLessThan": {"k": "1"}}`):                                          "condition operator NumericLessThan",
		when(`{"ForSomeValues:StringEquals": {"k": "1"}}`):                               "condition operator ForSomeValues:StringEquals",
		when(`{"ForAnyValue:Null": {"k": "true"}}`):                                      "condition operator ForAnyValue:Null",
		when(`{"NullIfExists": {"k": "true"}}`):                                          "condition operator NullIfExists",
		when(`{"Bool": {"k": "maybe"}}`):                                                 "Bool of k takes true or false",
		when(`{"Null": {"k": "maybe"}}`):                                                 "Null of k takes true or false",
		document(`{"Effect": "Allow", "Action": [{"a": 1, "A": 2}], "Resource": "*"}`):   `it has "A" twice`,
	} {
		_, err := policy.Parse(text)
		require.ErrorContains(t, err, want, text)
	}
	for text, want := range map[string]string{
		allow(`"Principal": "*", "Resource": "*"`): "a trust policy has no Resource",
		allow(`"Sid": "x"`):                        "a trust policy names its Principal",
	} {
		_, err := policy.ParseTrust(text)
		require.ErrorContains(t, err, want, text)
	}
}
