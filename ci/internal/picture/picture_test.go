package picture_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"dagger/slipway/internal/picture"
	"dagger/slipway/internal/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record runs a shell's script in a small terminal.
func record(t *testing.T, script string, moment func(picture.Screen) bool) (during, after picture.Screen, err error) {
	t.Helper()
	return picture.Record(t.Context(), exec.CommandContext(t.Context(), "sh", "-c", script), 40, 6, moment)
}

func TestRecord(t *testing.T) {
	script := `printf 'one \033[1;32mtwo\033[0m\r\n\033[2mfaint\033[0m  \r\n'
printf '\033[1A\r\033[Jdrawn\r\n\033[1A\r\033[Jagain <&>\r\n'`
	during, after, err := record(t, script, func(s picture.Screen) bool { return strings.Contains(s.Text(), "drawn") })
	require.NoError(t, err)
	require.Equal(t, "one two\ndrawn\n", during.Text(), "a frame is seen, though the next was printed at once")
	require.Equal(t, "one two\nagain <&>\n", after.Text())
	require.Equal(t, picture.Piece{Text: "two", Column: 4, Width: 3, Colour: "#56d364", Bold: true}, after[0][1])
}

func TestRecordFails(t *testing.T) {
	never := func(picture.Screen) bool { return false }
	_, _, err := record(t, "echo done", never)
	require.ErrorContains(t, err, "the moment to take a picture never came of ")
	require.ErrorContains(t, err, "done")
	_, _, err = record(t, "echo why; exit 3", never)
	require.ErrorContains(t, err, "exit status 3")
	require.ErrorContains(t, err, "why")
	_, _, err = picture.Record(t.Context(), exec.CommandContext(t.Context(), "/no/such/program"), 40, 6, never)
	require.ErrorContains(t, err, "starting /no/such/program in a terminal")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = picture.Record(ctx, exec.CommandContext(t.Context(), "sh", "-c", "exec sleep 60"), 40, 6, never)
	require.Error(t, err, "it is interrupted with the context")
}

func TestSVG(t *testing.T) {
	screen := picture.Screen{
		{{Text: "  a <b> & \"c\"", Width: 13, Bold: true}, {Text: "●", Column: 13, Width: 1, Colour: "#56d364", Faint: true}},
		nil,
		{{Text: "   ", Width: 3}},
	}
	drawn := screen.SVG("a & b", "what <is> seen")
	requireXML(t, drawn)
	require.Contains(t, string(drawn), `<title id="t">a &amp; b</title>`)
	require.Contains(t, string(drawn), `<desc id="d">what &lt;is&gt; seen</desc>`)
	require.Contains(t, string(drawn), `<text class="b" x="35.6" y="53" textLength="85.8">a &lt;b&gt; &amp; &#34;c&#34;</text>`, "from the first letter on")
	require.Contains(t, string(drawn), `<text class="f" style="fill:#56d364" x="121.4" y="53" textLength="7.8">●</text>`)
	require.Equal(t, 3, bytes.Count(drawn, []byte("<text")), "the title and two pieces; spaces alone are not drawn")
}

func requireXML(t *testing.T, data []byte) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
	}
}

// TestCommitted looks at the pictures of the README: they show a release under way.
func TestCommitted(t *testing.T) {
	terminal, err := os.ReadFile(sourcetest.Repository("docs", "images", picture.TerminalFile))
	require.NoError(t, err)
	requireXML(t, terminal)
	require.Regexp(t, `task:2 [●○]+ +\S+task:1 ●`, string(terminal), "tasks of both versions")
	require.Contains(t, string(terminal), "(exit code 0)")
	require.Contains(t, string(terminal), ", 0 failed")

	page, err := os.Open(sourcetest.Repository("docs", "images", picture.PageFile))
	require.NoError(t, err)
	defer page.Close()
	pixels, err := png.Decode(page)
	require.NoError(t, err)
	var old, young int
	for y := range pixels.Bounds().Dy() {
		for x := range pixels.Bounds().Dx() {
			switch r, g, b, _ := pixels.At(x, y).RGBA(); {
			case r < 0x4000 && g > 0x6000 && b > 0xa000: // the first version's blue
				old++
			case r > 0xa000 && g < 0x9000 && b < 0x6000: // the second's orange
				young++
			}
		}
	}
	require.Greater(t, old, 1000, "bars of the version that ran")
	require.Greater(t, young, 1000, "bars of the version that comes")
}
