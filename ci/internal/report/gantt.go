package report

import (
	"fmt"
	"strings"
	"time"
)

// ganttRows is how many stages and services a chart has; more are unreadable.
const ganttRows = 40

// gantt returns a Mermaid chart of the release, which GitHub renders in Markdown, or "" if
// nothing has a time. It stays far below Mermaid's limit of 50,000 characters.
// https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting/creating-diagrams
func (r Release) gantt() string {
	rows, omitted := r.rows(ganttRows)
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("```mermaid\ngantt\n    accTitle: Timeline of the release\n")
	fmt.Fprintf(&b, "    accDescr: %s\n", ganttText(r.summary()))
	b.WriteString("    dateFormat x\n    axisFormat %H:%M:%S\n")
	var section string
	for _, row := range rows {
		if row.section != section {
			section = row.section
			fmt.Fprintf(&b, "    section %s\n", section)
		}
		tag := "crit"
		if row.result == Succeeded || row.result == Unchanged {
			tag = "done"
		}
		fmt.Fprintf(&b, "    %s (%s) :%s, %d, %d\n", ganttText(row.name), row.result, tag, row.from.UnixMilli(), max(row.to.UnixMilli(), row.from.UnixMilli()+1))
	}
	b.WriteString("```\n")
	if omitted > 0 {
		fmt.Fprintf(&b, "\n%d more services are not in the chart.\n", omitted)
	}
	return b.String()
}

// ganttText replaces characters that would end a line, field or comment of a chart.
func ganttText(text string) string {
	return Shorten(strings.Map(func(c rune) rune {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune(" -_./()", c):
			return c
		}
		return '_'
	}, text), 60)
}

// row is a stage or a service in the chart.
type row struct {
	section, name string
	result        Result
	from, to      time.Time
}

// rows returns the rows of the stages and then of the services, failed ones first, as
// far as their times are known. It returns at most limit rows, and how many it omits.
func (r Release) rows(limit int) (rows []row, omitted int) {
	for _, stage := range r.Stages {
		if !stage.StartedAt.IsZero() {
			rows = append(rows, row{"Stages", stage.Name, stage.Result, stage.StartedAt, stage.StartedAt.Add(time.Duration(stage.DurationMS) * time.Millisecond)})
		}
	}
	events := map[string][]Event{}
	for _, event := range r.Events {
		events[event.Service] = append(events[event.Service], event)
	}
	for _, s := range r.failedFirst() {
		if own := events[s.Name]; len(own) > 0 {
			rows = append(rows, row{"Services", s.Name, s.Result, own[0].At, own[len(own)-1].At})
		}
	}
	if omitted = len(rows) - limit; omitted > 0 {
		return rows[:limit], omitted
	}
	return rows, 0
}

// summary returns the release in one line.
func (r Release) summary() string {
	return fmt.Sprintf("Release %s %s in %s", shortSHA(r.SHA), r.Result, millis(r.DurationMS))
}
