package scaffold

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dagger/slipway/internal/config/platform"
)

// insert adds an entry behind the last one of "services", written as that one is,
// and leaves every other byte of the document as it was.
func insert(data []byte, service platform.Service) ([]byte, error) {
	top, err := members(data, bytes.IndexByte(data, '{'))
	if err != nil {
		return nil, err
	}
	slices.Reverse(top) // of several, JSON takes the last
	n := slices.IndexFunc(top, func(m member) bool { return m.key == "services" })
	if n < 0 {
		return nil, errors.New(`no "services" in it`)
	}
	entries, err := members(data, top[n].value)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, errors.New(`no service in it whose form a new one could take`)
	}
	last := entries[len(entries)-1]
	form, err := styleOf(data, last)
	if err != nil {
		return nil, err
	}
	text := "," + form.before + quote(service.Name) + form.colon + entry(service, form)
	return slices.Concat(data[:last.end], []byte(text), data[last.end:]), nil
}

// member is one key of an object within a document, and where its parts are:
// data[start:keyEnd] is the key, data[value:end] the value. gap is the white space
// before the key.
type member struct {
	key                       string
	start, keyEnd, value, end int
	gap                       string
}

// members lists those of the object that begins at an offset.
func members(data []byte, at int) ([]member, error) {
	if at < 0 || at >= len(data) || data[at] != '{' {
		return nil, errors.New("an object was expected")
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

// style is how an entry is written: the white space in it, and the order of its
// fields.
type style struct {
	before, colon       string // of the entry's key
	open, between, last string // after the brace, after a comma, before the brace
	fieldColon          string
	list                [3]string // after the bracket, after a comma, before the bracket
	order               []string
}

// plainStyle is an entry on one line.
var plainStyle = style{colon: ": ", between: " ", fieldColon: ": ", list: [3]string{"", " ", ""}}

// styleOf reads how an entry is written.
func styleOf(data []byte, m member) (style, error) {
	s := style{before: m.gap, colon: string(data[m.keyEnd:m.value])}
	fields, err := members(data, m.value)
	if err != nil || len(fields) == 0 {
		return plainStyle, err
	}
	first, end := fields[0], fields[len(fields)-1]
	s.open, s.between = first.gap, end.gap
	s.last = string(data[end.end : m.end-1])
	s.fieldColon = string(data[first.keyEnd:first.value])
	if s.before == "" && strings.HasSuffix(s.colon, " ") {
		s.before = " " // the only entry of a line
	}
	if strings.HasSuffix(s.fieldColon, " ") {
		s.list[1] = " "
		if len(fields) == 1 && s.between == "" {
			s.between = " "
		}
	}
	for _, field := range fields {
		s.order = append(s.order, field.key)
		if field.key == "routes" {
			s.readList(string(data[field.value:field.end]))
		}
	}
	return s, nil
}

// readList reads how a list of routes is written that has its items on lines of
// their own; any other is written on one line.
func (s *style) readList(list string) {
	inside := strings.TrimSuffix(strings.TrimPrefix(list, "["), "]")
	open := inside[:len(inside)-len(strings.TrimLeft(inside, " \t\r\n"))]
	if strings.Contains(open, "\n") {
		s.list = [3]string{open, open, inside[len(strings.TrimRight(inside, " \t\r\n")):]}
	}
}

// entry is the value of a service's entry in a style.
func entry(service platform.Service, s style) string {
	routes := make([]string, len(service.Routes))
	for n, route := range service.Routes {
		routes[n] = quote(route)
	}
	fields := []struct{ key, value string }{
		{"path", quote(service.Path)},
		{"kind", quote(string(service.Kind))},
		{"port", quote(service.Port)},
		{"health_path", quote(service.HealthPath)},
		{"routes", "[" + s.list[0] + strings.Join(routes, ","+s.list[1]) + s.list[2] + "]"},
		{"cpu", quote(service.CPU)},
		{"memory", quote(service.Memory)},
		{"desired_count", quote(service.DesiredCount)},
	}
	place := func(key string) int { // a field that the example does not have comes last
		if n := slices.Index(s.order, key); n >= 0 {
			return n
		}
		return len(s.order)
	}
	slices.SortStableFunc(fields, func(a, b struct{ key, value string }) int { return place(a.key) - place(b.key) })
	written := make([]string, len(fields))
	for n, field := range fields {
		written[n] = quote(field.key) + s.fieldColon + field.value
	}
	return "{" + s.open + strings.Join(written, ","+s.between) + s.last + "}"
}

// quote is a string or number as JSON, with the characters as they are.
func quote(value any) string {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // strings and numbers always can be
	return strings.TrimSuffix(text.String(), "\n")
}
