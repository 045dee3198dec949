package platform

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// Encode returns a services file with the entries, without fields that have their default.
func Encode(entries []Service) []byte {
	var b bytes.Buffer
	b.WriteString("{\n  \"services\": {")
	for n, entry := range entries {
		if n > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n    " + compactJSON(entry.Name) + ": ")
		writeObject(&b, reflect.ValueOf(entry), "    ")
	}
	b.WriteString("\n  }\n}\n")
	return b.Bytes()
}

// encodedField is a field of a JSON object.
type encodedField struct {
	name  string
	value reflect.Value
}

// encodedFields returns the fields of a struct that are not zero, and desired_count, which every
// service has; those of embedded structs are fields of the struct.
func encodedFields(v reflect.Value) []encodedField {
	var list []encodedField
	for i := range v.NumField() {
		of := v.Type().Field(i)
		switch name := of.Tag.Get("json"); {
		case of.Anonymous:
			list = append(list, encodedFields(v.Field(i))...)
		case of.IsExported() && name != "-" && (!v.Field(i).IsZero() || name == "desired_count"):
			list = append(list, encodedField{name, v.Field(i)})
		}
	}
	return list
}

// writeObject writes a struct with a field per line.
func writeObject(b *bytes.Buffer, v reflect.Value, indent string) {
	b.WriteString("{")
	for n, f := range encodedFields(v) {
		if n > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n" + indent + "  " + compactJSON(f.name) + ": ")
		writeValue(b, f.value, indent+"  ")
	}
	b.WriteString("\n" + indent + "}")
}

// writeValue writes the value of a field.
func writeValue(b *bytes.Buffer, v reflect.Value, indent string) {
	switch {
	case v.Kind() == reflect.Pointer:
		writeValue(b, v.Elem(), indent)
	case v.Kind() == reflect.Struct:
		writeObject(b, v, indent)
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		b.WriteString("{")
		for n, key := range keys {
			if n > 0 {
				b.WriteString(",")
			}
			b.WriteString("\n" + indent + "  " + compactJSON(key.String()) + ": ")
			writeValue(b, v.MapIndex(key), indent+"  ")
		}
		b.WriteString("\n" + indent + "}")
	default:
		b.WriteString(strings.ReplaceAll(compactJSON(v.Interface()), `","`, `", "`))
	}
}

// compactJSON returns a value as JSON without escaping HTML.
func compactJSON(v any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // strings, numbers, booleans and lists of strings do not fail
	return strings.TrimSuffix(b.String(), "\n")
}
