package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MarkdownLimit is how long a document's Markdown gets, in bytes: a comment on
// GitHub holds 65,536 characters, and whoever posts it adds some. The summary of a
// step holds 1 MiB.
const MarkdownLimit = 60_000

// Page is Markdown that is put together within a limit.
type Page struct {
	text  strings.Builder
	limit int // bytes
}

// NewPage makes an empty page of at most limit bytes.
func NewPage(limit int) *Page { return &Page{limit: limit} }

// Add adds a part if there is room for the whole of it.
func (p *Page) Add(part string) bool {
	if p.text.Len()+len(part) > p.limit {
		return false
	}
	p.text.WriteString(part)
	return true
}

// AddAll adds parts up to the first that does not fit into budget bytes or onto
// the page, and tells how many it left out.
func (p *Page) AddAll(parts []string, budget int) (left int) {
	for n, part := range parts {
		budget -= len(part)
		if budget < 0 || !p.Add(part) {
			return len(parts) - n
		}
	}
	return 0
}

// Force adds a short part that must not be missing, whether there is room or not.
func (p *Page) Force(part string) { p.text.WriteString(part) }

// String is the page so far.
func (p *Page) String() string { return p.text.String() }

// WriteMarkdown writes a document's Markdown, at most [MarkdownLimit] bytes of it.
// What is left out is said, and where it is.
func WriteMarkdown(w io.Writer, text string) error {
	_, err := io.WriteString(w, truncate(text, MarkdownLimit))
	return err
}

// truncate shortens Markdown to limit bytes, after a whole line, and closes what is
// open there.
func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const room = 400 // for what closes, and the last line
	head := text[:max(0, limit-room)]
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
		fmt.Sprintf("\n**Cut here, %d lines before the end**: `--output json` prints all of it.\n", lines)
}

// Fence is a code fence that text cannot close.
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

// escaper makes a text harmless in a line or a cell of Markdown.
var escaper = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "&#124;", "`", "&#96;", "*", "&#42;",
	"[", "&#91;", "]", "&#93;", `\`, "&#92;", "\r", " ", "\n", " ",
)

// Inline is text as it is, in a line or a cell of Markdown.
func Inline(text string) string { return escaper.Replace(text) }

// shorten cuts a text to at most n characters.
func shorten(text string, n int) string {
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}
