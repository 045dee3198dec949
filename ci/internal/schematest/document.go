package schematest

import (
	"reflect"

	"dagger/slipway/internal/check/gotest"
	"dagger/slipway/internal/infra"
	"dagger/slipway/internal/report"
)

// Dir is where the schemas are in the source tree.
const Dir = "docs/schema"

// Document is one kind of JSON document.
type Document struct {
	Name  string // of the schema, such as "release"
	Title string
	// Commands are those that print it with --output json; none for a file.
	Commands []string
	Type     reflect.Type
}

// File is the name of the schema's file in [Dir].
func (d Document) File() string { return d.Name + ".json" }

// Documents are the documents that have a schema: those that programs of users read.
func Documents() []Document {
	return []Document{
		{"release", "Report of a release", []string{"deploy", "rollback", "rehearse"}, reflect.TypeFor[report.Release]()},
		{"status", "What runs where", []string{"status"}, reflect.TypeFor[report.Status]()},
		{"test", "Outcome of the tests", []string{"test"}, reflect.TypeFor[gotest.Summary]()},
		{"plan", "What a plan of the platform changes", []string{"plan"}, reflect.TypeFor[infra.PlanReport]()},
	}
}
