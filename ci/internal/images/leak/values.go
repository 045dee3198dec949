package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Values are secrets with known values, by name.
type Values map[string]string

// minLine is the length from which a line of a value of several lines counts as secret by
// itself.
const minLine = 16

// forms returns the texts by which a value is recognised: itself, encoded as programs
// encode values, and its longer lines.
func forms(value string) []string {
	value = strings.TrimSpace(value)
	parts := []string{value}
	if lines := strings.Split(value, "\n"); len(lines) > 1 {
		for _, line := range lines {
			if line = strings.TrimSpace(line); len(line) >= minLine && !strings.HasPrefix(line, "-----") {
				parts = append(parts, line)
			}
		}
	}
	var all []string
	for _, part := range parts {
		quoted, _ := json.Marshal(part) // of a string
		whole := []byte(part)
		if len(part) > 6 { // the end of its encoding depends on what follows
			whole = whole[:len(part)/3*3]
		}
		all = append(all, part, string(quoted[1:len(quoted)-1]), strings.Trim(strconv.Quote(part), `"`), url.QueryEscape(part), url.PathEscape(part),
			base64.StdEncoding.EncodeToString(whole), base64.URLEncoding.EncodeToString(whole))
	}
	all = slices.DeleteFunc(all, func(form string) bool { return form == "" })
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return slices.Compact(all)
}

// Redact replaces the values in a text.
func (v Values) Redact(text string) string {
	for _, name := range slices.Sorted(maps.Keys(v)) {
		for _, form := range forms(v[name]) {
			text = strings.ReplaceAll(text, form, Redacted)
		}
	}
	return text
}

// Find returns the name of a value that r contains, or "".
func (v Values) Find(r io.Reader) (string, error) {
	const chunk = 1 << 20
	longest := 0
	all := map[string][]string{}
	for name, value := range v {
		all[name] = forms(value)
		for _, form := range all[name] {
			longest = max(longest, len(form))
		}
	}
	buffer := make([]byte, 0, chunk+longest)
	for {
		n, err := io.ReadFull(r, buffer[len(buffer):len(buffer)+chunk])
		buffer = buffer[:len(buffer)+n]
		for _, name := range slices.Sorted(maps.Keys(all)) {
			for _, form := range all[name] {
				if bytes.Contains(buffer, []byte(form)) {
					return name, nil
				}
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		kept := min(longest, len(buffer)) // a value may continue in the next part
		buffer = append(buffer[:0], buffer[len(buffer)-kept:]...)
	}
}
