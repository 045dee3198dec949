package summary_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra/redact"
	"github.com/slipway-cd/slipway/ci/internal/infra/summary"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// resource returns an entry of resource_changes.
func resource(address, actions, rest string) string {
	kind, name, _ := strings.Cut(address, ".")
	return fmt.Sprintf(`{"address":%q,"mode":"managed","type":%q,"name":%q,"change":{"actions":[%s]%s}}`, address, kind, name, actions, rest)
}

func document(sections ...string) string {
	return `{"format_version":"1.2","terraform_version":"1.11.4",` + strings.Join(sections, ",") + `}`
}

func changes(resources ...string) string {
	return `"resource_changes":[` + strings.Join(resources, ",") + `]`
}

func summarise(t *testing.T, document string) summary.Summary {
	t.Helper()
	redacted, _, err := redact.Plan([]byte(document))
	require.NoError(t, err)
	plan, err := summary.Parse(redacted)
	require.NoError(t, err)
	return summary.New(plan, false)
}

const everything = `{"format_version":"1.2","terraform_version":"1.11.4",
"resource_changes":[
 {"address":"aws_ecs_service.api","mode":"managed","type":"aws_ecs_service","name":"api","change":{"actions":["update"],
   "before":{"desired_count":1,"subnets":["a","b"],"tags":{"a/b":"1"},"policy":"{\"Statement\":[{\"Action\":\"s3:Get*\"}]}","same":1},
   "after":{"desired_count":2,"subnets":["c","a"],"tags":{},"policy":"{\"Statement\":[{\"Action\":\"s3:*\"}]}","same":1},
   "after_unknown":{"revision":true},"before_sensitive":{},"after_sensitive":{}}},
 {"address":"aws_lb.main","mode":"managed","type":"aws_lb","name":"main","action_reason":"replace_because_cannot_update","change":{"actions":["delete","create"],
   "before":{"name":"old","id":"arn:1","off":false,"none":0},"after":{"name":"new"},"after_unknown":{"id":true},"before_sensitive":{},"after_sensitive":{},"replace_paths":[["name"]]}},
 {"address":"aws_vpc.old","mode":"managed","type":"aws_vpc","name":"old","action_reason":"delete_because_no_resource_config","change":{"actions":["delete"],"before":{"id":"vpc-1"},"after":null}},
 {"address":"aws_sns_topic.new[\"x\"]","mode":"managed","type":"aws_sns_topic","name":"new","change":{"actions":["create"],"before":null,"after":{"name":"t","fifo":false,"nothing":null,"none":[],"tags_all":{"a":"b"}},"after_unknown":{"arn":true}}},
 {"address":"aws_eip.kept","mode":"managed","type":"aws_eip","name":"kept","change":{"actions":["forget"],"before":{},"after":null}},
 {"address":"aws_kms_key.in","mode":"managed","type":"aws_kms_key","name":"in","change":{"actions":["no-op"],"before":{},"after":{},"importing":{"id":"key-1"}}},
 {"address":"aws_kms_key.moved","previous_address":"aws_kms_key.was","mode":"managed","type":"aws_kms_key","name":"moved","change":{"actions":["no-op"],"before":{},"after":{}}},
 {"address":"data.aws_ami.x","mode":"data","type":"aws_ami","name":"x","action_reason":"read_because_dependency_pending","change":{"actions":["read"],"before":null,"after":{"owner":"me"}}},
 {"address":"aws_s3_bucket.same","mode":"managed","type":"aws_s3_bucket","name":"same","change":{"actions":["no-op"],"before":{},"after":{}}},
 {"address":"aws_lambda_function.f","mode":"managed","type":"aws_lambda_function","name":"f","deposed":"0badcafe","action_reason":"something_new","change":{"actions":["delete"],"before":{},"after":null}},
 {"address":"aws_later.x","mode":"managed","type":"aws_later","name":"x","change":{"actions":["transmute"],"before":{"a":1},"after":{"a":2}}}
],
"resource_drift":[
 {"address":"aws_ecs_service.api","mode":"managed","type":"aws_ecs_service","name":"api","change":{"actions":["update"],"before":{"desired_count":1},"after":{"desired_count":5},"before_sensitive":{},"after_sensitive":{}}},
 {"address":"aws_eip.same","mode":"managed","type":"aws_eip","name":"same","change":{"actions":["update"],"before":{"tags":null},"after":{"tags":{}}}},
 {"address":"aws_vpc.gone","mode":"managed","type":"aws_vpc","name":"gone","change":{"actions":["delete"],"before":{},"after":null}},
 {"address":"aws_kms_key.moved","previous_address":"aws_kms_key.was","mode":"managed","type":"aws_kms_key","name":"moved","change":{"actions":["no-op"],"before":{},"after":{}}}
],
"deferred_changes":[{"reason":"x","resource_change":{"address":"aws_late.r","change":{"actions":["create"]}}}],
"output_changes":{"url":{"actions":["update"],"before":"http://a","after":"http://b"},"id":{"actions":["create"],"before":null,"after_unknown":true},"gone":{"actions":["delete"],"before":1,"after":null},"same":{"actions":["no-op"],"before":1,"after":1}},
"checks":[{"address":{"kind":"check","to_display":"check.dns"},"status":"fail","instances":[{"address":{"to_display":"check.dns"},"status":"fail","problems":[{"message":"no\n answer"}]}]}]
}`

func TestNew(t *testing.T) {
	s := summarise(t, everything)

	require.Equal(t, "Plan: 2 destroyed, 1 replaced, 2 updated, 1 created, 1 removed from the state (not destroyed), 1 imported, 1 moved, 1 read, 3 outputs changed.", s.Headline())
	require.True(t, s.Changes())
	var order []string
	for _, r := range s.Resources {
		order = append(order, string(r.Action)+" "+r.Address)
	}
	require.Equal(t, []string{
		"destroy aws_lambda_function.f (deposed 0badcafe)", "destroy aws_vpc.old", "replace aws_lb.main", "update aws_ecs_service.api", "update aws_later.x",
		`create aws_sns_topic.new["x"]`, "forget aws_eip.kept", "import aws_kms_key.in", "move aws_kms_key.moved", "read data.aws_ami.x",
	}, order)
	require.Equal(t, []string{"check.dns: no answer"}, s.Checks)
	require.Equal(t, []string{"aws_late.r"}, s.Deferred)
	var doomed []string
	for _, d := range s.Destroyed() {
		doomed = append(doomed, fmt.Sprint(d.Address, " ", d.Replaced))
	}
	require.Equal(t, []string{"aws_lambda_function.f (deposed 0badcafe) false", "aws_vpc.old false", "aws_lb.main true"}, doomed)
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, summarise(t, everything).Text(&b))
	for _, want := range []string{
		"\ndestroy aws_lambda_function.f (deposed 0badcafe): something new (lost: a program, with its versions and history)\n",
		"\ndestroy aws_vpc.old: it is no longer in the configuration (lost: the network, with everything in it)\n",
		"\nreplace aws_lb.main: name cannot be updated in place (lost: the load balancer, and its DNS name)\n  ! name: \"old\" -> \"new\"  # forces replacement\n  … and 1 known after apply\n",
		"\nupdate aws_ecs_service.api\n  ! desired_count: 1 -> 2\n  ! policy.Statement[0].Action: \"s3:Get*\" -> \"s3:*\"\n  + revision = (known after apply)\n  ! subnets[0]: \"b\" -> \"c\"\n  - tags[\"a/b\"] = \"1\"\n",
		"\ncreate aws_sns_topic.new[\"x\"]\n  + fifo = false\n  + name = \"t\"\n\n",
		"\nforget aws_eip.kept\n", "\nimport aws_kms_key.in, imported: key-1\n", "\nmove aws_kms_key.moved, moved from aws_kms_key.was\n",
		"\nread data.aws_ami.x: a dependency changes\n  + owner = \"me\"\n",
		"\nOutputs:\n  - gone = 1\n  + id = (known after apply)\n  ! url: \"http://a\" -> \"http://b\"\n",
		"\nChanged outside of Terraform:\n\ndestroy aws_vpc.gone: it was deleted\n\nupdate aws_ecs_service.api\n  ! desired_count: 1 -> 5\n",
		"\ncheck failed: check.dns: no answer\n", "\ndeferred to a later plan: aws_late.r\n",
	} {
		require.Contains(t, b.String(), want)
	}
	require.NotContains(t, b.String(), "same")
}

func TestMarkdown(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, summarise(t, everything).Markdown(&b))
	for _, want := range []string{
		"| destroy | replace | update | create | forget | import | move | read |\n|---:|---:|",
		"> [!CAUTION]\n> This destroys resources that cannot be recreated without loss. It is refused unless each is allowed with `--allow-destroy`:\n> - `aws_lambda_function.f (deposed 0badcafe)`: a program, with its versions and history\n> - `aws_vpc.old`: the network, with everything in it\n> - `aws_lb.main`: ",
		"> [!WARNING]\n> check failed: check.dns: no answer\n",
		"<details open><summary><b>replace</b> <code>aws_lb.main</code>: name cannot be updated in place",
		"<b>destroy</b> <code>aws_vpc.old</code>: it is no longer in the configuration",
		"#### Outputs\n\n```diff\n- gone = 1\n",
		"Deferred to a later plan: `aws_late.r`\n",
		"#### Changed outside of Terraform\n\n<b>destroy</b> <code>aws_vpc.gone</code>: it was deleted\n",
	} {
		require.Contains(t, b.String(), want)
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, summarise(t, everything).JSON(&b))
	var got struct {
		Counts    map[string]int
		Resources []struct{ Address, Action, Because, Loss string }
		Drift     []struct{ Address string }
	}
	require.NoError(t, json.Unmarshal(b.Bytes(), &got))
	require.Equal(t, 2, got.Counts["destroy"])
	require.Equal(t, "it is no longer in the configuration", got.Resources[1].Because)
	require.Len(t, got.Drift, 2)
}

func TestNoChange(t *testing.T) {
	s := summarise(t, document(changes(resource("aws_vpc.a", `"no-op"`, ""))))
	require.False(t, s.Changes())
	require.Equal(t, "No changes: the infrastructure matches the configuration.", s.Headline())

	plan, err := summary.Parse([]byte(everything))
	require.NoError(t, err)
	drift := summary.New(plan, true)
	require.Equal(t, "Drift: 2 resources changed outside of Terraform.", drift.Headline())
	require.True(t, drift.Changes())
	require.Len(t, summary.Drift(plan), 2)
	plan.ResourceDrift, plan.ResourceChanges, plan.OutputChanges = nil, nil, nil
	require.Equal(t, "No drift: the infrastructure matches the state.", summary.New(plan, true).Headline())
}

func TestDataSourceReadIsNoChange(t *testing.T) {
	require.False(t, summarise(t, document(changes(resource("aws_ami.a", `"read"`, "")))).Changes())
}

func TestAttributes(t *testing.T) {
	tests := map[string]struct{ before, after, unknown, paths, want string }{
		"a list grows":              {`{"l":["a"]}`, `{"l":["a","b"]}`, `{}`, `[]`, "+ l[1] = \"b\""},
		"a list shrinks":            {`{"l":["a","b"]}`, `{"l":["b"]}`, `{}`, `[]`, "- l[0] = \"a\""},
		"another order":             {`{"l":["a","b"]}`, `{"l":["b","a"]}`, `{}`, `[]`, `! l: ["a","b"] -> ["b","a"]`},
		"twice the same":            {`{"l":["a","a"]}`, `{"l":["a"]}`, `{}`, `[]`, "- l[1] = \"a\""},
		"an unknown element":        {`{"l":["a"]}`, `{"l":["a",null]}`, `{"l":[false,true]}`, `[]`, "+ l[1] = (known after apply)"},
		"an unknown part":           {`{"l":[{"a":1,"b":2}]}`, `{"l":[{"a":1}]}`, `{"l":[{"b":true}]}`, `[]`, "! l[0].b: 2 -> (known after apply)"},
		"a block that forces":       {`{"b":[{"n":1,"m":1}]}`, `{"b":[{"n":2,"m":2}]}`, `{}`, `[["b",0,"n"],[],7]`, "! b[0].m: 1 -> 2\n! b[0].n: 1 -> 2  # forces replacement"},
		"all of a map forces":       {`{"b":{"n":1}}`, `{"b":{"n":2}}`, `{}`, `[["b"]]`, "! b.n: 1 -> 2  # forces replacement"},
		"another type":              {`{"x":"a"}`, `{"x":["a"]}`, `{}`, `[]`, `! x: "a" -> ["a"]`},
		"nothing and empty":         {`{"x":"","y":[],"z":null}`, `{"x":null,"y":null,"z":{}}`, `{}`, `[]`, ""},
		"a text that only looks so": {`{"x":"{a"}`, `{"x":"{b"}`, `{}`, `[]`, `! x: "{a" -> "{b"`},
		"numbers as written":        {`{"x":1.0}`, `{"x":12345678901234567890}`, `{}`, `[]`, "! x: 1.0 -> 12345678901234567890"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := summarise(t, document(changes(resource("aws_x.y", `"update"`, fmt.Sprintf(`,"before":%s,"after":%s,"after_unknown":%s,"replace_paths":%s`, tt.before, tt.after, tt.unknown, tt.paths)))))
			var b bytes.Buffer
			require.NoError(t, s.Text(&b))
			_, lines, _ := strings.Cut(b.String(), "update aws_x.y")
			_, lines, _ = strings.Cut(lines, "\n")
			require.Equal(t, tt.want, strings.TrimSpace(strings.ReplaceAll(lines, "\n  ", "\n")))
		})
	}
}

func TestLongValues(t *testing.T) {
	long := strings.Repeat("x", 500)
	s := summarise(t, document(changes(
		resource("aws_x.y", `"update"`, fmt.Sprintf(`,"before":{"v":"%sa"},"after":{"v":"%sb"}`, long, long)),
		resource("aws_x.z", `"create"`, fmt.Sprintf(`,"before":null,"after":{"v":"%s"}`, long)),
	)))
	var b bytes.Buffer
	require.NoError(t, s.Text(&b))
	require.Contains(t, b.String(), `! v: …xxxxxxxxxxxxxxxxxxxxa" -> …xxxxxxxxxxxxxxxxxxxxb"`+"\n")
	require.Contains(t, b.String(), `+ v = "xxxxx`)
	require.Less(t, b.Len(), 800)
}

func TestMarkdownLimit(t *testing.T) {
	var many, outputs []string
	for i := range 2000 {
		many = append(many, resource(fmt.Sprintf("aws_vpc.n%04d", i), `"delete","create"`, fmt.Sprintf(`,"before":{"a":"%s"},"after":{"a":"b"}`, strings.Repeat("y", 100))))
		outputs = append(outputs, fmt.Sprintf(`"o%04d":{"actions":["create"],"before":null,"after":"%s"}`, i, strings.Repeat("z", 60)))
	}
	s := summarise(t, document(changes(many...), `"resource_drift":[`+strings.Join(many, ",")+`]`, `"output_changes":{`+strings.Join(outputs, ",")+`}`))
	var b bytes.Buffer
	require.NoError(t, s.Markdown(&b))
	require.LessOrEqual(t, b.Len(), report.MarkdownLimit)
	for _, environments := range []int{2, 3, 8} { // that share a comment
		limit := report.MarkdownLimit / (environments + 1)
		require.LessOrEqual(t, len(s.MarkdownWithin(limit)), limit)
	}
	require.Contains(t, b.String(), "- and 1970 more\n", "of what is lost")
	require.Contains(t, b.String(), "Without their details, which are in plan.json:")
	require.Contains(t, b.String(), "2000 outputs changed: see plan.json.")
	require.Regexp(t, `- and \d+ more\n`, b.String())
}

func TestMarkdownEscapes(t *testing.T) {
	s := summarise(t, document(changes(
		resource("aws_x.y", `"update"`, `,"before":{"v":"a"},"after":{"v":"`+"````"+`\n</details><script>"}`),
		resource("aws_vpc.`y`<b>", `"delete"`, ""),
	)))
	var b bytes.Buffer
	require.NoError(t, s.Markdown(&b))
	require.Contains(t, b.String(), "\n`````diff\n! v: \"a\" -> \"````\\n</details><script>\"\n`````\n")
	require.Contains(t, b.String(), "> - <code>aws_vpc.`y`&lt;b&gt;</code>: ")
	require.Contains(t, b.String(), "<code>aws_vpc.`y`&lt;b&gt;</code>")
}

func TestParseInvalid(t *testing.T) {
	for _, document := range []string{`{}`, `{"format_version":"9.0"}`, `[]`} {
		_, err := summary.Parse([]byte(document))
		require.ErrorContains(t, err, "reading the plan: ")
	}
}
