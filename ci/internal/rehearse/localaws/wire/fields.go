package wire

import (
	"reflect"
	"strings"
	"sync"
	"time"

	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

var (
	timeType  = reflect.TypeFor[time.Time]()
	bytesType = reflect.TypeFor[[]byte]()
)

// field is one member of an SDK struct.
type field struct {
	index    int
	name     string // as in Go and in the Query protocol: TaskDefinition
	jsonName string // as in AWS JSON: taskDefinition
}

// keepsCapitals says whether a struct's members keep their capital letter in AWS
// JSON. Those of Secrets Manager and Systems Manager all do; of everything in
// ECS, ECR and CloudWatch Logs that is served here, one struct does.
func usesPascalCase(t reflect.Type) bool {
	return t == reflect.TypeFor[ecrtypes.Tag]() ||
		strings.Contains(t.PkgPath(), "/service/secretsmanager") || strings.Contains(t.PkgPath(), "/service/ssm")
}

var fieldCache sync.Map // reflect.Type → []field

// fieldsOf lists the members of an SDK struct that travel: the exported ones
// except ResultMetadata, which the SDK adds on the client's side.
func fieldsOf(t reflect.Type) []field {
	if cached, ok := fieldCache.Load(t); ok {
		return cached.([]field)
	}
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		if !f.IsExported() || f.Anonymous || f.Name == "ResultMetadata" {
			continue
		}
		camel := f.Name
		if !usesPascalCase(t) {
			camel = lowerFirst(camel)
		}
		fields = append(fields, field{index: i, name: f.Name, jsonName: camel})
	}
	fieldCache.Store(t, fields)
	return fields
}

func lowerFirst(s string) string {
	if s[0] >= 'A' && s[0] <= 'Z' {
		return string(s[0]+'a'-'A') + s[1:]
	}
	return s
}

// absent says whether a member is left out of a message. The SDK's structs
// spell "not there" as nil, and as the empty string for enumerations; numbers
// and booleans that are not pointers always travel, as they do from AWS.
func omitted(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	default:
		return false
	}
}
