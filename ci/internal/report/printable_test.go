package report_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report"
)

func TestPrintable(t *testing.T) {
	for name, tt := range map[string]struct{ in, local, inActions string }{
		"plain":               {"a: 1 ü\n\tb::c", "a: 1 ü\n\tb::c", "a: 1 ü\n\tb::c"},
		"control characters":  {"\x1b[31mred\x00 10%\r20%\u009b\x7f", `\x1b[31mred\x00 10%\r20%\x9b\x7f`, `\x1b[31mred\x00 10%\r20%\x9b\x7f`},
		"a command":           {"::error::a", "::error::a", `\x3a:error::a`},
		"a command below":     {"a\n \t::set-output name=a::b\nc", "a\n \t::set-output name=a::b\nc", "a\n \t" + `\x3a:set-output name=a::b` + "\nc"},
		"the older form":      {"a ##[add-mask]b", "a ##[add-mask]b", `a \x23#[add-mask]b`},
		"after a return only": {"\r::error::a", `\r::error::a`, `\r::error::a`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GITHUB_ACTIONS", "")
			require.Equal(t, tt.local, report.Printable(tt.in))
			t.Setenv("GITHUB_ACTIONS", "true")
			require.Equal(t, tt.inActions, report.Printable(tt.in))
		})
	}
}

// TestTextIsPrintable renders containers' output as text and as JSON.
func TestTextIsPrintable(t *testing.T) {
	t.Setenv("GITHUB_ACTIONS", "true")
	const output = "a\x1b[2J\n::error::b"
	causes := []report.Cause{{Count: 1, LogTail: []string{output}}}
	for name, document := range map[string]report.Document{
		"logs":    report.Logs{Lines: []report.LogLine{{Service: "api", Main: true, Text: output}}},
		"release": report.Release{Services: []report.Service{{Causes: causes}}},
		"run":     report.Run{Error: output},
	} {
		var text, json bytes.Buffer
		require.NoError(t, document.Text(&text))
		require.Contains(t, text.String(), `a\x1b[2J`+"\n"+`\x3a:error::b`, name)
		require.NoError(t, document.JSON(&json))
		require.Contains(t, json.String(), `a\u001b[2J\n::error::b`, name)
	}
	var plain, live bytes.Buffer
	report.Plain{W: &plain}.Line(output)
	view := report.NewLive(&live, func() int { return 0 })
	view.NoColor = true
	view.Line(output)
	view.Status([]string{"a\x1b"})
	for _, shown := range []string{plain.String(), live.String()} {
		require.Contains(t, shown, `a\x1b[2J`+"\n"+`\x3a:error::b`)
		require.NotContains(t, shown, "\x1b[2J")
	}
	require.Contains(t, live.String(), `a\x1b`+"\n")
}
