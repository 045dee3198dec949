package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Limits of the parts of a release's Markdown, in bytes. Together they stay below
// [MarkdownLimit], so that no part displaces a more important one.
const (
	errorShare    = 4_000
	servicesShare = 18_000
	tasksShare    = 2_000
	causesShare   = 16_000
	logTailShare  = 4_000 // of one cause
	notesShare    = 3_000
	stagesShare   = 3_000
	timelineShare = 8_000
)

// Markdown writes the report for a job summary or a pull request. It stays below GitHub's
// limit; what is omitted is counted, and is in the JSON report.
func (r Release) Markdown(w io.Writer) error {
	p := NewPage(MarkdownLimit)
	p.Force(fmt.Sprintf("## Release `%s`%s: %s\n\n", shortSHA(r.SHA), prefixed(" to ", Inline(r.Environment)), r.Result))
	if r.Error != "" {
		lines := strings.Split(Shorten(r.Error, errorShare), "\n")
		for n := range lines {
			lines[n] = Inline(lines[n])
		}
		p.Force("> " + strings.Join(lines, "  \n> ") + "\n\n")
	}
	switch {
	case r.Pause != nil:
		p.Force(fmt.Sprintf("**%s**\n\n- to continue it, run %s\n- to abort it, run %s\n\n", Inline(upperFirst(r.Pause.text())), codeSpan(r.Pause.Continue), codeSpan(r.Pause.Abort)))
	case r.Next != "":
		p.Force(fmt.Sprintf("**Next**: run %s\n\n", codeSpan(Shorten(r.Next, errorShare))))
	}
	if r.PromotedFrom != nil {
		p.Force(Inline(upperFirst(r.PromotedFrom.text())) + ".\n\n")
	}
	r.servicesTable(p)
	r.imagesTable(p)
	r.tasksTable(p)
	r.causes(p)
	r.traffic(p)
	r.notes(p)
	r.staging(p)
	r.stagesTable(p)
	if chart := r.gantt(); chart != "" {
		p.Add("\n" + chart)
	}
	r.timeline(p)
	return WriteMarkdown(w, p.String())
}

func upperFirst(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// staging writes the release to staging, without its stages and events.
func (r Release) staging(p *Page) {
	if r.Staging == nil {
		return
	}
	p.Force(fmt.Sprintf("\n### Release `%s` to %s: %s\n\n", shortSHA(r.Staging.SHA), Inline(r.Staging.Environment), r.Staging.Result))
	r.Staging.servicesTable(p)
	r.Staging.causes(p)
	r.Staging.traffic(p)
}

func (r Release) traffic(p *Page) {
	if r.Traffic != nil {
		p.Add(fmt.Sprintf("\nRequests during the release: %d served, %d failed.\n", r.Traffic.Served, r.Traffic.Failed))
	}
}

// servicesTable writes a row for each service, failed ones first.
func (r Release) servicesTable(p *Page) {
	p.Force("| service | result | from | to | task definition | time |\n|---|---|---|---|---|---|\n")
	var rows []string
	for _, s := range r.failedFirst() {
		result := string(s.Result) + prefixed("; ", s.shift())
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n",
			Inline(s.Name), Inline(result), codeSpan(s.From.Short()), codeSpan(s.To.Short()), codeSpan(lastSegment(s.To.TaskDefinition)), millis(s.DurationMS)))
	}
	p.addCounted(rows, servicesShare, fmt.Sprintf("of the %d services", len(rows)))
}

// imagesTable writes a row for each image of a promotion.
func (r Release) imagesTable(p *Page) {
	if len(r.Images) == 0 {
		return
	}
	p.Force("\n| image of | digest | result |\n|---|---|---|\n")
	var rows []string
	for _, image := range r.Images {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", Inline(image.Service), codeSpan(image.Digest), image.text()))
	}
	p.addCounted(rows, tasksShare, "images")
}

// tasksTable writes a row for each release task.
func (r Release) tasksTable(p *Page) {
	if len(r.Tasks) == 0 {
		return
	}
	p.Force("\n| release task of | task | result |\n|---|---|---|\n")
	var rows []string
	for _, task := range r.Tasks {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", Inline(task.Service), codeSpan(lastSegment(task.Task)), Inline(task.headline())))
	}
	p.addCounted(rows, tasksShare, "release tasks")
}

// failedFirst returns the services, those with a failure first.
func (r Release) failedFirst() []Service {
	var failed, others []Service
	for _, s := range r.Services {
		if len(s.Causes) > 0 || s.Error != "" || s.Result == Failed {
			failed = append(failed, s)
		} else {
			others = append(others, s)
		}
	}
	return slices.Concat(failed, others)
}

func (r Release) causes(p *Page) {
	var causes []string
	for _, s := range r.Services {
		for _, cause := range s.Causes {
			causes = append(causes, cause.markdown(s.Name))
		}
	}
	p.addCounted(causes, causesShare, fmt.Sprintf("of the %d causes", len(causes)))
}

// markdown returns the cause with the last lines of its log.
func (c Cause) markdown(service string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n**%s**: %d × %s\n", Inline(service), c.Count, Inline(Shorten(c.Headline(), 1000)))
	if c.Hint != "" {
		fmt.Fprintf(&b, "\nHint: %s.\n", Inline(c.Hint))
	}
	if len(c.LogTail) == 0 {
		return b.String()
	}
	tail := firstOfLast(c.LogTail, logTailShare)
	text := strings.Join(c.LogTail[tail:], "\n")
	if tail == len(c.LogTail) { // the last line does not fit
		tail--
		text = Shorten(c.LogTail[tail], logTailShare/4)
	}
	if tail > 0 {
		fmt.Fprintf(&b, "\nThe last lines of the log; %d before them are in the JSON report.\n", tail)
	}
	fence := Fence(text)
	fmt.Fprintf(&b, "\n%stext\n%s\n%s\n", fence, text, fence)
	return b.String()
}

// firstOfLast returns the index of the first of the last lines that together have less
// than limit bytes.
func firstOfLast(lines []string, limit int) int {
	first, size := len(lines), 0
	for first > 0 && size+len(lines[first-1]) < limit {
		first--
		size += len(lines[first]) + 1
	}
	return first
}

func (r Release) notes(p *Page) {
	var notes []string
	for _, note := range r.Notes {
		notes = append(notes, fmt.Sprintf("\nNote: %s.\n", Inline(Shorten(note, 1000))))
	}
	p.addCounted(notes, notesShare, "notes")
}

func (r Release) stagesTable(p *Page) {
	if len(r.Stages) == 0 {
		return
	}
	p.Force("\n| stage | result | time |\n|---|---|---|\n")
	var rows []string
	for _, stage := range r.Stages {
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", Inline(stage.Name), stage.Result, millis(stage.DurationMS)))
	}
	p.addCounted(rows, stagesShare, "stages")
}

// timeline writes the events with the time since the start.
func (r Release) timeline(p *Page) {
	if len(r.Events) == 0 {
		return
	}
	p.Force("\n<details><summary>Events</summary>\n\n| at | service | event |\n|---|---|---|\n")
	var rows []string
	for _, event := range r.Events {
		rows = append(rows, fmt.Sprintf("| +%s | %s | %s |\n", seconds(event.At.Sub(r.StartedAt)), Inline(event.Service), Inline(Shorten(event.Text, 1000))))
	}
	p.addCounted(rows, timelineShare, fmt.Sprintf("of the %d events", len(rows)))
	p.Force("\n</details>\n")
}

// codeSpan formats text as a code span in a line or a table cell; "" stays "".
func codeSpan(text string) string {
	if text == "" {
		return ""
	}
	if strings.ContainsAny(text, "|`\n\r") {
		return "<code>" + Inline(text) + "</code>"
	}
	return "`" + text + "`"
}
