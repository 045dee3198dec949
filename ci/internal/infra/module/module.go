// Package module reads a Terraform configuration as far as that goes without
// Terraform: which variables it declares, which local modules it calls, which
// files it reads. What is not a constant there, it does not know.
package module

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/zclconf/go-cty/cty"
)

// Module is one folder of a configuration.
type Module struct {
	// Variables are those that it declares, and whether each is ephemeral: no plan
	// has its value.
	Variables map[string]bool
	// Calls are the folders of the local modules that it calls, as full names.
	Calls []string
	// Reads are the files, and the folders of files, that it reads besides, as full
	// names. They exist.
	Reads []string
}

// bodySchema are the blocks that are read.
var bodySchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "variable", LabelNames: []string{"name"}},
	{Type: "module", LabelNames: []string{"name"}},
	{Type: "locals"},
}}

// Read reads the module in dir of the configuration whose root module is in root.
// A file that cannot be read is Terraform's to tell of.
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
			m.Reads = append(m.Reads, name) // what it leads to, that is
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

// isLocal tells whether a module's source is a folder of this machine.
func isLocal(source string) bool {
	return strings.HasPrefix(source, "./") || strings.HasPrefix(source, "../") || filepath.IsAbs(source)
}

// resolvePath is the full name of what name means in dir.
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

// Assignment is one variable that a file of variables sets.
type Assignment struct {
	Name string
	// Source is the value as the file has it.
	Source []byte
	// Strings are the texts in the value.
	Strings []string
}

// Assignments are the variables that a file sets, by its content and in the order
// of their names. A file that cannot be read is Terraform's to tell of, and sets none.
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
		value, _ := attribute.Expr.Value(nil) // what is no constant, Terraform refuses
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
