package picture

import (
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// Sizes of the window, in pixels of the picture's own coordinates.
const (
	letter  = 7.8
	line    = 19
	margin  = 20
	titleAt = 26
	top     = 44
)

// The window's own colours: a terminal is dark, whatever is around it.
const (
	ground = "#0d1117"
	ink    = "#e6edf3"
)

// SVG draws a terminal's window. It needs nothing from elsewhere, and its text is
// text; every piece is as wide as its columns, whatever the reader's font.
func (s Screen) SVG(title, description string) []byte {
	columns := 60
	for _, row := range s {
		if n := len(row); n > 0 {
			columns = max(columns, row[n-1].Column+row[n-1].Width)
		}
	}
	width := int(math.Ceil(float64(columns)*letter)) + 2*margin
	height := top + len(s)*line + margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="t d">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title id=\"t\">%s</title>\n<desc id=\"d\">%s</desc>\n", escape(title), escape(description))
	fmt.Fprintf(&b, "<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,\"Liberation Mono\",monospace;fill:%s;white-space:pre}.b{font-weight:700}.f{fill-opacity:.72}</style>\n", ink)
	fmt.Fprintf(&b, `<rect x=".5" y=".5" width="%d" height="%d" rx="9" fill="%s" stroke="#3d444d"/>`+"\n", width-1, height-1, ground)
	for n, colour := range []string{"#ff7b72", "#e3b341", "#56d364"} {
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="5" fill="%s"/>`, margin+n*18, titleAt-4, colour)
	}
	fmt.Fprintf(&b, `<text class="f" x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", width/2, titleAt, escape(title))
	for y, row := range s {
		for _, p := range row {
			p.draw(&b, top+y*line+line/2)
		}
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

func (p Piece) draw(b *strings.Builder, y int) {
	lead := len(p.Text) - len(strings.TrimLeft(p.Text, " ")) // spaces are one byte and one column wide
	text := p.Text[lead:]
	if text == "" {
		return
	}
	var class, fill string
	switch {
	case p.Bold && p.Faint:
		class = ` class="b f"`
	case p.Bold:
		class = ` class="b"`
	case p.Faint:
		class = ` class="f"`
	}
	if p.Colour != "" {
		fill = fmt.Sprintf(` style="fill:%s"`, p.Colour)
	}
	fmt.Fprintf(b, `<text%s%s x="%.1f" y="%d" textLength="%.1f">%s</text>`+"\n",
		class, fill, margin+float64(p.Column+lead)*letter, y, float64(p.Width-lead)*letter, escape(text))
}

// escape makes text safe in XML; what XML cannot hold is replaced.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder does not fail
	return b.String()
}
