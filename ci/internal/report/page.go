package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MarkdownLimit is the maximum size of a document's Markdown, in bytes: a comment on
// GitHub may have 65,536 characters, and the poster adds some. A step summary may
// have 1 MiB.
const MarkdownLimit = 60_000

// Page builds Markdown up to a size limit.
type Page struct {
	text  strings.Builder
	limit int // bytes
}

// NewPage returns an empty page of at most limit bytes.
func NewPage(limit int) *Page { return &Page{limit: limit} }

// Add adds a part if it fits, and reports whether it did.
func (p *Page) Add(part string) bool {
	if p.text.Len()+len(part) > p.limit {
		return false
	}
	p.text.WriteString(part)
	return true
}

// AddAll adds parts up to the first one that exceeds budget bytes or does not fit, and
// returns how many it omitted.
func (p *Page) AddAll(parts []string, budget int) (omitted int) {
	for n, part := range parts {
		budget -= len(part)
		if budget < 0 || !p.Add(part) {
			return len(parts) - n
		}
	}
	return 0
}

// addCounted is [Page.AddAll] with a line about how many it omitted; what names them.
func (p *Page) addCounted(parts []string, budget int, what string) {
	if omitted := p.AddAll(parts, budget); omitted > 0 {
		p.Force(fmt.Sprintf("\n%d more %s are in the JSON report.\n", omitted, what))
	}
}

// Force adds a short part, even if it exceeds the limit.
func (p *Page) Force(part string) { p.text.WriteString(part) }

// String returns the page.
func (p *Page) String() string { return p.text.String() }

// WriteMarkdown writes a document's Markdown, truncated to [MarkdownLimit] bytes with a
// line that says so.
func WriteMarkdown(w io.Writer, text string) error {
	_, err := io.WriteString(w, truncate(text, MarkdownLimit))
	return err
}

// truncate truncates Markdown to limit bytes after a whole line, and closes open code
// fences and details.
func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const reserve = 400 // for closing elements and the last line
	head := text[:max(0, limit-reserve)]
	head = head[:strings.LastIndex(head, "\n")+1]
	var fence string
	open := 0
	for line := range strings.Lines(head) {
		ticks := len(line) - len(strings.TrimLeft(line, "`"))
		switch {
		case fence == "" && ticks >= 3:
			fence = line[:ticks]
		case fence != "" && ticks >= len(fence) && strings.Trim(line, "`\n") == "":
			fence = ""
		case fence == "":
			open += strings.Count(line, "<details") - strings.Count(line, "</details>")
		}
	}
	lines := strings.Count(text[len(head):], "\n")
	if fence != "" {
		head += fence + "\n"
	}
	return head + strings.Repeat("\n</details>\n", max(0, min(open, 5))) +
		fmt.Sprintf("\n**Truncated, %d lines omitted**: the JSON report has all of them.\n", lines)
}

// Fence returns a code fence that is longer than any in the text.
func Fence(text string) string {
	longest, run := 0, 0
	for _, c := range text {
		if run++; c != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	return strings.Repeat("`", max(3, longest+1))
}

// escaper escapes text for a line or a table cell of Markdown.
var escaper = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "&#124;", "`", "&#96;", "*", "&#42;",
	"[", "&#91;", "]", "&#93;", `\`, "&#92;", "\r", " ", "\n", " ",
)

// Inline escapes text for a line or a table cell of Markdown.
func Inline(text string) string { return escaper.Replace(text) }

// Shorten truncates text to n characters.
func Shorten(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}
