package report

import (
	"fmt"
	"os"
	"strings"
	"unicode"
)

// Printable returns text without effects on what shows it: control characters other than
// newlines and tabs are escaped, and in GitHub Actions so are the beginnings of workflow
// commands, which containers must not give.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
func Printable(text string) string {
	if strings.ContainsFunc(text, isControl) {
		var b strings.Builder
		for _, r := range text {
			switch {
			case r == '\r':
				b.WriteString(`\r`)
			case isControl(r):
				fmt.Fprintf(&b, `\x%02x`, r)
			default:
				b.WriteRune(r)
			}
		}
		text = b.String()
	}
	if os.Getenv("GITHUB_ACTIONS") != "true" || !strings.Contains(text, "::") && !strings.Contains(text, "##[") {
		return text
	}
	lines := strings.Split(text, "\n")
	for n, line := range lines {
		line = strings.ReplaceAll(line, "##[", `\x23#[`) // the runner looks for it anywhere in a line
		if command := strings.TrimLeftFunc(line, unicode.IsSpace); strings.HasPrefix(command, "::") {
			line = strings.TrimSuffix(line, command) + `\x3a` + command[1:]
		}
		lines[n] = line
	}
	return strings.Join(lines, "\n")
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
