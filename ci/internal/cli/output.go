package cli

import (
	"fmt"
	"strings"
)

// format is the output format of a command.
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
	return fmt.Errorf("want one of %s", strings.Join([]string{string(text), string(jsonDoc), string(markdown)}, ", "))
}

// String implements pflag.Value.
func (f *format) String() string { return string(*f) }

// Type implements pflag.Value.
func (*format) Type() string { return "text|json|markdown" }
