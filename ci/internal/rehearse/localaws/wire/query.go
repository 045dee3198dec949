package wire

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// DecodeQuery reads the form of an AWS Query request into an SDK input struct:
// members by name, nested with dots, list items as Name.member.N from one.
func DecodeQuery(form url.Values, in any) error {
	keys := make(map[string]bool, len(form))
	for key := range form {
		for i := range len(key) {
			if key[i] == '.' {
				keys[key[:i]] = true
			}
		}
		keys[key] = true
	}
	return queryDecoder{form: form, known: keys}.decode("", reflect.ValueOf(in).Elem())
}

// queryDecoder decodes a form. known holds every prefix of its keys, so that a missing
// member is recognised without searching the whole form.
type queryDecoder struct {
	form  url.Values
	known map[string]bool
}

func (d queryDecoder) decode(path string, v reflect.Value) error {
	if path != "" && !d.known[path] {
		return nil
	}
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.decode(path, v.Elem())
	case v.Type() == timeType:
		t, err := time.Parse(time.RFC3339, d.form.Get(path))
		if err != nil {
			return d.malformed(path, v)
		}
		v.Set(reflect.ValueOf(t.UTC()))
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.decodeStruct(path, v)
	case reflect.Slice:
		return d.decodeList(path, v)
	default:
		return d.decodeLeaf(path, v)
	}
}

func (d queryDecoder) decodeStruct(path string, v reflect.Value) error {
	for _, f := range fieldsOf(v.Type()) {
		member := f.name
		if path != "" {
			member = path + "." + f.name
		}
		if err := d.decode(member, v.Field(f.index)); err != nil {
			return err
		}
	}
	return nil
}

func (d queryDecoder) decodeList(path string, v reflect.Value) error {
	list := reflect.MakeSlice(v.Type(), 0, 4)
	for n := 1; ; n++ {
		item := fmt.Sprintf("%s.member.%d", path, n)
		if !d.known[item] {
			break
		}
		value := reflect.New(v.Type().Elem()).Elem()
		if err := d.decode(item, value); err != nil {
			return err
		}
		list = reflect.Append(list, value)
	}
	v.Set(list)
	return nil
}

func (d queryDecoder) decodeLeaf(path string, v reflect.Value) error {
	text := d.form.Get(path)
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return d.malformed(path, v)
		}
		v.SetBool(b)
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return d.malformed(path, v)
		}
		v.SetInt(n)
	}
	return nil
}

func (d queryDecoder) malformed(path string, v reflect.Value) error {
	return Errorf("MalformedInput", "%s: %q is not a valid %s", path, d.form.Get(path), v.Type())
}

// EncodeXML encodes an SDK output struct as the response to a Query request.
func EncodeXML(action, namespace, requestID string, out any) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<%sResponse xmlns="%s"><%sResult>`, action, namespace, action)
	if out != nil {
		encodeXML(&b, reflect.ValueOf(out))
	}
	fmt.Fprintf(&b, `</%sResult><ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>`,
		action, requestID, action)
	return b.Bytes()
}

func encodeXML(b *bytes.Buffer, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer:
		encodeXML(b, v.Elem())
		return
	case v.Type() == timeType:
		b.WriteString(v.Interface().(time.Time).UTC().Format("2006-01-02T15:04:05.000Z"))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			if member := v.Field(f.index); !omitted(member) {
				b.WriteString("<" + f.name + ">")
				encodeXML(b, member)
				b.WriteString("</" + f.name + ">")
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			b.WriteString("<member>")
			encodeXML(b, v.Index(i))
			b.WriteString("</member>")
		}
	default:
		_ = xml.EscapeText(b, []byte(strings.ToValidUTF8(fmt.Sprint(v.Interface()), "\uFFFD")))
	}
}

// EncodeXMLError encodes an error response of the Query protocol.
func EncodeXMLError(namespace, requestID string, e *Error) []byte {
	kind := "Sender"
	if e.Status >= 500 {
		kind = "Receiver"
	}
	var message bytes.Buffer
	_ = xml.EscapeText(&message, []byte(e.Message))
	return fmt.Appendf(nil,
		`<ErrorResponse xmlns="%s"><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>`,
		namespace, kind, e.Code, message.String(), requestID)
}
