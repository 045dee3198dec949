package report_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/report"
)

// timed is a sample of which it is known when everything began.
func timed() report.Release {
	r := sample()
	r.Stages = []report.Stage{{Name: "deploy", Result: report.Restored, StartedAt: r.StartedAt.Add(time.Second), DurationMS: 5000}}
	r.Events = []report.Event{
		{At: r.StartedAt.Add(1500 * time.Millisecond), Service: "backend", Text: "deployment started"},
		{At: r.StartedAt.Add(1510 * time.Millisecond), Service: "backend", Text: "has started 2 tasks"},
		{At: r.StartedAt.Add(2 * time.Second), Text: "as a whole"},
		{At: r.StartedAt.Add(6 * time.Second), Service: "backend", Text: "is back on the previous version"},
	}
	return r
}

// picture draws a release and holds the picture to what all pictures keep.
func picture(t *testing.T, r report.Release) string {
	t.Helper()
	var out strings.Builder
	require.NoError(t, r.Timeline(&out))
	decoder := xml.NewDecoder(strings.NewReader(out.String()))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err, out.String())
		if element, ok := token.(xml.StartElement); ok {
			require.Contains(t, []string{"svg", "title", "desc", "style", "rect", "g", "text", "circle", "path"}, element.Name.Local, "nothing that runs or loads")
			for _, attribute := range element.Attr {
				require.NotContains(t, attribute.Name.Local, "href")
				require.False(t, strings.HasPrefix(attribute.Name.Local, "on"), attribute.Name.Local)
			}
		}
	}
	require.NotContains(t, out.String(), "url(")
	require.NotContains(t, out.String(), "@import")
	return out.String()
}

func TestTimeline(t *testing.T) {
	svg := picture(t, timed())
	for _, want := range []string{
		`role="img" aria-labelledby="t d"`,
		`<title id="t">Release 012345678901 restored in 6.5s</title>`,
		`<desc id="d">deploy restored after 1.0s, in 5.0s; backend restored after 1.5s, in 4.5s.</desc>`,
		"↩ restored 4.5s",
		`>has started 2 tasks</text>`,
		">as a whole</text>",
		"prefers-color-scheme:dark",
		`>+2s</text>`,
	} {
		require.Contains(t, svg, want)
	}
	require.Equal(t, 2+1, strings.Count(svg, "<circle"), "marks of what can be told apart, and that of the legend")
}

func TestTimelineOfHostileText(t *testing.T) {
	r := timed()
	r.Services[0].Name, r.Stages[0].Name, r.SHA = hostile, hostile, hostile
	for n := range r.Events {
		r.Events[n].Service, r.Events[n].Text = hostile, hostile+"\x00\xff"
	}
	require.NotContains(t, picture(t, r), "<script")
}

func TestTimelineOfMuchAndNothing(t *testing.T) {
	svg := picture(t, large())
	require.Less(t, len(svg), 100_000)
	require.Contains(t, svg, "more services are in report.json.")
	require.Contains(t, svg, "1940 more events are in report.json.")
	require.Contains(t, picture(t, report.Release{}), "nothing of it has a time.")
	odd := timed()
	odd.Stages[0].Result = "odd"
	require.Contains(t, picture(t, odd), "odd 5.0s")
}

func TestTimelineKeepsInside(t *testing.T) {
	for _, took := range []time.Duration{time.Millisecond, time.Second, 90 * time.Second, 3 * time.Hour, 400 * time.Hour} {
		r := report.Release{SHA: "x", DurationMS: took.Milliseconds(), StartedAt: time.Unix(0, 0)}
		for n := range 5 {
			r.Stages = append(r.Stages, report.Stage{Name: "s", Result: report.Succeeded, StartedAt: r.StartedAt.Add(took / 4 * time.Duration(n)), DurationMS: took.Milliseconds() / 4})
		}
		svg := picture(t, r)
		ticks := regexp.MustCompile(`text-anchor="middle">`).FindAllString(svg, -1)
		require.GreaterOrEqual(t, len(ticks), 2, took)
		require.LessOrEqual(t, len(ticks), 8, took)
		for _, x := range regexp.MustCompile(` x="(-?\d+)"`).FindAllStringSubmatch(svg, -1) {
			n, err := strconv.Atoi(x[1])
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, 0)
			require.Less(t, n, 960)
		}
	}
}

// TestTimelineContrast computes the contrast of text and bars with the background,
// in light and in dark, as WCAG 2.2 wants it: 4.5 for text, 3 for what is drawn.
func TestTimelineContrast(t *testing.T) {
	svg := picture(t, timed())
	light, dark, ok := strings.Cut(svg, "@media")
	require.True(t, ok)
	for name, style := range map[string]string{"light": light, "dark": dark} {
		fill := func(selector string) string {
			found := regexp.MustCompile(regexp.QuoteMeta(selector) + `\{[^}]*fill:(#[0-9a-f]{6})`).FindStringSubmatch(style)
			require.NotNil(t, found, selector)
			return found[1]
		}
		ground := fill(".bg")
		for selector, least := range map[string]float64{"text": 4.5, ".sub": 4.5, ".good": 3, ".back": 3, ".bad": 3, ".none": 3} {
			require.GreaterOrEqual(t, contrast(t, fill(selector), ground), least, "%s of %s", selector, name)
		}
	}
}

// contrast is the contrast ratio of two colours.
// https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
func contrast(t *testing.T, one, other string) float64 {
	t.Helper()
	luminance := func(colour string) float64 {
		var r, g, b uint8
		_, err := fmt.Sscanf(colour, "#%02x%02x%02x", &r, &g, &b)
		require.NoError(t, err)
		linear := func(c uint8) float64 {
			v := float64(c) / 255
			if v <= 0.04045 {
				return v / 12.92
			}
			return math.Pow((v+0.055)/1.055, 2.4)
		}
		return 0.2126*linear(r) + 0.7152*linear(g) + 0.0722*linear(b)
	}
	a, b := luminance(one), luminance(other)
	return (max(a, b) + 0.05) / (min(a, b) + 0.05)
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, timed().Write(dir))
	for name, want := range map[string]string{"report.json": `"result": "restored"`, "report.md": "## Release `012345678901`: restored", "timeline.svg": "<svg "} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Contains(t, string(data), want)
	}
	file := filepath.Join(dir, "report.md")
	require.ErrorContains(t, timed().Write(file), "making room for the report")
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.Mkdir(file, 0o755))
	require.ErrorContains(t, timed().Write(dir), "writing the report")
}

func TestGantt(t *testing.T) {
	var out strings.Builder
	require.NoError(t, timed().Markdown(&out))
	start := timed().StartedAt.UnixMilli()
	require.Contains(t, out.String(), fmt.Sprintf("```mermaid\ngantt\n    accTitle: Timeline of the release\n    accDescr: Release 012345678901 restored in 6.5s\n    dateFormat x\n    axisFormat %%H:%%M:%%S\n"+
		"    section Stages\n    deploy (restored) :crit, %d, %d\n    section Services\n    backend (restored) :crit, %d, %d\n```\n", start+1000, start+6000, start+1500, start+6000))
	out.Reset()
	require.NoError(t, report.Release{}.Markdown(&out))
	require.NotContains(t, out.String(), "mermaid")
}
