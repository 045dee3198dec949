package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// format is how a command prints what it returns.
type format string

const (
	text     format = "text"
	jsonDoc  format = "json"
	markdown format = "markdown"
)

// Set implements pflag.Value.
func (f *format) Set(value string) error {
	switch format(value) {
	case text, jsonDoc, markdown:
		*f = format(value)
		return nil
	}
	return fmt.Errorf("take one of %s", strings.Join([]string{string(text), string(jsonDoc), string(markdown)}, ", "))
}

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value.
func (*format) Type() string { return "text|json|markdown" }

// printJSON writes one indented JSON document.
func printJSON(w io.Writer, document any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(document)
}
