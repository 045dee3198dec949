package coverage_test

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
)

var epoch = time.UnixMilli(1_700_000_000_000)

func TestWriteCobertura(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, report(t).WriteCobertura(&out, epoch))

	require.True(t, strings.HasPrefix(out.String(), `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
		`<!DOCTYPE coverage SYSTEM "http://cobertura.sourceforge.net/xml/coverage-04.dtd">`+"\n"+
		// Lines 4, 5, 9 of add.go and none of 3, 4 of main.go ran; line 4 of
		// the tool did. Line 6 did not; 7, 8 and 10 hold no code.
		`<coverage line-rate="0.5714" branch-rate="0" lines-covered="4" lines-valid="7" branches-covered="0" branches-valid="0" complexity="0" version="1" timestamp="1700000000000">`+"\n"+
		" <sources>\n  <source>.</source>\n </sources>\n"), out.String())
	var doc struct {
		Classes []struct {
			Filename string `xml:"filename,attr"`
			LineRate string `xml:"line-rate,attr"`
			Lines    []struct {
				Number int `xml:"number,attr"`
				Hits   int `xml:"hits,attr"`
			} `xml:"lines>line"`
		} `xml:"packages>package>classes>class"`
	}
	require.NoError(t, xml.Unmarshal(out.Bytes(), &doc))
	require.Len(t, doc.Classes, 3)
	add := doc.Classes[0]
	require.Equal(t, "shop/calc/add.go", add.Filename)
	require.Equal(t, "0.7500", add.LineRate)
	hits := map[int]int{}
	for _, line := range add.Lines {
		hits[line.Number] = line.Hits
	}
	require.Equal(t, map[int]int{4: 3, 5: 3, 6: 0, 9: 3}, hits)
}

func TestWriteCoberturaEmpty(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, coverage.Report{}.WriteCobertura(&out, epoch))
	require.Contains(t, out.String(), `line-rate="1"`)
	require.NoError(t, xml.Unmarshal(out.Bytes(), new(any)))
}

func TestWriteMarkdown(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, report(t).WriteMarkdown(&out, coverage.Gate{Default: 30, Modules: map[string]float64{"tool": 99.5}}))
	require.Equal(t, `| Module, package | Coverage | Minimum | Statements |
|:--|--:|--:|--:|
| **shop** | **28.5 %** (too low) | 30 % | 7 |
| `+"`shop/calc`"+` | 66.6 % | | 3 |
| `+"`shop/cmd`"+` | 0.0 % | | 4 |
| **tool** | **no statements** | 99.5 % | 0 |
| `+"`tool`"+` | no statements | | 0 |
`, out.String())
}

func TestWriteHTML(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, report(t).WriteHTML(&out, coverage.Gate{Default: 30}))
	html := out.String()

	require.Contains(t, html, `<title>Coverage 28.5 %</title>`)
	require.Contains(t, html, `28.5 % (too low)`)
	require.Contains(t, html, `<a href="#p1">shop/calc</a>`)
	require.Contains(t, html, `<h2 id="p1">example.com/shop/calc</h2>`)
	require.Contains(t, html, "<li><code>// Add adds, the hard way.</code></li>\n"+
		`<li><code>func Add(a, b int) int <span class="hit" title="3&#215;">{</span></code></li>`+"\n"+
		`<li><code><span class="hit" title="3&#215;">	if a == 0 </span><span class="miss" title="0&#215;">{</span></code></li>`+"\n"+
		`<li><code><span class="miss" title="0&#215;">		return b</span></code></li>`+"\n"+
		`<li><code><span class="miss" title="0&#215;">	}</span></code></li>`+"\n"+
		"<li><code></code></li>\n"+
		`<li><code>	<span class="hit" title="3&#215;">return a &#43; b</span></code></li>`+"\n"+
		"<li><code>}</code></li>\n</ol>")
	require.Contains(t, html, `println(&#34;&lt;b&gt;&amp;&#34;)`)
	require.NotRegexp(t, `<script|<link|src=|url\(|https?:`, html)
}

func TestReportsWithoutSource(t *testing.T) {
	r := coverage.Report{Modules: []coverage.Module{
		readModule(t, "gone", "example.com/gone", "mode: set\nexample.com/gone/x.go:3.1,4.2 5 1\n"),
	}}
	require.Equal(t, coverage.Totals{Covered: 5, Statements: 5}, r.Totals())
	var out bytes.Buffer
	require.NoError(t, r.WriteHTML(&out, coverage.Gate{}))
	require.Contains(t, out.String(), "The source tree does not hold this file.")
	out.Reset()
	require.NoError(t, r.WriteCobertura(&out, epoch))
	require.Contains(t, out.String(), `lines-covered="2" lines-valid="2"`)
}
