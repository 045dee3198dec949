// Package schema says what is in the JSON documents of the pipeline, as JSON
// Schema 2020-12: those that commands print with --output json, and the files
// that others read. The schemas are made of the Go types, their docstrings and
// their constants, and are committed to docs/schema:
//
//	go -C ci/test generate ./schema
//
// A document may get keys, and an enumeration values, from one version to the
// next; none goes away or changes its meaning. So the schemas let any further key
// be there, and readers must ignore unknown keys.
package schema

//go:generate go run ./generate

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"

	"github.com/invopop/jsonschema"

	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/schematest"
)

// base is what the ids of the schemas begin with. It names, and is no address.
const base = "https://slipway.dev/schema/"

// remark is the note to readers in every schema.
const remark = "Made by go -C ci/test generate ./schema. Keys and values of enumerations may be added: ignore those that you do not know."

// Generate makes the schemas of all documents from the source tree at root, by
// file name.
func Generate(root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	src := newSource(filepath.Join(root, "ci"))
	for _, d := range schematest.Documents() {
		data, err := document(d, src)
		if err != nil {
			return nil, fmt.Errorf("making the schema %s: %w", d.Name, err)
		}
		files[d.File()] = data
	}
	return files, nil
}

// Write writes the schemas of the source tree at root to its [schematest.Dir], and removes
// those of documents that are no more.
func Write(root string) error {
	files, err := Generate(root)
	if err != nil {
		return err
	}
	dir := filepath.Join(root, filepath.FromSlash(schematest.Dir))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("creating the directory of the schemas: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return fmt.Errorf("looking for schemas: %w", err)
	}
	for _, name := range old {
		if _, ok := files[filepath.Base(name)]; !ok {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("removing a schema: %w", err)
			}
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return fmt.Errorf("writing a schema: %w", err)
		}
	}
	return nil
}

// document is the schema of a document.
func document(d schematest.Document, src *source) ([]byte, error) {
	m := maker{source: src, names: map[string]reflect.Type{}, enumerations: jsonschema.Definitions{}}
	r := jsonschema.Reflector{
		Anonymous:                 true, // the id is set below
		ExpandedStruct:            true,
		AllowAdditionalProperties: true,
		LookupComment:             m.comment,
		Mapper:                    m.enumeration,
		Namer:                     m.name,
	}
	s := r.ReflectFromType(d.Type)
	if m.err != nil {
		return nil, m.err
	}
	maps.Copy(s.Definitions, m.enumerations)
	s.ID, s.Title, s.Comments = jsonschema.ID(base+d.File()), d.Title, remark
	var out bytes.Buffer
	err := report.WriteJSON(&out, s)
	// The expanded type has no definition: a document in itself is the root.
	itself := []byte(`"$ref": "#/$defs/` + m.name(d.Type) + `"`)
	return bytes.ReplaceAll(out.Bytes(), itself, []byte(`"$ref": "#"`)), err
}

// maker answers what the reflector asks while it makes one schema.
type maker struct {
	source       *source
	names        map[string]reflect.Type
	enumerations jsonschema.Definitions
	err          error // the first
}

func (m *maker) comment(t reflect.Type, field string) string {
	text, err := m.source.comment(t, field)
	m.err = cmp.Or(m.err, err)
	return text
}

// name is a type's name in the schema: Go's, as long as it is no other's, too.
func (m *maker) name(t reflect.Type) string {
	name := t.Name()
	if other, taken := m.names[name]; taken && name != "" && other != t {
		m.err = cmp.Or(m.err, fmt.Errorf("both %s and %s are called %s: rename one", other, t, name))
	}
	m.names[name] = t
	return name
}

// enumeration defines a named type that has constants, and refers to the
// definition; nil for any other type.
func (m *maker) enumeration(t reflect.Type) *jsonschema.Schema {
	kinds := map[reflect.Kind]string{reflect.String: "string", reflect.Int: "integer"}
	constants, err := m.source.constants(t)
	m.err = cmp.Or(m.err, err)
	if len(constants) == 0 || kinds[t.Kind()] == "" {
		return nil
	}
	s := &jsonschema.Schema{Type: kinds[t.Kind()], Description: m.comment(t, "")}
	for _, c := range constants {
		s.Enum = append(s.Enum, c.value)
		if c.text != "" {
			s.Description += fmt.Sprintf("\n%v: %s", c.value, c.text)
		}
	}
	m.enumerations[m.name(t)] = s
	return &jsonschema.Schema{Ref: "#/$defs/" + t.Name()}
}
