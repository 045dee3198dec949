package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// Sizes, in pixels of the picture's own coordinates.
const (
	svgWidth   = 960
	svgMargin  = 24
	svgLabels  = 200 // where the bars begin
	svgHead    = 92
	svgRow     = 30
	svgBar     = 18
	svgLine    = 22 // of an event
	svgEvents  = 60 // most events in the list
	svgRows    = 60 // most bars
	svgTicks   = 6  // about so many on the axis
	svgLetters = 8  // width of a letter, about
)

// bars say how a result is drawn. The sign says it without the colour; the
// colours are told apart by the colour-blind, too (Okabe and Ito's blue, vermilion
// and orange).
// https://jfly.uni-koeln.de/color/
var bars = map[Result]struct{ class, sign string }{
	Succeeded: {"good", "✓"}, Unchanged: {"none", "="}, Restored: {"back", "↩"}, Interrupted: {"back", "↩"}, Failed: {"bad", "✗"}, Refused: {"bad", "✗"},
}

// svgStyle follows the reader's choice of light or dark.
const svgStyle = `
.bg{fill:#ffffff}.grid{stroke:#d1d9e0}.good{fill:#0072b2}.back{fill:#b35900}.bad{fill:#c4260b}.none{fill:#6e7781}
text{font-family:system-ui,-apple-system,"Segoe UI",sans-serif;font-size:13px;fill:#1f2328}
.title{font-size:18px;font-weight:600}.sub{font-size:12px;fill:#59636e}.mark{fill:#ffffff;stroke:#1f2328;stroke-width:1.5}
@media (prefers-color-scheme:dark){
.bg{fill:#0d1117}.grid{stroke:#3d444d}.good{fill:#56b4e9}.back{fill:#e69f00}.bad{fill:#ff7b5c}.none{fill:#9198a1}
text{fill:#f0f6fc}.sub{fill:#9198a1}.mark{fill:#0d1117;stroke:#f0f6fc}}
`

// Timeline draws the release as an SVG picture: the stages and services as bars
// over time, and the events below. It needs nothing from elsewhere, and can be
// read by people who see no colours or no pictures.
func (r Release) Timeline(w io.Writer) error {
	rows, left := r.rows(svgRows)
	t := timeline{release: r, rows: rows, from: r.StartedAt, to: r.StartedAt.Add(time.Duration(r.DurationMS) * time.Millisecond)}
	for _, row := range rows {
		if row.to.After(t.to) {
			t.to = row.to
		}
	}
	if !t.to.After(t.from) {
		t.to = t.from.Add(time.Second)
	}
	y := svgHead + len(rows)*svgRow
	t.axis(y) // behind the bars
	for n, row := range rows {
		t.bar(row, svgHead+n*svgRow)
	}
	y += 50
	if left > 0 {
		t.text(svgMargin, y, "sub", fmt.Sprintf("%d more services are in report.json.", left))
		y += svgLine
	}
	y = t.events(y)
	height := y + svgMargin/2
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="t d">`+"\n", svgWidth, height, svgWidth, height)
	fmt.Fprintf(&out, "<title id=\"t\">%s</title>\n<desc id=\"d\">%s</desc>\n<style>%s</style>\n", escape(r.sentence()), escape(t.description(left)), svgStyle)
	fmt.Fprintf(&out, `<rect class="bg" width="%d" height="%d"/>`+"\n", svgWidth, height)
	out.WriteString(t.out.String())
	out.WriteString("</svg>\n")
	_, err := io.WriteString(w, out.String())
	return err
}

// timeline is a picture in the making.
type timeline struct {
	release  Release
	rows     []row
	from, to time.Time
	out      strings.Builder
}

// x is where a moment is.
func (t *timeline) x(at time.Time) int {
	share := float64(at.Sub(t.from)) / float64(t.to.Sub(t.from))
	return svgLabels + int(min(1, max(0, share))*float64(svgWidth-svgLabels-svgMargin-70))
}

func (t *timeline) text(x, y int, class, text string) {
	fmt.Fprintf(&t.out, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, x, y, escape(text))
}

// bar draws a stage or a service, its events as marks on it.
func (t *timeline) bar(row row, y int) {
	look, ok := bars[row.result]
	if !ok {
		look = bars[Unchanged]
	}
	x1, x2 := t.x(row.from), t.x(row.to)
	took := fmt.Sprintf("%s %s %s", look.sign, row.result, seconds(row.to.Sub(row.from)))
	fmt.Fprintf(&t.out, `<g><title>%s: %s</title>`+"\n", escape(row.name), escape(took))
	t.text(svgMargin, y+14, "row", shorten(row.name, (svgLabels-svgMargin)/svgLetters))
	fmt.Fprintf(&t.out, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="3"/>`+"\n", look.class, x1, y, max(3, x2-x1), svgBar)
	drawn := -svgBar
	for _, event := range row.events {
		if x := t.x(event.At); x >= drawn+6 { // one on another tells nothing
			fmt.Fprintf(&t.out, `<circle class="mark" cx="%d" cy="%d" r="4"/>`+"\n", x, y+svgBar/2)
			drawn = x
		}
	}
	if width := len([]rune(took)) * svgLetters; x2+8+width > svgWidth && x1-8-width > svgLabels {
		fmt.Fprintf(&t.out, `<text class="sub" x="%d" y="%d" text-anchor="end">%s</text>`+"\n", x1-8, y+14, escape(took))
	} else {
		t.text(min(x2+8, svgWidth-width), y+14, "sub", took)
	}
	t.out.WriteString("</g>\n")
}

// axis draws the time below the bars, in steps that people count in.
func (t *timeline) axis(y int) {
	span := t.to.Sub(t.from)
	step := niceStep(span / svgTicks)
	for at := time.Duration(0); at <= span; at += step {
		x := t.x(t.from.Add(at))
		fmt.Fprintf(&t.out, `<path class="grid" d="M%d %dV%d"/><text class="sub" x="%d" y="%d" text-anchor="middle">+%s</text>`+"\n", x, svgHead-6, y, x, y+16, at)
	}
	t.text(svgMargin, 38, "title", t.release.sentence())
	x := svgMargin
	for _, entry := range []struct {
		result Result
		text   string
	}{{Succeeded, "succeeded"}, {Unchanged, "unchanged"}, {Restored, "restored, interrupted"}, {Failed, "failed, refused"}} {
		look := bars[entry.result]
		fmt.Fprintf(&t.out, `<rect class="%s" x="%d" y="54" width="12" height="12" rx="3"/>`, look.class, x)
		t.text(x+18, 64, "sub", look.sign+" "+entry.text)
		x += 40 + svgLetters*len(entry.text)
	}
	fmt.Fprintf(&t.out, `<circle class="mark" cx="%d" cy="60" r="4"/>`, x+6)
	t.text(x+18, 64, "sub", "event")
}

// niceStep is the smallest round duration that is not shorter.
func niceStep(least time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second, time.Minute, 10 * time.Minute, time.Hour, 10 * time.Hour} {
		for _, n := range []time.Duration{1, 2, 5} {
			if n*unit >= least {
				return n * unit
			}
		}
	}
	return least
}

// events lists what happened below y, and returns where the list ends.
func (t *timeline) events(y int) int {
	for n, event := range t.release.Events {
		if n == svgEvents {
			t.text(svgMargin, y, "sub", fmt.Sprintf("%d more events are in report.json.", len(t.release.Events)-n))
			return y + svgLine
		}
		t.text(svgMargin, y, "sub", "+"+seconds(event.At.Sub(t.from)))
		t.text(svgMargin+64, y, "row", shorten(event.Service, 16))
		t.text(svgLabels, y, "row", shorten(event.Text, (svgWidth-svgLabels-svgMargin)/svgLetters+12))
		y += svgLine
	}
	return y
}

// description is the picture for those who do not see it.
func (t *timeline) description(left int) string {
	var parts []string
	for _, row := range t.rows {
		parts = append(parts, fmt.Sprintf("%s %s after %s, in %s", row.name, row.result, seconds(row.from.Sub(t.from)), seconds(row.to.Sub(row.from))))
	}
	if left > 0 {
		parts = append(parts, fmt.Sprintf("%d more services", left))
	}
	if len(parts) == 0 {
		parts = []string{"nothing of it has a time"}
	}
	return strings.Join(parts, "; ") + "."
}

// escape makes text safe in XML; what XML cannot hold is replaced.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder does not fail
	return b.String()
}
