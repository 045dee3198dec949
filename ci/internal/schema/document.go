package schema

import (
	"reflect"

	"dagger/slipway/internal/delivery"
	"dagger/slipway/internal/doctor"
	"dagger/slipway/internal/format"
	"dagger/slipway/internal/gotest"
	"dagger/slipway/internal/image"
	"dagger/slipway/internal/infra"
	"dagger/slipway/internal/infra/binding"
	"dagger/slipway/internal/lint"
	"dagger/slipway/internal/report"
	"dagger/slipway/internal/scaffold"
	"dagger/slipway/internal/supplychain"
	"dagger/slipway/internal/version"
)

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

// Documents are all documents that have a schema. A command that is not among
// them prints none.
func Documents() []Document {
	return []Document{
		{"release", "Report of a release", []string{"deploy", "rollback", "rehearse"}, reflect.TypeFor[report.Release]()},
		{"status", "What runs where", []string{"status"}, reflect.TypeFor[report.Status]()},
		{"diff", "What a deploy would change", []string{"diff"}, reflect.TypeFor[report.Diff]()},
		{"test", "Outcome of the tests", []string{"test"}, reflect.TypeFor[gotest.Summary]()},
		{"lint", "Findings of the linters", []string{"lint"}, reflect.TypeFor[lint.Report]()},
		{"fmt", "What the formatters change", []string{"fmt"}, reflect.TypeFor[format.Summary]()},
		{"validate", "Findings in the Terraform configuration", []string{"validate"}, reflect.TypeFor[infra.Validation]()},
		{"plan", "What a plan of the platform changes", []string{"plan"}, reflect.TypeFor[infra.PlanReport]()},
		{"binding", "What a plan is bound to: binding.json of a plan directory", nil, reflect.TypeFor[binding.Binding]()},
		{"apply", "What came of a plan", []string{"apply"}, reflect.TypeFor[infra.Applied]()},
		{"build", "Images that were built", []string{"build"}, reflect.TypeFor[image.Summary]()},
		{"publish", "Images that were published", []string{"publish"}, reflect.TypeFor[delivery.Published]()},
		{"lock", "What became of the locked base images", []string{"lock"}, reflect.TypeFor[image.Renewals]()},
		{"images-lock", "Lock of the base images: ci/images.lock.json", nil, reflect.TypeFor[image.Lock]()},
		{"scan", "Known vulnerabilities", []string{"scan"}, reflect.TypeFor[supplychain.Report]()},
		{"verify", "Who has signed a commit's images", []string{"verify"}, reflect.TypeFor[delivery.Verification]()},
		{"doctor", "What a machine has, and which stages that is enough for", []string{"doctor"}, reflect.TypeFor[doctor.Report]()},
		{"new", "What was added to the source tree", []string{"new"}, reflect.TypeFor[scaffold.Added]()},
		{"version", "Which slipway this is", []string{"version"}, reflect.TypeFor[version.Info]()},
	}
}
