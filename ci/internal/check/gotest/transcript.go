package gotest

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// maxTranscriptPart is how many bytes a transcript keeps of the beginning and of the end.
const maxTranscriptPart = 32 << 10

// transcript collects output in bounded memory. It drops the middle, because the cause is
// at the beginning (a panic) or at the end (an assertion after a long log).
type transcript struct {
	head, tail []byte
	dropped    int
}

func (t *transcript) add(text string) {
	room := min(maxTranscriptPart-len(t.head), len(text))
	t.head = append(t.head, text[:room]...)
	t.tail = append(t.tail, text[room:]...)
	// Cut at twice the size, so that each byte is moved once.
	if len(t.tail) > 2*maxTranscriptPart {
		cut := len(t.tail) - maxTranscriptPart
		t.dropped += cut
		t.tail = append(t.tail[:0], t.tail[cut:]...)
	}
}

var terminalCodes = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])`)

// String returns the output as plain text, without terminal codes and control characters.
func (t *transcript) String() string {
	text := string(t.head)
	if t.dropped > 0 {
		text += fmt.Sprintf("\n... %d bytes left out ...\n", t.dropped)
	}
	return plain(text + string(t.tail))
}

func plain(text string) string {
	text = terminalCodes.ReplaceAllString(strings.ReplaceAll(text, "\r\n", "\n"), "")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
