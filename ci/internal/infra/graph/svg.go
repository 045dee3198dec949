package graph

import (
	"encoding/xml"
	"fmt"
	"strings"
	"unicode/utf8"

	tfjson "github.com/hashicorp/terraform-json"

	"dagger/slipway/internal/infra/summary"
)

// Sizes, in pixels of the picture's own coordinates.
const (
	columns    = 5
	cardWidth  = 204
	cardHeight = 48
	gapX       = 18
	gapY       = 20
	margin     = 24
	laneHead   = 30
	laneFoot   = 16
	headHeight = 84
	width      = 2*margin + 2*16 + columns*cardWidth + (columns-1)*gapX
)

// mostEdges is how many lines can still be told apart.
const mostEdges = 160

// mostHot is how many lines can stand out: where all do, none does.
const mostHot = 30

// look is how an action is drawn. The sign says it without the colour.
var look = map[summary.Action]struct{ class, sign string }{
	summary.Destroy: {"destroy", "−"}, summary.Replace: {"replace", "±"}, summary.Update: {"update", "~"}, summary.Create: {"create", "+"},
	summary.Forget: {"other", "○"}, summary.Import: {"other", "⇥"}, summary.Move: {"other", "→"}, summary.Read: {"other", "?"}, summary.None: {"none", ""},
}

// legend lists the actions as the picture explains them.
var legend = []struct {
	action summary.Action
	text   string
}{
	{summary.Destroy, "destroyed"},
	{summary.Replace, "replaced"},
	{summary.Update, "updated"},
	{summary.Create, "created"},
	{summary.None, "unchanged"},
}

// style follows the reader's choice of light or dark.
const style = `
.bg{fill:#fff}.lane{fill:#f6f8fa;stroke:#d1d9e0}.vpc{fill:none;stroke:#8250df;stroke-dasharray:6 4}
.card{fill:#fff;stroke:#d1d9e0}.drift{stroke:#0969da;stroke-width:2;stroke-dasharray:4 3}
text{font-family:system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1f2328}
.title{font-size:18px;font-weight:600}.sub{font-size:12px;fill:#59636e}.head{font-size:13px;font-weight:600;fill:#59636e}
.kind{font-size:11px;fill:#59636e}.name{font-size:13px}.sign{font-size:13px;font-weight:700}.vpcname{font-size:12px;fill:#8250df}
.edge{fill:none;stroke:#818b98;stroke-width:1;opacity:.28}.hot{stroke-width:1.6;opacity:.85}
.create{fill:#1a7f37}.update{fill:#9a6700}.replace{fill:#8250df}.destroy{fill:#d1242f}.other{fill:#0969da}.none{fill:#818b98}
@media (prefers-color-scheme:dark){
.bg{fill:#0d1117}.lane{fill:#151b23;stroke:#3d444d}.vpc{stroke:#ab7df8}.card{fill:#212830;stroke:#3d444d}.drift{stroke:#4493f8}
text{fill:#f0f6fc}.sub,.head,.kind{fill:#9198a1}.vpcname{fill:#ab7df8}.edge{stroke:#9198a1}
.create{fill:#3fb950}.update{fill:#d29922}.replace{fill:#ab7df8}.destroy{fill:#f85149}.other{fill:#4493f8}.none{fill:#656c76}}
`

// box is where a card stands.
type box struct{ x, y int }

// SVG draws the platform of a redacted plan.
func SVG(plan *tfjson.Plan, s summary.Summary) []byte {
	all := nodes(plan, s)
	p := &picture{boxes: map[string]box{}, byBlock: map[string]*node{}}
	height := p.lay(all)
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="t d">`+"\n", width, height, width, height)
	fmt.Fprintf(&out, "<title id=\"t\">Platform</title><desc id=\"d\">%s</desc>\n<style>%s</style>\n", escape(s.Headline()), style)
	fmt.Fprintf(&out, `<rect class="bg" width="%d" height="%d"/>`+"\n", width, height)
	p.head(&out, s)
	out.WriteString(p.lanes.String())
	p.vpc(&out, plan)
	p.edges(&out, edges(plan))
	for _, n := range all {
		p.card(&out, n)
	}
	out.WriteString("</svg>\n")
	return []byte(out.String())
}

// picture is a layout in the making.
type picture struct {
	boxes    map[string]box
	byBlock  map[string]*node
	lanes    strings.Builder
	vpcStart int
	vpcEnd   int
}

// lay places lanes and cards and returns the picture's height. Places depend
// on the platform and not on what changes, so that two plans can be compared.
func (p *picture) lay(all []*node) (height int) {
	y := headHeight
	for i, l := range lanes {
		var members []*node
		for _, n := range all {
			if lane(n.kind) == i {
				members = append(members, n)
			}
		}
		if len(members) == 0 {
			continue
		}
		if l.inVPC && p.vpcStart == 0 {
			y += 14
			p.vpcStart = y - 6
		}
		if !l.inVPC && p.vpcStart != 0 && p.vpcEnd == 0 {
			p.vpcEnd = y
			y += 14
		}
		rows := (len(members) + columns - 1) / columns
		laneHeight := laneHead + rows*cardHeight + (rows-1)*gapY + laneFoot
		fmt.Fprintf(&p.lanes, `<rect class="lane" x="%d" y="%d" width="%d" height="%d" rx="8"/><text class="head" x="%d" y="%d">%s</text>`+"\n",
			margin, y, width-2*margin, laneHeight, margin+16, y+20, l.title)
		for k, n := range members {
			p.boxes[n.block] = box{margin + 16 + k%columns*(cardWidth+gapX), y + laneHead + k/columns*(cardHeight+gapY)}
			p.byBlock[n.block] = n
		}
		y += laneHeight + 10
	}
	if p.vpcStart != 0 && p.vpcEnd == 0 {
		p.vpcEnd = y
	}
	return y + margin
}

func (p *picture) head(out *strings.Builder, s summary.Summary) {
	fmt.Fprintf(out, `<text class="title" x="%d" y="38">%s</text>`+"\n", margin, escape(clip(s.Headline(), 110)))
	x := margin
	for _, entry := range legend {
		l := look[entry.action]
		fmt.Fprintf(out, `<rect class="%s" x="%d" y="54" width="12" height="12" rx="3"/><text class="sub" x="%d" y="64">%s %s</text>`+"\n",
			l.class, x, x+18, l.sign, entry.text)
		x += 104
	}
	fmt.Fprintf(out, `<rect class="card drift" x="%d" y="54" width="12" height="12" rx="3"/><text class="sub" x="%d" y="64">changed by others</text>`+"\n", x, x+18)
}

// vpc frames what stands in the network, if there is one.
func (p *picture) vpc(out *strings.Builder, plan *tfjson.Plan) {
	for _, change := range plan.ResourceChanges {
		if change == nil || change.Type != "aws_vpc" || change.Change == nil || p.vpcEnd <= p.vpcStart {
			continue
		}
		name := "VPC"
		for _, side := range []any{change.Change.After, change.Change.Before} {
			values, _ := side.(map[string]any)
			if cidr, ok := values["cidr_block"].(string); ok {
				name += " " + cidr
				break
			}
		}
		fmt.Fprintf(out, `<rect class="vpc" x="%d" y="%d" width="%d" height="%d" rx="12"/><text class="vpcname" x="%d" y="%d" text-anchor="end">%s</text>`+"\n",
			margin-10, p.vpcStart, width-2*margin+20, p.vpcEnd-p.vpcStart, width-margin-12, p.vpcStart+22, escape(clip(name, 40)))
		return
	}
}

// edges draws what needs what. In a crowd only what touches a change is drawn.
func (p *picture) edges(out *strings.Builder, all []edge) {
	var drawn, hot []edge
	for _, e := range all {
		from, to := p.byBlock[e.from], p.byBlock[e.to]
		if from == nil || to == nil {
			continue
		}
		drawn = append(drawn, e)
		if from.changes() && to.changes() {
			hot = append(hot, e)
		}
	}
	if len(drawn) > mostEdges {
		if drawn = hot; len(hot) > mostEdges {
			return
		}
	}
	for _, e := range drawn {
		class := "edge"
		if len(hot) <= mostHot && p.byBlock[e.from].changes() && p.byBlock[e.to].changes() {
			class = "edge hot"
		}
		fmt.Fprintf(out, `<path class="%s" d="%s"><title>%s needs %s</title></path>`+"\n", class, curve(p.boxes[e.from], p.boxes[e.to]), escape(e.from), escape(e.to))
	}
}

// curve leads from card to card through the gaps above and below them.
func curve(from, to box) string {
	x1, x2 := from.x+cardWidth/2, to.x+cardWidth/2
	y1, y2 := from.y+cardHeight, to.y
	bend := 40
	switch {
	case from.y == to.y: // side by side: over the top
		y1, y2 = from.y, to.y
		return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1, y1-16, x2, y2-16, x2, y2)
	case from.y > to.y:
		y1, y2, bend = from.y, to.y+cardHeight, -40
	}
	return fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1, y1+bend, x2, y2-bend, x2, y2)
}

func (p *picture) card(out *strings.Builder, n *node) {
	b, l := p.boxes[n.block], look[n.worst()]
	class := "card"
	if n.drifted > 0 {
		class = "card drift"
	}
	name := n.label
	if n.instances > 1 {
		name = fmt.Sprintf("%s ×%d", clip(name, 20), n.instances)
	}
	tip := n.block
	if len(n.tips) > 0 {
		tip += "\n" + strings.Join(n.tips[:min(len(n.tips), 20)], "\n")
	}
	fmt.Fprintf(out, `<g><title>%s</title><rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="6"/>`, escape(tip), class, b.x, b.y, cardWidth, cardHeight)
	fmt.Fprintf(out, `<rect class="%s" x="%d" y="%d" width="5" height="%d" rx="2"/>`, l.class, b.x+5, b.y+7, cardHeight-14)
	fmt.Fprintf(out, `<text class="kind" x="%d" y="%d">%s</text>`, b.x+18, b.y+19, escape(clip(strings.TrimPrefix(n.kind, "aws_"), 26)))
	fmt.Fprintf(out, `<text class="name" x="%d" y="%d">%s</text>`, b.x+18, b.y+37, escape(clip(name, 22)))
	fmt.Fprintf(out, `<text class="sign %s" x="%d" y="%d" text-anchor="end">%s</text></g>`+"\n", l.class, b.x+cardWidth-9, b.y+37, signs(n))
}

// signs are how many instances are created, changed and so on.
func signs(n *node) string {
	var all []string
	for _, entry := range legend {
		if k := n.actions[entry.action]; k > 1 {
			all = append(all, fmt.Sprintf("%s%d", look[entry.action].sign, k))
		} else if k == 1 {
			all = append(all, look[entry.action].sign)
		}
	}
	if len(all) == 0 {
		return look[n.worst()].sign
	}
	return strings.Join(all, " ")
}

// escape makes text safe in XML; what XML cannot hold is replaced.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a strings.Builder does not fail
	return b.String()
}

// clip shortens a text to at most n characters.
func clip(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}
