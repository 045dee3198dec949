package delivery

import (
	"fmt"
	"io"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// JSON writes the report as one indented JSON document.
func (p Published) JSON(w io.Writer) error { return report.WriteJSON(w, p) }

// Text writes the report for a terminal.
func (p Published) Text(w io.Writer) error {
	var b strings.Builder
	for _, i := range p.Images {
		fmt.Fprintf(&b, "%-12s %-9s %s  %s\n", i.Service, i.state(), i.Image, sentText(i.UploadStats))
		fmt.Fprintf(&b, "%-12s tag %s; latest %s\n", "", i.Tag, latestText(i.Latest))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Markdown writes the report for a job summary.
func (p Published) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Published `%s` to %s.\n\n| service | image | platforms | state | sent | latest |\n|---|---|---|---|---|---|\n", p.SHA, p.Registry)
	for _, i := range p.Images {
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s |\n", i.Service, i.Image, strings.Join(i.Platforms, ", "), i.state(), sentText(i.UploadStats), latestText(i.Latest))
	}
	return report.WriteMarkdown(w, b.String())
}

func (i PublishedImage) state() string {
	if i.Pushed {
		return "pushed"
	}
	return "unchanged"
}

func sentText(s registry.UploadStats) string {
	line := fmt.Sprintf("%d blobs, %.1f MB", s.Blobs, float64(s.Bytes)/1e6)
	if s.Mounted > 0 {
		line += fmt.Sprintf(", %d mounted", s.Mounted)
	}
	return line
}

func latestText(m registry.LatestResult) string {
	if m.Reason == "" {
		return m.Result
	}
	return m.Result + ": " + m.Reason
}
