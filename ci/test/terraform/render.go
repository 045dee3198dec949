package terraform

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// Render is Policies without Terraform, so that it works everywhere: it evaluates
// bootstrap's own variables, locals and templates. Anything in them that it does not
// support (another function, a resource) fails the test. Variables are given as in
// services.auto.tfvars.json; missing ones have their defaults. It does not validate
// them.
func Render(t testing.TB, variables map[string]any) Grants {
	t.Helper()
	c := &configuration{t: t, dir: filepath.Join(sourcetest.Repository("terraform"), "modules", "bootstrap"), locals: map[string]hcl.Expression{}, known: map[string]cty.Value{}}
	c.read(variables)
	grants := Grants{Policies: map[string]string{}, Roles: map[string][]string{}}
	for name, policy := range c.local("policies").AsValueMap() {
		grants.Policies[name] = policy.AsString()
	}
	for role, names := range c.local("grants").AsValueMap() {
		for _, name := range names.AsValueSlice() {
			grants.Roles[role] = append(grants.Roles[role], name.AsString())
		}
	}
	return grants
}

// configuration is a Terraform directory whose locals are evaluated on demand.
type configuration struct {
	t         testing.TB
	dir       string
	variables cty.Value
	locals    map[string]hcl.Expression
	known     map[string]cty.Value // evaluated locals
}

// parts are the block types that are read.
var parts = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "variable", LabelNames: []string{"name"}}, {Type: "locals"}}}

// read reads the variables and locals of all files.
func (c *configuration) read(given map[string]any) {
	c.t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dir, "*.tf"))
	require.NoError(c.t, err)
	require.NotEmpty(c.t, files)
	parser, variables := hclparse.NewParser(), map[string]cty.Value{}
	for _, name := range files {
		file, problems := parser.ParseHCLFile(name)
		c.good(problems)
		content, _, problems := file.Body.PartialContent(parts)
		c.good(problems)
		for _, block := range content.Blocks {
			attributes, problems := block.Body.JustAttributes()
			if block.Type == "locals" {
				c.good(problems)
				for name, attribute := range attributes {
					c.locals[name] = attribute.Expr
				}
				continue
			} // a variable's validation block is reported as an error here
			name := block.Labels[0]
			variables[name] = c.variable(attributes, given[name])
		}
	}
	for name := range given {
		require.Contains(c.t, variables, name, "there is no such variable")
	}
	c.variables = cty.ObjectVal(variables)
}

// variable returns the given value of a variable, or its default.
func (c *configuration) variable(attributes hcl.Attributes, given any) cty.Value {
	c.t.Helper()
	kind, optional, problems := typeexpr.TypeConstraintWithDefaults(attributes["type"].Expr)
	c.good(problems)
	value := cty.NullVal(kind)
	if given != nil {
		raw, err := json.Marshal(given)
		require.NoError(c.t, err)
		implied, err := ctyjson.ImpliedType(raw)
		require.NoError(c.t, err)
		value, err = ctyjson.Unmarshal(raw, implied)
		require.NoError(c.t, err)
	} else if standard, ok := attributes["default"]; ok {
		value, problems = standard.Expr.Value(nil)
		c.good(problems)
	}
	if optional != nil && !value.IsNull() {
		value = optional.Apply(value)
	}
	value, err := convert.Convert(value, kind)
	require.NoError(c.t, err)
	return value
}

// local returns the value of a local, and evaluates the locals it refers to first.
func (c *configuration) local(name string) cty.Value {
	c.t.Helper()
	if value, ok := c.known[name]; ok {
		return value
	}
	require.Contains(c.t, c.locals, name)
	expression := c.locals[name]
	for _, reference := range expression.Variables() {
		if reference.RootName() == "local" {
			c.local(reference[1].(hcl.TraverseAttr).Name)
		}
	}
	value, problems := expression.Value(&hcl.EvalContext{
		Functions: c.functions(),
		Variables: map[string]cty.Value{
			"var": c.variables, "local": cty.ObjectVal(c.known),
			"path": cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal(c.dir)}),
			"data": cty.ObjectVal(map[string]cty.Value{"aws_partition": cty.ObjectVal(map[string]cty.Value{
				"current": cty.ObjectVal(map[string]cty.Value{"partition": cty.StringVal("aws")}),
			})}),
		},
	})
	c.good(problems)
	c.known[name] = value
	return value
}

// functions are the Terraform functions that bootstrap's policies use. All but
// templatefile are Terraform's own implementations.
func (c *configuration) functions() map[string]function.Function {
	pure := map[string]function.Function{
		"coalesce": stdlib.CoalesceFunc, "concat": stdlib.ConcatFunc, "flatten": stdlib.FlattenFunc,
		"keys": stdlib.KeysFunc, "length": stdlib.LengthFunc, "merge": stdlib.MergeFunc, "regexall": stdlib.RegexAllFunc,
		"jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc,
	}
	all := map[string]function.Function{"templatefile": function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "vars", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(arguments []cty.Value, _ cty.Type) (cty.Value, error) {
			name := arguments[0].AsString()
			text, err := os.ReadFile(name)
			if err != nil {
				return cty.NilVal, err
			}
			template, problems := hclsyntax.ParseTemplate(text, name, hcl.InitialPos)
			if problems.HasErrors() {
				return cty.NilVal, problems
			}
			value, problems := template.Value(&hcl.EvalContext{Functions: pure, Variables: arguments[1].AsValueMap()})
			if problems.HasErrors() {
				return cty.NilVal, problems
			}
			return value, nil
		},
	})}
	for name, f := range pure {
		all[name] = f
	}
	return all
}

func (c *configuration) good(problems hcl.Diagnostics) {
	c.t.Helper()
	require.False(c.t, problems.HasErrors(), "%v", problems)
}
