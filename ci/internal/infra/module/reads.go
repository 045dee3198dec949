package module

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// fileFunctions are Terraform's functions whose first argument is a file or a
// folder.
var fileFunctions = map[string]bool{
	"file": true, "filebase64": true, "filebase64sha256": true, "filebase64sha512": true, "filemd5": true, "filesha1": true, "filesha256": true,
	"filesha512": true, "fileexists": true, "fileset": true, "templatefile": true,
}

// evaluator evaluates the constants of a module.
type evaluator struct {
	dir, root string
	context   *hcl.EvalContext
}

// evaluate evaluates constant locals in any order: paths often contain them.
func (e *evaluator) evaluate(bodies []hcl.Body) {
	onPath := func(change func(string) string) function.Function {
		return function.New(&function.Spec{
			Params: []function.Parameter{{Name: "path", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				return cty.StringVal(change(args[0].AsString())), nil
			},
		})
	}
	known := map[string]cty.Value{}
	e.context = &hcl.EvalContext{
		Variables: map[string]cty.Value{
			"path":  cty.ObjectVal(map[string]cty.Value{"module": cty.StringVal(e.dir), "root": cty.StringVal(e.root), "cwd": cty.StringVal(e.root)}),
			"local": cty.EmptyObjectVal,
		},
		Functions: map[string]function.Function{
			"abspath": onPath(func(name string) string { return resolvePath(e.root, name) }), "dirname": onPath(filepath.Dir), "basename": onPath(filepath.Base),
			"format": stdlib.FormatFunc, "join": stdlib.JoinFunc, "trimsuffix": stdlib.TrimSuffixFunc, "replace": stdlib.ReplaceFunc,
		},
	}
	locals := map[string]hcl.Expression{}
	for _, body := range bodies {
		content, _, _ := body.PartialContent(bodySchema)
		for _, block := range content.Blocks {
			if block.Type != "locals" {
				continue
			}
			attributes, _ := block.Body.JustAttributes()
			for name, attribute := range attributes {
				locals[name] = attribute.Expr
			}
		}
	}
	for more := true; more; {
		more = false
		for name, expression := range locals {
			value, problems := expression.Value(e.context)
			if !problems.HasErrors() && value.IsWhollyKnown() {
				known[name], more = value, true
				delete(locals, name)
			}
		}
		e.context.Variables["local"] = cty.ObjectVal(known)
	}
}

// text returns a constant string, or "".
func (e *evaluator) text(attribute *hcl.Attribute) string {
	if attribute == nil {
		return ""
	}
	text, _ := e.constant(attribute.Expr)
	return text
}

func (e *evaluator) constant(expression hcl.Expression) (string, bool) {
	value, problems := expression.Value(e.context)
	if problems.HasErrors() || value.Type() != cty.String || !value.IsKnown() || value.IsNull() {
		return "", false
	}
	return value.AsString(), true
}

// reads returns the files and folders that a body names: in a call of a file
// function, or as a string that is a path.
func (e *evaluator) reads(body hcl.Body) []string {
	var found []string
	add := func(expression hclsyntax.Expression, isPath bool) {
		text, whole := e.constant(expression)
		if !whole {
			text, isPath = e.literalDir(expression), true
		}
		isPath = isPath || isLocal(text) && (!filepath.IsAbs(text) || len(expression.Variables()) > 0) // "/health" is not a path
		if text == "" || strings.ContainsRune(text, 0) || !isPath {
			return
		}
		name := resolvePath(e.root, text)
		// The root module's folder and those above it are only prefixes of paths.
		if inside, err := filepath.Rel(name, e.root); err == nil && filepath.IsLocal(inside) {
			return
		}
		if _, err := os.Stat(name); err == nil {
			found = append(found, name)
		}
	}
	visit := func(node hclsyntax.Node) hcl.Diagnostics {
		switch n := node.(type) {
		case *hclsyntax.FunctionCallExpr:
			if fileFunctions[strings.TrimPrefix(n.Name, "core::")] && len(n.Args) > 0 {
				add(n.Args[0], true)
			}
		case *hclsyntax.TemplateExpr:
			add(n, false)
		case *hclsyntax.ScopeTraversalExpr:
			if n.Traversal.RootName() == "local" {
				add(n, false)
			}
		}
		return nil
	}
	if native, ok := body.(*hclsyntax.Body); ok {
		_ = hclsyntax.VisitAll(native, visit)
		return found
	}
	for _, text := range jsonStrings(body) {
		if template, problems := hclsyntax.ParseTemplate([]byte(text), "", hcl.InitialPos); !problems.HasErrors() {
			_ = hclsyntax.VisitAll(template, visit)
		}
	}
	return found
}

// literalDir returns the constant folder at the start of a path template:
// "policies" of "${path.module}/policies/${each.key}.json".
func (e *evaluator) literalDir(expression hclsyntax.Expression) string {
	template, ok := expression.(*hclsyntax.TemplateExpr)
	if !ok {
		return ""
	}
	var text string
	for _, part := range template.Parts {
		constant, whole := e.constant(part)
		if !whole {
			break
		}
		text += constant
	}
	folder, _ := filepath.Split(text)
	if !isLocal(folder) {
		return ""
	}
	return folder
}
