package doctor

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"dagger/slipway/internal/report"
)

// Report is what an examination found, and what follows for the stages.
type Report struct {
	// Ready tells whether the stages that were asked for can do their work, be it
	// with limits: the local ones, where none was named.
	Ready bool `json:"ready"`
	// Findings are what was found, thing by thing.
	Findings []Finding `json:"findings"`
	// Stages are what that is enough for.
	Stages []Verdict `json:"stages"`
	// DurationMS is how long the examination took.
	DurationMS int64 `json:"duration_ms"`
}

// Run examines what the named stages need; all stages where none is named. An
// unknown name is a usage error.
func Run(ctx context.Context, probes []Probe, names ...string) (Report, error) {
	stages, err := Select(names)
	if err != nil {
		return Report{}, err
	}
	if len(names) > 0 {
		probes = needed(stages, probes)
	}
	started := time.Now()
	r := Report{Ready: true, Findings: Examine(ctx, DefaultDeadline, probes), Stages: []Verdict{}}
	if ctx.Err() != nil {
		return Report{}, context.Cause(ctx)
	}
	for _, stage := range stages {
		verdict := stage.Judge(r.Findings)
		if verdict.Fitness == Cannot && (len(names) > 0 || slices.Contains(local, stage.Name)) {
			r.Ready = false
		}
		r.Stages = append(r.Stages, verdict)
	}
	r.DurationMS = time.Since(started).Milliseconds()
	return r, nil
}

// JSON writes the report as one JSON document.
func (r Report) JSON(w io.Writer) error { return report.WriteJSON(w, r) }

// Text writes the report for a terminal.
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%-16s %-8s %s\n", f.Name, f.State, f.Says)
		if f.Mend != "" {
			fmt.Fprintf(&b, "%-16s %-8s -> %s\n", "", "", f.Mend)
		}
	}
	if len(r.Findings) > 0 {
		b.WriteString("\n")
	}
	for _, v := range r.Stages {
		reasons := v.reasons()
		if len(reasons) == 0 {
			reasons = []string{""}
		}
		for n, reason := range reasons {
			name, fitness := v.Stage, string(v.Fitness)
			if n > 0 {
				name, fitness = "", ""
			}
			b.WriteString(strings.TrimRight(fmt.Sprintf("%-16s %-8s %s", name, fitness, reason), " ") + "\n")
		}
	}
	fmt.Fprintf(&b, "\nexamined in %.1fs, and changed nothing\n", float64(r.DurationMS)/1000)
	_, err := io.WriteString(w, b.String())
	return err
}

// reasons are why a stage is not ready, one a line.
func (v Verdict) reasons() []string {
	if v.Fitness == Cannot { // what it would do less with no longer matters
		return []string{"needs " + strings.Join(v.Lacks, ", ")}
	}
	return v.Limits
}

// Markdown writes the report for a job summary.
func (r Report) Markdown(w io.Writer) error {
	var b strings.Builder
	cell := strings.NewReplacer("|", "\\|", "\n", " ").Replace
	if len(r.Findings) > 0 {
		b.WriteString("| what | state | found | how to get it |\n|---|---|---|---|\n")
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.Name, f.State, cell(f.Says), cell(f.Mend))
	}
	b.WriteString("\n| stage | fitness | why |\n|---|---|---|\n")
	for _, v := range r.Stages {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", v.Stage, v.Fitness, cell(strings.Join(v.reasons(), "; ")))
	}
	_, err := io.WriteString(w, strings.TrimLeft(b.String(), "\n"))
	return err
}
