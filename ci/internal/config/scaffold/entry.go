package scaffold

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

// insertEntry adds an entry after the last one of "services", in the same layout. It
// changes no other byte of the document.
func insertEntry(data []byte, service platform.Service) ([]byte, error) {
	top, err := members(data, bytes.IndexByte(data, '{'))
	if err != nil {
		return nil, err
	}
	slices.Reverse(top) // JSON uses the last of several
	n := slices.IndexFunc(top, func(m member) bool { return m.key == "services" })
	if n < 0 {
		return nil, errors.New(`no "services" in it`)
	}
	entries, err := members(data, top[n].value)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, errors.New(`"services" is empty`)
	}
	last := entries[len(entries)-1]
	fields, err := members(data, last.value)
	if err != nil {
		return nil, err
	}
	form := style{colon: string(data[last.keyEnd:last.value]), between: " "}
	if len(fields) > 0 {
		form.open, form.between, form.end = fields[0].gap, fields[len(fields)-1].gap, string(data[fields[len(fields)-1].end:last.end-1])
	}
	before := last.gap
	if strings.HasSuffix(form.colon, " ") { // entries or fields on one line
		before, form.between = cmp.Or(before, " "), cmp.Or(form.between, " ")
	}
	text := "," + before + formatJSON(service.Name) + form.colon + formatEntry(service, form)
	return slices.Concat(data[:last.end], []byte(text), data[last.end:]), nil
}

// member is a member of a JSON object and its position: data[start:keyEnd] is the key,
// data[value:end] the value. gap is the white space before the key.
type member struct {
	key                       string
	start, keyEnd, value, end int
	gap                       string
}

// members lists the members of the object that begins at an offset.
func members(data []byte, at int) ([]member, error) {
	if at < 0 || at >= len(data) || data[at] != '{' {
		return nil, errors.New("a JSON object was expected")
	}
	decoder := json.NewDecoder(bytes.NewReader(data[at:]))
	offset := func() int { return at + int(decoder.InputOffset()) }
	if _, err := decoder.Token(); err != nil { // the brace
		return nil, err
	}
	var list []member
	for {
		before := offset()
		if !decoder.More() {
			return list, nil
		}
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		m := member{key: fmt.Sprint(key), keyEnd: offset()}
		m.start = before + bytes.IndexByte(data[before:], '"')
		m.gap = string(data[before+bytes.LastIndexByte(data[before:m.start], ',')+1 : m.start])
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		m.end = offset()
		m.value = m.end - len(value)
		list = append(list, m)
	}
}

// style is the layout of an entry: the white space after the opening brace, after a comma
// and before the closing brace, and the colon with its white space.
type style struct{ open, between, end, colon string }

// plainStyle is the layout of an entry on one line.
var plainStyle = style{between: " ", colon: ": "}

// formatEntry formats the value of a service's entry.
func formatEntry(service platform.Service, s style) string {
	_, space, _ := strings.Cut(s.colon, ":")
	routes := make([]string, len(service.Routes))
	for n, route := range service.Routes {
		routes[n] = formatJSON(route)
	}
	var fields []string
	add := func(name, value string) { fields = append(fields, formatJSON(name)+s.colon+value) }
	if service.Path != "" {
		add("path", formatJSON(service.Path))
	}
	add("kind", formatJSON(string(service.Kind)))
	if service.Image != "" {
		add("image", formatJSON(service.Image))
	}
	if service.IsWeb() || len(service.Routes) > 0 { // else a worker
		add("port", formatJSON(service.Port))
		add("health_path", formatJSON(service.HealthPath))
		add("routes", "["+strings.Join(routes, ","+space)+"]")
	}
	add("cpu", formatJSON(service.CPU))
	add("memory", formatJSON(service.Memory))
	add("desired_count", formatJSON(service.DesiredCount))
	return "{" + s.open + strings.Join(fields, ","+s.between) + s.end + "}"
}

// formatJSON formats a string or number as JSON without escaping HTML.
func formatJSON(value any) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // does not fail for strings and numbers
	return strings.TrimSuffix(text.String(), "\n")
}
