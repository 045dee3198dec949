package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs/document"
)

// EncodeJSON encodes an SDK output struct as AWS JSON 1.1: member names begin with a
// lower-case letter, times are Unix seconds with milliseconds, blobs are base64.
func EncodeJSON(out any) ([]byte, error) {
	var b bytes.Buffer
	if err := encodeJSON(&b, reflect.ValueOf(out)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func encodeJSON(b *bytes.Buffer, v reflect.Value) error {
	switch {
	case v.Kind() == reflect.Pointer:
		return encodeJSON(b, v.Elem())
	case v.Type() == documentType:
		text, err := v.Interface().(document.Interface).MarshalSmithyDocument()
		b.Write(text)
		return err
	case v.Type() == timeType:
		ms := v.Interface().(time.Time).UnixMilli()
		b.WriteString(strconv.FormatFloat(float64(ms)/1000, 'f', -1, 64))
		return nil
	case v.Type() == bytesType:
		return encodeScalar(b, base64.StdEncoding.EncodeToString(v.Bytes()))
	}
	switch v.Kind() {
	case reflect.Struct:
		return encodeStruct(b, v)
	case reflect.Slice:
		return encodeSlice(b, v)
	case reflect.Map:
		return encodeMap(b, v)
	case reflect.Interface:
		return fmt.Errorf("encoding %s: unions are not supported", v.Type())
	default:
		return encodeScalar(b, v.Interface())
	}
}

func encodeScalar(b *bytes.Buffer, x any) error {
	text, err := json.Marshal(x)
	b.Write(text)
	return err
}

func encodeStruct(b *bytes.Buffer, v reflect.Value) error {
	b.WriteByte('{')
	first := true
	for _, f := range fieldsOf(v.Type()) {
		member := v.Field(f.index)
		if omitted(member) {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(`"` + f.jsonName + `":`)
		if err := encodeJSON(b, member); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

func encodeSlice(b *bytes.Buffer, v reflect.Value) error {
	b.WriteByte('[')
	for i := range v.Len() {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encodeJSON(b, v.Index(i)); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func encodeMap(b *bytes.Buffer, v reflect.Value) error {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(x, y reflect.Value) int { return bytes.Compare([]byte(x.String()), []byte(y.String())) })
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := encodeScalar(b, k.String()); err != nil {
			return err
		}
		b.WriteByte(':')
		if err := encodeJSON(b, v.MapIndex(k)); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// DecodeJSON decodes an AWS JSON 1.1 request into an SDK input struct. Unknown members
// are ignored, as by AWS; a member of the wrong type is a SerializationException.
func DecodeJSON(r io.Reader, in any) error {
	d := json.NewDecoder(r)
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil && err != io.EOF {
		return Errorf("SerializationException", "the request is not JSON: %v", err)
	}
	if tree == nil {
		return nil
	}
	return decodeJSON(tree, reflect.ValueOf(in).Elem(), "request")
}

func decodeJSON(tree any, v reflect.Value, path string) error {
	if tree == nil {
		return nil
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return decodeJSON(tree, v.Elem(), path)
	}
	if v.Type() == documentType {
		v.Set(reflect.ValueOf(document.NewLazyDocument(documentValue(tree))))
		return nil
	}
	if v.Type() == timeType {
		return decodeTime(tree, v, path)
	}
	switch x := tree.(type) {
	case map[string]any:
		return decodeObject(x, v, path)
	case []any:
		if v.Kind() != reflect.Slice {
			return typeMismatch(path, "a list", v)
		}
		list := reflect.MakeSlice(v.Type(), len(x), len(x))
		for i, item := range x {
			if err := decodeJSON(item, list.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		v.Set(list)
		return nil
	default:
		return decodeLeaf(x, v, path)
	}
}

// documentValue returns a decoded JSON value with Go's numbers, which a document holds.
func documentValue(tree any) any {
	switch x := tree.(type) {
	case map[string]any:
		for key := range x {
			x[key] = documentValue(x[key])
		}
	case []any:
		for i := range x {
			x[i] = documentValue(x[i])
		}
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return n
		}
		f, _ := x.Float64()
		return f
	}
	return tree
}

func decodeObject(x map[string]any, v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.Struct:
		for _, f := range fieldsOf(v.Type()) {
			if member, ok := x[f.jsonName]; ok {
				if err := decodeJSON(member, v.Field(f.index), path+"."+f.jsonName); err != nil {
					return err
				}
			}
		}
	case reflect.Map:
		m := reflect.MakeMapWithSize(v.Type(), len(x))
		for key, item := range x {
			value := reflect.New(v.Type().Elem()).Elem()
			if err := decodeJSON(item, value, path+"."+key); err != nil {
				return err
			}
			m.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), value)
		}
		v.Set(m)
	case reflect.Interface: // a union or document that no operation here reads
	default:
		return typeMismatch(path, "an object", v)
	}
	return nil
}

func decodeLeaf(leaf any, v reflect.Value, path string) error {
	switch x := leaf.(type) {
	case string:
		if v.Type() == bytesType {
			raw, err := base64.StdEncoding.DecodeString(x)
			if err != nil {
				return typeMismatch(path, "a string that is not base64", v)
			}
			v.SetBytes(raw)
			return nil
		}
		if v.Kind() != reflect.String {
			return typeMismatch(path, "a string", v)
		}
		v.SetString(x)
	case bool:
		if v.Kind() != reflect.Bool {
			return typeMismatch(path, "a boolean", v)
		}
		v.SetBool(x)
	case json.Number:
		return decodeNumber(x.String(), v, path)
	}
	return nil
}

func decodeNumber(text string, v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return typeMismatch(path, "the number "+text, v)
		}
		v.SetInt(n)
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return typeMismatch(path, "the number "+text, v)
		}
		v.SetFloat(n)
	default:
		return typeMismatch(path, "a number", v)
	}
	return nil
}

func decodeTime(tree any, v reflect.Value, path string) error {
	n, ok := tree.(json.Number)
	if !ok {
		return typeMismatch(path, "not a number", v)
	}
	seconds, err := n.Float64()
	if err != nil {
		return typeMismatch(path, "the number "+n.String(), v)
	}
	v.Set(reflect.ValueOf(time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()))
	return nil
}

func typeMismatch(path, got string, v reflect.Value) error {
	return Errorf("SerializationException", "%s is %s where %s is expected", path, got, v.Type())
}
