package redact_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra/redact"
)

// secret is the value of everything that Terraform marks as sensitive.
const secret = "hunter2-correct-horse"

func TestPlanRedactsMarkedValues(t *testing.T) {
	tests := map[string]struct{ plan, want string }{
		"a variable": {
			`{"variables":{"password":{"value":"` + secret + `"},"region":{"value":"us-east-1"}},"configuration":{"root_module":{"variables":{"password":{"sensitive":true,"default":"` + secret + `"},"region":{}}}}}`,
			`{"variables":{"password":{"value":"(sensitive value)"},"region":{"value":"us-east-1"}},"configuration":{"root_module":{"variables":{"password":{"sensitive":true,"default":"(sensitive value)"},"region":{}}}}}`,
		},
		"an attribute that changes": {
			`{"resource_changes":[{"change":{"before":{"p":"` + secret + `","n":1},"after":{"p":"other-secret","n":2},"before_sensitive":{"p":true},"after_sensitive":{"p":true}}}]}`,
			`{"resource_changes":[{"change":{"before":{"p":"(sensitive value)","n":1},"after":{"p":"(sensitive value, changes)","n":2},"before_sensitive":{"p":true},"after_sensitive":{"p":true}}}]}`,
		},
		"an attribute that stays": {
			`{"resource_drift":[{"change":{"before":{"p":"` + secret + `"},"after":{"p":"` + secret + `"},"before_sensitive":{"p":true},"after_sensitive":{"p":true}}}]}`,
			`{"resource_drift":[{"change":{"before":{"p":"(sensitive value)"},"after":{"p":"(sensitive value)"},"before_sensitive":{"p":true},"after_sensitive":{"p":true}}}]}`,
		},
		"one that becomes public stays hidden": {
			`{"output_changes":{"o":{"before":"` + secret + `","after":"` + secret + `","before_sensitive":true,"after_sensitive":false}}}`,
			`{"output_changes":{"o":{"before":"(sensitive value)","after":"(sensitive value)","before_sensitive":true,"after_sensitive":false}}}`,
		},
		"an element of a list": {
			`{"c":{"before":null,"after":{"l":[{"v":"` + secret + `"},{"v":"b"}]},"before_sensitive":false,"after_sensitive":{"l":[{"v":true},{}]}}}`,
			`{"c":{"before":null,"after":{"l":[{"v":"(sensitive value)"},{"v":"b"}]},"before_sensitive":false,"after_sensitive":{"l":[{"v":true},{}]}}}`,
		},
		"values of a state, and what is not set": {
			`{"prior_state":{"values":{"root_module":{"resources":[{"values":{"a":["` + secret + `"],"b":null,"n":12345678901234567890},"sensitive_values":{"a":true,"b":true}}]},"outputs":{"o":{"sensitive":true,"value":"` + secret + `"}}}}}`,
			`{"prior_state":{"values":{"root_module":{"resources":[{"values":{"a":"(sensitive value)","b":null,"n":12345678901234567890},"sensitive_values":{"a":true,"b":true}}]},"outputs":{"o":{"sensitive":true,"value":"(sensitive value)"}}}}}`,
		},
		"literals of the configuration": {
			`{"resource_changes":[{"type":"db","change":{"before":null,"after":{"password":"x"},"before_sensitive":false,"after_sensitive":{"password":true}}}],
			  "configuration":{"provider_config":{"aws":{"expressions":{"secret_key":{"constant_value":"` + secret + `"},"region":{"references":["var.r"]}}}},
			  "root_module":{"resources":[{"type":"db","expressions":{"password":{"constant_value":"p"},"size":{"constant_value":3}},"provisioners":[{"expressions":{"command":{"constant_value":"curl p"}}}]}],
			  "outputs":{"o":{"sensitive":true,"expression":{"constant_value":"q"}}},
			  "module_calls":{"m":{"expressions":{"token":{"constant_value":"t"},"n":{"constant_value":1}},"module":{"variables":{"token":{"sensitive":true},"n":{}},"resources":[{"type":"db","expressions":{"password":{"constant_value":"p"}}}]}}}}}}`,
			`{"resource_changes":[{"type":"db","change":{"before":null,"after":{"password":"(sensitive value)"},"before_sensitive":false,"after_sensitive":{"password":true}}}],
			  "configuration":{"provider_config":{"aws":{"expressions":{"secret_key":{"constant_value":"(sensitive value)"},"region":{"references":["var.r"]}}}},
			  "root_module":{"resources":[{"type":"db","expressions":{"password":{"constant_value":"(sensitive value)"},"size":{"constant_value":3}},"provisioners":[{"expressions":{"command":{"constant_value":"(sensitive value)"}}}]}],
			  "outputs":{"o":{"sensitive":true,"expression":{"constant_value":"(sensitive value)"}}},
			  "module_calls":{"m":{"expressions":{"token":{"constant_value":"(sensitive value)"},"n":{"constant_value":1}},"module":{"variables":{"token":{"sensitive":true},"n":{}},"resources":[{"type":"db","expressions":{"password":{"constant_value":"(sensitive value)"}}}]}}}}}}`,
		},
		"a copy elsewhere": {
			`{"variables":{"p":{"value":"` + secret + `"},"n":{"value":123456789}},"configuration":{"root_module":{"variables":{"p":{"sensitive":true},"n":{"sensitive":true}}}},"checks":[{"problems":[{"message":"no good: ` + secret + `"}]}],"resource_changes":[{"type":"t","change":{"after":{"url":"http://u:` + secret + `@h/","type":"` + secret + `","port":123456789}}}]}`,
			`{"variables":{"p":{"value":"(sensitive value)"},"n":{"value":"(sensitive value)"}},"configuration":{"root_module":{"variables":{"p":{"sensitive":true},"n":{"sensitive":true}}}},"checks":[{"problems":[{"message":"(sensitive value)"}]}],"resource_changes":[{"type":"t","change":{"after":{"url":"(sensitive value)","type":"(sensitive value)","port":"(sensitive value)"}}}]}`,
		},
		"a provider's settings": {
			`{"configuration":{"provider_config":{"aws":{"expressions":{"region":{"constant_value":"us-east-1"},"token":{"constant_value":"` + secret + `"}}}}},"r":{"values":{"arn":"arn:aws:x:us-east-1:1","t":"` + secret + `"}}}`,
			`{"configuration":{"provider_config":{"aws":{"expressions":{"region":{"constant_value":"(sensitive value)"},"token":{"constant_value":"(sensitive value)"}}}}},"r":{"values":{"arn":"arn:aws:x:us-east-1:1","t":"(sensitive value)"}}}`,
		},
		"a secret equal to a structural word": {
			`{"variables":{"p":{"value":"create"}},"configuration":{"root_module":{"variables":{"p":{"sensitive":true}}}},"resource_changes":[{"address":"a.create","change":{"actions":["create"],"after":{"mode":"create"}}}]}`,
			`{"variables":{"p":{"value":"(sensitive value)"}},"configuration":{"root_module":{"variables":{"p":{"sensitive":true}}}},"resource_changes":[{"address":"a.create","change":{"actions":["create"],"after":{"mode":"(sensitive value)"}}}]}`,
		},
		"an action, and configuration made for an import": {
			`{"action_invocations":[{"config_values":{"k":"` + secret + `"},"config_sensitive":{"k":true}}],"r":{"before":null,"after":{"k":"v"},"after_sensitive":{"k":true},"generated_config":"k = v"}}`,
			`{"action_invocations":[{"config_values":{"k":"(sensitive value)"},"config_sensitive":{"k":true}}],"r":{"before":null,"after":{"k":"(sensitive value)"},"after_sensitive":{"k":true},"generated_config":"(sensitive value)"}}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, _, err := redact.Plan([]byte(tt.plan))
			require.NoError(t, err)
			require.JSONEq(t, tt.want, string(got))
			require.NotContains(t, string(got), secret)
		})
	}
}

func TestPlanKeepsNumbers(t *testing.T) {
	got, _, err := redact.Plan([]byte(`{"n":12345678901234567890.5,"html":"<a>&"}`))
	require.NoError(t, err)
	require.Contains(t, string(got), `"html":"<a>&","n":12345678901234567890.5`)
}

func TestPlanInvalid(t *testing.T) {
	for _, document := range []string{"", "{", "[]", "null", `{}{}`, `"text"`} {
		_, _, err := redact.Plan([]byte(document))
		require.ErrorContains(t, err, "reading the plan as JSON", document)
	}
}

// FuzzPlan adds any document to planted secrets: nothing panics, and the secrets
// are redacted.
func FuzzPlan(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"before":[1,{"a":null}],"after":{"a":[true]}}`, `{"a":{"b":"c"},"l":[[],{}]}`, `null`, `7`, `"text"`,
		`{"change":{"before":[1],"before_sensitive":{"a":true},"after_sensitive":[[true]]}}`,
	} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		var oldValue, newValue any
		if json.Unmarshal([]byte(before), &oldValue) != nil || json.Unmarshal([]byte(after), &newValue) != nil ||
			strings.Contains(before+after, secret) {
			t.Skip("not JSON")
		}
		document, err := json.Marshal(map[string]any{
			"other":     oldValue,
			"variables": map[string]any{"p": map[string]any{"value": []any{secret, newValue}}},
			"resource_changes": []any{oldValue, map[string]any{"type": "t", "change": map[string]any{
				"before": map[string]any{"x": oldValue, "p": secret}, "before_sensitive": map[string]any{"p": true, "x": newValue},
				"after": map[string]any{"x": newValue, "p": []any{secret, "q"}}, "after_sensitive": map[string]any{"p": []any{true}, "x": oldValue},
			}}, newValue},
			"configuration": map[string]any{"root_module": map[string]any{"variables": map[string]any{"p": map[string]any{"sensitive": true}}}, "x": oldValue},
		})
		require.NoError(t, err)
		got, _, err := redact.Plan(document)
		require.NoError(t, err)
		require.NotContains(t, string(got), secret)
		require.True(t, json.Valid(got))
	})
}
