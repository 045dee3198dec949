// Package module parses a Terraform configuration without Terraform: the variables
// that it declares, the local modules that it calls, the files that it reads. It
// evaluates constants only.
package module

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
)

// Module is one folder of a configuration.
type Module struct {
	// Variables maps the declared variables to whether each is ephemeral, so that
	// no plan has its value.
	Variables map[string]bool
	// Ignored maps resources, as TYPE.NAME, to the paths that their ignore_changes lists;
	// "all" is the path of all.
	Ignored map[string][]string
	// Calls are the absolute paths of the local modules that it calls.
	Calls []string
	// Reads are the absolute paths of existing files and folders that it reads
	// besides.
	Reads []string
}

// bodySchema has the block types that are read.
var bodySchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "variable", LabelNames: []string{"name"}},
	{Type: "module", LabelNames: []string{"name"}},
	{Type: "locals"},
	{Type: "resource", LabelNames: []string{"type", "name"}},
}}

var resourceSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "lifecycle"}}}

// Read parses the module in dir of the configuration whose root module is in root.
// Syntax errors are left for Terraform to report.
func Read(dir, root string) (Module, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Module{}, err
	}
	m, parser := Module{Variables: map[string]bool{}}, hclparse.NewParser()
	var bodies []hcl.Body
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		if entry.Type()&fs.ModeSymlink != 0 {
			m.Reads = append(m.Reads, name) // its target
		}
		var file *hcl.File
		switch {
		case entry.IsDir():
		case strings.HasSuffix(name, ".tf"):
			file, _ = parser.ParseHCLFile(name)
		case strings.HasSuffix(name, ".tf.json"):
			file, _ = parser.ParseJSONFile(name)
		}
		if file != nil && file.Body != nil {
			bodies = append(bodies, file.Body)
		}
	}
	e := evaluator{dir: dir, root: root}
	e.evaluate(bodies)
	for _, body := range bodies {
		content, _, _ := body.PartialContent(bodySchema)
		for _, block := range content.Blocks {
			if block.Type == "resource" {
				m.addIgnored(block)
				continue
			}
			attributes, _ := block.Body.JustAttributes()
			switch block.Type {
			case "variable":
				name := block.Labels[0]
				m.Variables[name] = m.Variables[name] || isTrue(attributes["ephemeral"])
			case "module":
				if source := e.text(attributes["source"]); isLocal(source) {
					m.Calls = append(m.Calls, resolvePath(dir, source))
				}
			}
		}
		m.Reads = append(m.Reads, e.reads(body)...)
	}
	slices.Sort(m.Calls)
	slices.Sort(m.Reads)
	m.Calls, m.Reads = slices.Compact(m.Calls), slices.Compact(m.Reads)
	m.Reads = slices.DeleteFunc(m.Reads, func(name string) bool { return slices.Contains(m.Calls, name) })
	return m, nil
}

// addIgnored adds what ignore_changes of a resource lists.
func (m *Module) addIgnored(resource *hcl.Block) {
	content, _, _ := resource.Body.PartialContent(resourceSchema)
	for _, lifecycle := range content.Blocks {
		attributes, _ := lifecycle.Body.JustAttributes()
		list := attributes["ignore_changes"]
		if list == nil {
			continue
		}
		if m.Ignored == nil {
			m.Ignored = map[string][]string{}
		}
		address := resource.Labels[0] + "." + resource.Labels[1]
		if traversal, problems := hcl.AbsTraversalForExpr(list.Expr); !problems.HasErrors() { // all
			m.Ignored[address] = append(m.Ignored[address], traversal.RootName())
		}
		paths, _ := hcl.ExprList(list.Expr)
		for _, path := range paths {
			if traversal, problems := hcl.AbsTraversalForExpr(path); !problems.HasErrors() {
				m.Ignored[address] = append(m.Ignored[address], pathOf(traversal))
			}
		}
	}
}

// pathOf formats a path as Terraform does: a[0].b["c"].
func pathOf(traversal hcl.Traversal) string {
	path := traversal.RootName()
	for _, step := range traversal[1:] {
		switch s := step.(type) {
		case hcl.TraverseAttr:
			path += "." + s.Name
		case hcl.TraverseIndex:
			if s.Key.Type() == cty.String {
				path += "[" + strconv.Quote(s.Key.AsString()) + "]"
			} else {
				path += "[" + s.Key.AsBigFloat().String() + "]"
			}
		}
	}
	return path
}

// isLocal reports whether a module's source is a local path.
func isLocal(source string) bool {
	return strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../") || filepath.IsAbs(source)
}

// resolvePath returns the absolute path of name in dir.
func resolvePath(dir, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(dir, filepath.FromSlash(name))
}

func isTrue(attribute *hcl.Attribute) bool {
	if attribute == nil {
		return false
	}
	value, _ := attribute.Expr.Value(nil)
	return value.Type() == cty.Bool && value.IsKnown() && !value.IsNull() && value.True()
}

// Assignment is a variable that a variables file sets.
type Assignment struct {
	Name string
	// Source is the value's source text.
	Source []byte
	// Strings are the strings in the value.
	Strings []string
}

// Assignments returns the variables that a file's content sets, sorted by name.
// Syntax errors are left for Terraform to report.
func Assignments(name string, data []byte) []Assignment {
	parser := hclparse.NewParser()
	var file *hcl.File
	if strings.HasSuffix(name, ".json") {
		file, _ = parser.ParseJSON(data, name)
	} else {
		file, _ = parser.ParseHCL(data, name)
	}
	if file == nil || file.Body == nil {
		return nil
	}
	attributes, _ := file.Body.JustAttributes()
	var found []Assignment
	for _, attribute := range attributes {
		a := Assignment{Name: attribute.Name, Source: attribute.Expr.Range().SliceBytes(data)}
		value, _ := attribute.Expr.Value(nil) // Terraform refuses values that are not constant
		_ = cty.Walk(value, func(_ cty.Path, part cty.Value) (bool, error) {
			if part.Type() == cty.String && part.IsKnown() && !part.IsNull() {
				a.Strings = append(a.Strings, part.AsString())
			}
			return true, nil
		})
		found = append(found, a)
	}
	slices.SortFunc(found, func(a, b Assignment) int { return cmp.Compare(a.Name, b.Name) })
	return found
}
