package wire

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
)

// cborTarget returns the service and operation of a Smithy RPC v2 request in CBOR.
// https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html
func cborTarget(r *http.Request) (service, action string, ok bool) {
	if r.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" {
		return "", "", false
	}
	return strings.Cut(strings.TrimPrefix(r.URL.Path, "/service/"), "/operation/")
}

// DecodeCBOR is like [DecodeJSON] for CBOR. Times are epoch seconds with tag 1.
func DecodeCBOR(r io.Reader, in any) error {
	raw, err := io.ReadAll(r)
	if err != nil || len(raw) == 0 {
		return err
	}
	value, err := cbor.Decode(raw)
	if err != nil {
		return Errorf("SerializationException", "the request is not CBOR: %v", err)
	}
	return decodeJSON(jsonTree(value), reflect.ValueOf(in).Elem(), "request")
}

// jsonTree returns a CBOR value as encoding/json decodes the equal JSON value.
func jsonTree(value cbor.Value) any {
	switch x := value.(type) {
	case cbor.Map:
		object := make(map[string]any, len(x))
		for key, member := range x {
			object[key] = jsonTree(member)
		}
		return object
	case cbor.List:
		list := make([]any, 0, len(x))
		for _, item := range x {
			list = append(list, jsonTree(item))
		}
		return list
	case *cbor.Tag:
		return jsonTree(x.Value)
	case cbor.String:
		return string(x)
	case cbor.Slice:
		return base64.StdEncoding.EncodeToString(x)
	case cbor.Bool:
		return bool(x)
	case cbor.Uint:
		return json.Number(strconv.FormatUint(uint64(x), 10))
	case cbor.NegInt:
		return json.Number("-" + strconv.FormatUint(uint64(x), 10))
	case cbor.Float32:
		return json.Number(strconv.FormatFloat(float64(x), 'f', -1, 32))
	case cbor.Float64:
		return json.Number(strconv.FormatFloat(float64(x), 'f', -1, 64))
	default: // nil and undefined
		return nil
	}
}

// EncodeCBOR encodes an SDK output struct as CBOR.
func EncodeCBOR(out any) ([]byte, error) {
	value, err := cborValue(reflect.ValueOf(out))
	if err != nil {
		return nil, err
	}
	return cbor.Encode(value), nil
}

func cborValue(v reflect.Value) (cbor.Value, error) {
	switch {
	case v.Kind() == reflect.Pointer:
		return cborValue(v.Elem())
	case v.Type() == timeType:
		return &cbor.Tag{ID: 1, Value: cbor.Float64(float64(v.Interface().(time.Time).UnixMilli()) / 1000)}, nil
	case v.Type() == bytesType:
		return cbor.Slice(v.Bytes()), nil
	}
	switch v.Kind() {
	case reflect.Struct:
		object := cbor.Map{}
		for _, f := range fieldsOf(v.Type()) {
			if member := v.Field(f.index); !omitted(member) {
				value, err := cborValue(member)
				if err != nil {
					return nil, err
				}
				object[f.jsonName] = value
			}
		}
		return object, nil
	case reflect.Slice:
		list := cbor.List{}
		for i := range v.Len() {
			item, err := cborValue(v.Index(i))
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	case reflect.Map:
		object := cbor.Map{}
		for _, key := range v.MapKeys() {
			item, err := cborValue(v.MapIndex(key))
			if err != nil {
				return nil, err
			}
			object[key.String()] = item
		}
		return object, nil
	case reflect.String:
		return cbor.String(v.String()), nil
	case reflect.Bool:
		return cbor.Bool(v.Bool()), nil
	case reflect.Int32, reflect.Int64:
		if n := v.Int(); n < 0 {
			return cbor.NegInt(-n), nil
		}
		return cbor.Uint(v.Int()), nil
	case reflect.Float64:
		return cbor.Float64(v.Float()), nil
	default:
		return nil, fmt.Errorf("encoding %s as CBOR is not supported", v.Type())
	}
}

// encodeCBORError encodes an error response.
func encodeCBORError(e *Error) []byte {
	return cbor.Encode(cbor.Map{"__type": cbor.String(e.Code), "message": cbor.String(e.Message)})
}
