package graph_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/infra/graph"
	"dagger/slipway/internal/infra/summary"
)

const platform = `{"format_version":"1.2","terraform_version":"1.11.4",
"resource_changes":[
 {"address":"aws_vpc.main","mode":"managed","type":"aws_vpc","name":"main","change":{"actions":["no-op"],"before":{"cidr_block":"10.0.0.0/16"},"after":{"cidr_block":"10.0.0.0/16"}}},
 {"address":"aws_lb.main","mode":"managed","type":"aws_lb","name":"main","change":{"actions":["update"],"before":{"n":1},"after":{"n":2}}},
 {"address":"aws_ecs_service.s[\"a]\"]","mode":"managed","type":"aws_ecs_service","name":"s","index":"a]","change":{"actions":["create"],"before":null,"after":{"n":2}}},
 {"address":"aws_ecs_service.s[\"b\"]","mode":"managed","type":"aws_ecs_service","name":"s","index":"b","change":{"actions":["delete"],"before":{},"after":null}},
 {"address":"aws_ecs_service.s[\"c\"]","mode":"managed","type":"aws_ecs_service","name":"s","index":"c","change":{"actions":["delete"],"before":{},"after":null}},
 {"address":"module.net[0].aws_subnet.a[0]","module_address":"module.net[0]","mode":"managed","type":"aws_subnet","name":"a","index":0,"change":{"actions":["no-op"],"before":{},"after":{}}},
 {"address":"data.aws_region.r","mode":"data","type":"aws_region","name":"r","change":{"actions":["read"],"before":null,"after":{}}},
 {"address":"aws_iam_role.<r>","mode":"managed","type":"aws_iam_role","name":"<r>","change":{"actions":["delete","create"],"before":{},"after":{}}}
],
"resource_drift":[{"address":"aws_vpc.main","mode":"managed","type":"aws_vpc","name":"main","change":{"actions":["update"],"before":{"t":1},"after":{"t":2}}}],
"configuration":{"root_module":{
 "resources":[
  {"address":"aws_vpc.main","mode":"managed","type":"aws_vpc","name":"main"},
  {"address":"aws_lb.main","mode":"managed","type":"aws_lb","name":"main","expressions":{"subnets":{"references":["module.net[0].ids","module.net[0]","local.x","data.aws_region.r.name","each.key","var.root","nothing"]},"access_logs":[{"bucket":{"references":["aws_vpc.main.id","aws_vpc.main"]}}]}},
  {"address":"aws_ecs_service.s","mode":"managed","type":"aws_ecs_service","name":"s","for_each_expression":{"references":["var.services"]},"depends_on":["aws_lb.main"]},
  {"address":"data.aws_region.r","mode":"data","type":"aws_region","name":"r"}],
 "module_calls":{"net":{"expressions":{"vpc":{"references":["aws_vpc.main.id","aws_vpc.main"]}},"module":{
   "outputs":{"ids":{"expression":{"references":["aws_subnet.a"]}}},
   "resources":[{"address":"aws_subnet.a","mode":"managed","type":"aws_subnet","name":"a","expressions":{"vpc_id":{"references":["var.vpc"]}}}]}},
  "empty":{}}
}}}`

func draw(t *testing.T, document string) string {
	t.Helper()
	plan, err := summary.Parse([]byte(document))
	require.NoError(t, err)
	picture := string(graph.SVG(plan, summary.New(plan, false)))
	decoder := xml.NewDecoder(strings.NewReader(picture))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return picture
		}
		require.NoError(t, err, "it is XML")
	}
}

func TestSVG(t *testing.T) {
	picture := draw(t, platform)
	for _, want := range []string{
		`<desc id="d">Plan: 2 destroyed, 1 replaced, 1 updated, 1 created, 1 read.</desc>`,
		"@media (prefers-color-scheme:dark)",
		">VPC 10.0.0.0/16</text>", ">Front door</text>", ">Services</text>", ">Network</text>", ">Access</text>",
		"<title>aws_ecs_service.s&#xA;create aws_ecs_service.s[&#34;a]&#34;]&#xA;destroy aws_ecs_service.s[&#34;b&#34;]&#xA;destroy aws_ecs_service.s[&#34;c&#34;]</title>",
		">s ×3</text>", `<text class="sign destroy"`, ">−2 +</text>",
		`<rect class="update"`, `<rect class="replace"`, `<rect class="card drift"`,
		"<title>aws_vpc.main&#xA;changed by others: aws_vpc.main</title>",
		">net.a</text>", "&lt;r&gt;",
		"<title>aws_lb.main needs module.net.aws_subnet.a</title>",
		"<title>aws_lb.main needs aws_vpc.main</title>",
		"<title>aws_ecs_service.s needs aws_lb.main</title>",
		"<title>module.net.aws_subnet.a needs aws_vpc.main</title>",
		`<path class="edge hot"`,
	} {
		require.Contains(t, picture, want)
	}
	require.NotContains(t, picture, "aws_region", "data sources are no part of the platform")
	require.NotContains(t, picture, ">Storage</text>", "an empty lane")
	require.Equal(t, picture, draw(t, platform), "the same plan, the same bytes")
}

func TestPlacesDoNotDependOnWhatChanges(t *testing.T) {
	place := func(picture string) []string {
		var places []string
		for line := range strings.SplitSeq(picture, "\n") {
			if _, rest, ok := strings.Cut(line, `<rect class="card" `); ok {
				at, _, _ := strings.Cut(rest, "/>")
				places = append(places, at)
			}
		}
		return places
	}
	unchanged := strings.NewReplacer(`["update"]`, `["no-op"]`, `["create"]`, `["no-op"]`, `["delete"]`, `["no-op"]`, `["delete","create"]`, `["no-op"]`, "resource_drift", "x")
	before := place(draw(t, strings.ReplaceAll(platform, "resource_drift", "x")))
	require.NotEmpty(t, before)
	require.Equal(t, before, place(draw(t, unchanged.Replace(platform))))
}

func TestAnEmptyPlatform(t *testing.T) {
	picture := draw(t, `{"format_version":"1.2"}`)
	require.Contains(t, picture, "No changes")
	require.NotContains(t, picture, "VPC")
}

func TestACrowdIsGathered(t *testing.T) {
	var all, config []string
	for i := range 400 {
		action := "no-op"
		if i%40 == 0 {
			action = "create"
		}
		all = append(all, fmt.Sprintf(`{"address":"aws_sns_topic.t%03d","mode":"managed","type":"aws_sns_topic","name":"t%03d","change":{"actions":[%q],"before":null,"after":{}}}`, i, i, action))
		config = append(config, fmt.Sprintf(`{"address":"aws_sns_topic.t%03d","mode":"managed","type":"aws_sns_topic","name":"t%03d","depends_on":["aws_sns_topic.t%03d"]}`, i, i, (i+40)%400))
	}
	picture := draw(t, `{"format_version":"1.2","resource_changes":[`+strings.Join(all, ",")+`],"configuration":{"root_module":{"resources":[`+strings.Join(config, ",")+`]}}}`)
	require.Contains(t, picture, ">unchanged ×390</text>")
	require.Equal(t, 11, strings.Count(picture, "<g>"))
	require.Equal(t, 10, strings.Count(picture, "<path "))
}

func TestTooManyEdgesAreLeftOut(t *testing.T) {
	var all, config []string
	for i := range 30 {
		all = append(all, fmt.Sprintf(`{"address":"aws_sns_topic.t%03d","mode":"managed","type":"aws_sns_topic","name":"t%03d","change":{"actions":["create"],"before":null,"after":{}}}`, i, i))
		var needs []string
		for k := range 30 {
			needs = append(needs, fmt.Sprintf(`"aws_sns_topic.t%03d"`, k))
		}
		config = append(config, fmt.Sprintf(`{"mode":"managed","type":"aws_sns_topic","name":"t%03d","depends_on":[%s]}`, i, strings.Join(needs, ",")))
	}
	picture := draw(t, `{"format_version":"1.2","resource_changes":[`+strings.Join(all, ",")+`],"configuration":{"root_module":{"resources":[`+strings.Join(config, ",")+`]}}}`)
	require.NotContains(t, picture, "<path ")
}

func TestModulesThatCallEachOtherWithoutEnd(t *testing.T) {
	module := &tfjson.ConfigModule{Outputs: map[string]*tfjson.ConfigOutput{}}
	reference := &tfjson.Expression{ExpressionData: &tfjson.ExpressionData{References: []string{"module.m.o"}}}
	module.Outputs["o"] = &tfjson.ConfigOutput{Expression: reference}
	module.Resources = []*tfjson.ConfigResource{nil, {Mode: tfjson.ManagedResourceMode, Type: "a", Name: "b", Expressions: map[string]*tfjson.Expression{"x": reference}}}
	module.ModuleCalls = map[string]*tfjson.ModuleCall{"m": {Module: module}}
	plan := &tfjson.Plan{Config: &tfjson.Config{RootModule: module}}
	require.NotEmpty(t, graph.SVG(plan, summary.New(plan, false)))
}
