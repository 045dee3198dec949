package infra

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// planted is a secret in a plan. No seed and no mutation of one, in quotes,
// contains it elsewhere.
const planted = "hunter2-correct-horse"

// bigPlan returns a plan of n resources, each with a sensitive attribute.
func bigPlan(n int) []byte {
	kinds := []string{"aws_ecs_service", "aws_lb_listener_rule", "aws_subnet", "aws_iam_role", "aws_cloudwatch_log_group", "aws_ecr_repository", "aws_s3_bucket"}
	actions := []string{`"no-op"`, `"update"`, `"create"`, `"delete"`, `"delete","create"`}
	var changes, config, values []string
	for i := range n {
		kind := kinds[i%len(kinds)]
		attributes := func(v int) string {
			return fmt.Sprintf(`{"name":"n%d","password":"%s-%d","tags":{"a":"%d","b":"x"},"list":["a","b","%d"],"policy":"{\"Statement\":[{\"Action\":[\"s3:Get%d\",\"s3:List\"],\"Resource\":\"*\"}]}","block":[{"a":%d,"b":{"c":[1,2,%d]}}]}`, i, planted, v, v, v, v, v, v)
		}
		before, after, action := attributes(1), attributes(2), actions[i%len(actions)]
		switch action {
		case `"no-op"`:
			after = before
		case `"create"`:
			before = "null"
		case `"delete"`:
			after = "null"
		}
		address := fmt.Sprintf(`"address":"%s.r%d","mode":"managed","type":"%s","name":"r%d"`, kind, i, kind, i)
		changes = append(changes, fmt.Sprintf(`{%s,"change":{"actions":[%s],"before":%s,"after":%s,"after_unknown":{"arn":true},"before_sensitive":{"password":true},"after_sensitive":{"password":true},"replace_paths":[["name"]]}}`, address, action, before, after))
		config = append(config, fmt.Sprintf(`{%s,"expressions":{"x":{"references":["%s.r%d.id","%s.r%d"]},"password":{"constant_value":"%s"}}}`, address, kinds[(i+1)%len(kinds)], (i+1)%n, kinds[(i+1)%len(kinds)], (i+1)%n, planted))
		values = append(values, fmt.Sprintf(`{%s,"values":%s,"sensitive_values":{"password":true}}`, address, attributes(1)))
	}
	state := `{"root_module":{"resources":[` + strings.Join(values, ",") + `]}}`
	return []byte(`{"format_version":"1.2","terraform_version":"1.11.4","resource_changes":[` + strings.Join(changes, ",") +
		`],"configuration":{"root_module":{"resources":[` + strings.Join(config, ",") + `]}},"planned_values":` + state +
		`,"prior_state":{"format_version":"1.0","values":` + state + `}}`)
}

// everything returns all documents about a plan.
func everything(document []byte) (string, error) {
	s, err := newShownPlan(document, false)
	if err != nil {
		return "", err
	}
	p := SavedPlan{Summary: s.summary}
	var all strings.Builder
	all.Write(s.document)
	for _, write := range []func() error{
		func() error { return p.Text(&all) },
		func() error { return p.Markdown(&all) },
		func() error { return p.JSON(&all) },
	} {
		if err := write(); err != nil {
			return "", err
		}
	}
	return all.String(), nil
}

func TestLargePlanHasNoSecret(t *testing.T) {
	all, err := everything(bigPlan(500))
	require.NoError(t, err)
	require.NotContains(t, all, planted)
	require.Contains(t, all, "Plan: 100 destroyed, 100 replaced, 100 updated, 100 created.")
}

// FuzzPlan reads documents of any shape with a marked secret: nothing panics, and
// no document contains the secret.
func FuzzPlan(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[{}]`, `{"actions":["create"],"before":null,"after":{"a":[1]}}`, `{"address":"a.b","change":{"actions":["update"],"before":{"x":"{}"},"after":{"x":"[]"}}}`,
		`{"root_module":{"resources":[{"type":"a","name":"b","expressions":{"x":[{"y":{"references":["module.m.o"]}}]}}],"module_calls":{"m":{"module":{}}}}}`,
		`{"o":{"actions":["create"],"after_unknown":true}}`, `[{"address":{"to_display":"c"},"instances":[{"problems":[{"message":"m"}]}]}]`,
	} {
		f.Add(seed, "resource_changes", `["create"]`)
		f.Add(seed, "configuration", `["delete","create"]`)
		f.Add(seed, "checks", `["forget"]`)
	}
	f.Fuzz(func(t *testing.T, value, section, actions string) {
		var other any
		var list []string
		if json.Unmarshal([]byte(value), &other) != nil || json.Unmarshal([]byte(actions), &list) != nil || strings.Contains(value+section+actions, planted) {
			t.Skip("not JSON")
		}
		change := map[string]any{
			"address": "a.b", "mode": "managed", "type": "a", "name": "b", "change": map[string]any{
				"actions": list, "before": map[string]any{"p": planted, "x": other}, "after": map[string]any{"p": planted + "2", "x": other},
				"before_sensitive": map[string]any{"p": true}, "after_sensitive": map[string]any{"p": true}, "after_unknown": other, "replace_paths": []any{[]any{"x"}, other},
			},
		}
		plan := map[string]any{
			"format_version": "1.2", "resource_changes": []any{change}, "resource_drift": []any{change},
			"output_changes": map[string]any{"o": map[string]any{"actions": list, "before": planted, "after": planted, "before_sensitive": true, "after_sensitive": true}},
		}
		if _, taken := plan[section]; !taken {
			plan[section] = other
		}
		document, err := json.Marshal(plan)
		require.NoError(t, err)
		if all, err := everything(document); err == nil {
			require.NotContains(t, all, planted)
		}
	})
}

// BenchmarkPlan creates all documents about a plan of 500 resources, which must
// take less than a second.
func BenchmarkPlan(b *testing.B) {
	document := bigPlan(500)
	b.SetBytes(int64(len(document)))
	for b.Loop() {
		if _, err := everything(document); err != nil {
			b.Fatal(err)
		}
	}
}
