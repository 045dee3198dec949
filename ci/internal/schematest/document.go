package schematest

import (
	"reflect"

	"github.com/slipway-cd/slipway/ci/internal/check/gotest"
	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/release/notify"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Dir is the directory of the schemas in the source tree.
const Dir = "docs/schema"

// Document is a kind of JSON document with a schema.
type Document struct {
	Name  string // of the schema, such as "release"
	Title string
	// Commands are the commands that print it with --output json; none for a file.
	Commands []string
	Type     reflect.Type
}

// File returns the name of the schema's file in [Dir].
func (d Document) File() string { return d.Name + ".json" }

// Documents returns the documents with a schema: those that users' programs read.
func Documents() []Document {
	return []Document{
		{"release", "Report of a release", []string{"deploy", "promote", "rollback", "rehearse"}, reflect.TypeFor[report.Release]()},
		{"status", "What runs where", []string{"status"}, reflect.TypeFor[report.Status]()},
		{"run", "Report of a one-off task", []string{"run"}, reflect.TypeFor[report.Run]()},
		{"logs", "Lines of containers' logs", []string{"logs"}, reflect.TypeFor[report.Logs]()},
		{"preview", "Report of a preview's release", []string{"preview up"}, reflect.TypeFor[report.Preview]()},
		{"previews", "Previews of an environment", []string{"preview list"}, reflect.TypeFor[report.Previews]()},
		{"preview-removal", "Report of removed previews", []string{"preview down", "preview sweep"}, reflect.TypeFor[report.PreviewRemoval]()},
		{"notification", "Notification of a release, for a webhook", nil, reflect.TypeFor[notify.Notification]()},
		{"test", "Outcome of the tests", []string{"test"}, reflect.TypeFor[gotest.Summary]()},
		{"plan", "What a plan of the platform changes", []string{"plan"}, reflect.TypeFor[infra.PlanReport]()},
	}
}
