package infra

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/slipway-cd/slipway/ci/internal/infra/binding"
	"github.com/slipway-cd/slipway/ci/internal/infra/redact"
	"github.com/slipway-cd/slipway/ci/internal/infra/summary"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// The files of a plan directory. tfplan contains sensitive values in clear text:
// its mode is 0600, and it must be stored privately. The others contain none.
const (
	PlanFile    = terraform.PlanFile
	PlanJSON    = "plan.json"
	SummaryFile = "summary.md"
	BindingFile = binding.File
	// ErroredState is a state that the backend did not accept, secrets included.
	ErroredState = terraform.ErroredState
)

// PlanOptions specify what to plan, and where to write it.
type PlanOptions struct {
	terraform.PlanOptions
	// Out is the plan directory to write.
	Out string
}

// SavedPlan is a plan and its directory.
type SavedPlan struct {
	Summary summary.Summary
	Binding binding.Binding
	// Dir is the plan directory.
	Dir string
}

// Plan makes a plan and writes its directory: tfplan, plan.json, summary.md and
// binding.json. A failure leaves no partial plan directory and does not change the
// state.
func (s Stage) Plan(ctx context.Context, o PlanOptions) (SavedPlan, error) {
	if err := s.checkConfiguration(); err != nil {
		return SavedPlan{}, err
	}
	var err error
	if s.Backend, err = s.resolveBackend(); err != nil {
		return SavedPlan{}, err
	}
	if o.PlanOptions, err = s.resolve(o.PlanOptions); err != nil {
		return SavedPlan{}, err
	}
	if err := s.checkInputs(o.PlanOptions); err != nil {
		return SavedPlan{}, err
	}
	// The environment may set it as well.
	o.RefreshOnly = o.RefreshOnly || slices.ContainsFunc(s.planArguments(), func(a string) bool { return a == "-refresh-only" || a == "-refresh-only=true" })
	if err := s.checkErroredState(o.Out); err != nil {
		return SavedPlan{}, err
	}
	if err := prepareOutput(o.Out); err != nil {
		return SavedPlan{}, err
	}
	w, err := s.newWorkDir()
	if err != nil {
		return SavedPlan{}, err
	}
	defer w.close()
	inited, err := w.mustRun(ctx, s.root().InitStep(s.Backend))
	if err != nil {
		return SavedPlan{}, err
	}
	modules := w.localModules(s.folder())
	before, err := s.readInputs(ctx, modules)
	if err != nil {
		return SavedPlan{}, err
	}
	out, err := w.mustRun(ctx, s.root().PlanStep(o.PlanOptions), 2)
	if err != nil {
		return SavedPlan{}, err
	}
	shown, err := s.show(ctx, w, o.RefreshOnly, o.Vars, o.VarFiles)
	if err != nil {
		return SavedPlan{}, err
	}
	warnings := terraform.Warnings(append(inited.messages, out.messages...))
	if warnings, err = s.withoutSettings(warnings, o.VarFiles); err != nil {
		return SavedPlan{}, err
	}
	shown.summary.Environment = s.Environment
	shown.summary.Partial = partialReasons(shown.plan, warnings, s.planArguments())
	shown.summary.Warnings = warningLines(warnings, s.dir(), shown.summary.Checks, shown.redact)
	for _, name := range before.Outside {
		shown.summary.Warnings = append(shown.summary.Warnings, name+" is outside of the repository: no commit records its content")
	}
	b, err := s.readInputs(ctx, modules)
	if err != nil {
		return SavedPlan{}, err
	}
	if !maps.Equal(before.Files, b.Files) || before.Commit != b.Commit {
		return SavedPlan{}, errors.New("the source tree changed while Terraform was planning: plan again")
	}
	b.RefreshOnly, b.TerraformVersion, b.CreatedAt = o.RefreshOnly, inited.version(), s.now()
	b.Partial = shown.summary.Partial
	if err := s.completeBinding(ctx, w, shown, o.PlanOptions, &b); err != nil {
		return SavedPlan{}, err
	}
	p := SavedPlan{Summary: shown.summary, Binding: b.Sealed(), Dir: o.Out}
	return p, p.write(w, shown)
}

// completeBinding sets the part of a binding that comes from the plan, the backend
// and AWS.
func (s Stage) completeBinding(ctx context.Context, w *workDir, shown shownPlan, o terraform.PlanOptions, b *binding.Binding) error {
	file, err := binding.ReadPlanFile(w.file(PlanFile))
	if err != nil {
		return err
	}
	b.PlanSHA256, b.State = file.SHA256, file.State
	if b.Variables, err = s.variables(file, o); err != nil {
		return err
	}
	if b.Backend, err = w.backend(); err != nil {
		return err
	}
	b.Account, b.Region, err = s.identity(ctx, shown.plan, b.Backend)
	return err
}

// identity returns the account and region of the credentials if the backend or a
// provider is AWS's.
func (s Stage) identity(ctx context.Context, plan *tfjson.Plan, backend binding.Backend) (account, region string, err error) {
	if s.Identity == nil || (backend.Type != "s3" && !usesAWS(plan)) {
		return "", "", nil
	}
	account, region, err = s.Identity.Identity(ctx)
	if err != nil {
		return "", "", fmt.Errorf("reading the AWS account: %w", err)
	}
	return account, region, nil
}

func usesAWS(plan *tfjson.Plan) bool {
	if plan.Config == nil {
		return false
	}
	for _, provider := range plan.Config.ProviderConfigs {
		if provider != nil && strings.HasSuffix(provider.FullName, "/hashicorp/aws") {
			return true
		}
	}
	return false
}

// shownPlan is a saved plan as JSON, without sensitive values.
type shownPlan struct {
	document []byte
	plan     *tfjson.Plan
	summary  summary.Summary
	redact   func(string) string // removes the same values from a text
}

// show reads the saved plan in w.
func (s Stage) show(ctx context.Context, w *workDir, refreshOnly bool, vars, varFiles []string) (shownPlan, error) {
	if _, err := w.mustRun(ctx, s.root().ShowStep()); err != nil {
		return shownPlan{}, err
	}
	document, err := os.ReadFile(w.file(terraform.ShowFile))
	if err != nil {
		return shownPlan{}, fmt.Errorf("reading the plan: %w", err)
	}
	secrets, err := s.ephemeralValues(vars, varFiles)
	if err != nil {
		return shownPlan{}, err
	}
	shown, err := newShownPlan(terraform.JSONDocument(document), refreshOnly, secrets...)
	if err != nil {
		return shown, err
	}
	shown.summary.Drift = s.withoutIgnored(w, shown.summary.Drift)
	return shown, s.guardTraffic(ctx, shown.plan, &shown.summary)
}

// newShownPlan parses and redacts a plan in JSON. Its redact function also removes
// the given secrets.
func newShownPlan(document []byte, refreshOnly bool, secrets ...string) (shownPlan, error) {
	redacted, clean, err := redact.Plan(document, secrets...)
	if err != nil {
		return shownPlan{}, err
	}
	plan, err := summary.Parse(redacted)
	if err != nil {
		return shownPlan{}, err
	}
	return shownPlan{document: redacted, plan: plan, summary: summary.New(plan, refreshOnly), redact: clean}, nil
}

// prepareOutput creates the plan directory and removes an existing plan, so that
// after a failure no old plan can be applied.
func prepareOutput(out string) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return outcome.Usagef("--out %s: %w", out, err)
	}
	for _, name := range []string{PlanFile, PlanJSON, SummaryFile, BindingFile} {
		if err := os.Remove(filepath.Join(out, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return outcome.Usagef("--out %s: %w", out, err)
		}
	}
	return nil
}

// write writes the plan directory. The binding comes last: a directory without one
// is not a plan.
func (p SavedPlan) write(w *workDir, shown shownPlan) error {
	var text bytes.Buffer
	if err := p.Markdown(&text); err != nil {
		return err
	}
	tfplan, err := os.ReadFile(w.file(PlanFile))
	if err != nil {
		return fmt.Errorf("reading the plan: %w", err)
	}
	files := []struct {
		name string
		data []byte
		mode os.FileMode
	}{
		{PlanFile, tfplan, 0o600},
		{PlanJSON, shown.document, 0o644},
		{SummaryFile, text.Bytes(), 0o644},
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(p.Dir, f.name), f.data, f.mode); err != nil {
			return fmt.Errorf("writing the plan directory: %w", err)
		}
	}
	return p.Binding.Write(filepath.Join(p.Dir, BindingFile))
}

// Markdown writes the summary and the binding.
func (p SavedPlan) Markdown(w io.Writer) error {
	if err := p.Summary.Markdown(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n<sub>%s</sub>\n", p.boundTo("<br>"))
	return err
}

// Text writes the summary and the binding for a terminal.
func (p SavedPlan) Text(w io.Writer) error {
	if err := p.Summary.Text(w); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", p.boundTo("\n"))
	return err
}

// boundTo describes the inputs that the plan is bound to.
func (p SavedPlan) boundTo(newline string) string {
	b := p.Binding
	commit := "commit " + b.Commit
	if b.Dirty {
		commit += ", with uncommitted changes"
	}
	if len(b.Outside) > 0 {
		commit += ", and files outside of the repository (" + strings.Join(b.Outside, ", ") + ")"
	}
	state := "a new state"
	if b.State.Lineage != "" {
		state = fmt.Sprintf("state serial %d", b.State.Serial)
	}
	lines := []string{fmt.Sprintf("Bound to %s, %s, Terraform %s.", commit, state, b.TerraformVersion), "Digest " + b.Digest}
	return strings.Join(lines, newline)
}

// PlanReport is the JSON document that plan returns.
type PlanReport struct {
	Result string `json:"result"` // "changes" or "unchanged"
	// Dir is the plan directory.
	Dir     string `json:"dir"`
	Changes bool   `json:"changes"`
	summary.Summary
	// Refused are the resources that apply refuses to destroy unless they are
	// allowed.
	Refused []string        `json:"refused"`
	Binding binding.Binding `json:"binding"`
}

// JSON writes the plan as one document.
func (p SavedPlan) JSON(w io.Writer) error {
	d := PlanReport{Result: "unchanged", Dir: p.Dir, Changes: p.Summary.Changes(), Summary: p.Summary, Refused: []string{}, Binding: p.Binding}
	if d.Changes {
		d.Result = "changes"
	}
	for _, r := range p.Summary.Resources {
		if r.Loss != "" {
			d.Refused = append(d.Refused, r.Address)
		}
	}
	slices.Sort(d.Refused)
	return report.WriteJSON(w, d)
}
