package wire

import (
	"reflect"
	"strings"
	"sync"
	"time"

	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs/document"
	schedulertypes "github.com/aws/aws-sdk-go-v2/service/scheduler/types"
)

var (
	timeType  = reflect.TypeFor[time.Time]()
	bytesType = reflect.TypeFor[[]byte]()
	// documentType is an arbitrary JSON value: hookDetails of a lifecycle hook.
	documentType = reflect.TypeFor[document.Interface]()
)

// field is one member of an SDK struct.
type field struct {
	index    int
	name     string // as in Go and in the Query protocol: TaskDefinition
	jsonName string // as in AWS JSON: taskDefinition
}

// usesPascalCase reports whether a struct's members begin with a capital letter in AWS
// JSON. All members of CloudWatch, Secrets Manager, Systems Manager and, but for a few
// structs, EventBridge Scheduler do, and one struct of those served here of ECS, ECR and
// CloudWatch Logs.
func usesPascalCase(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[ecrtypes.Tag]():
		return true
	case reflect.TypeFor[schedulertypes.CapacityProviderStrategyItem](), reflect.TypeFor[schedulertypes.NetworkConfiguration](),
		reflect.TypeFor[schedulertypes.PlacementConstraint](), reflect.TypeFor[schedulertypes.PlacementStrategy]():
		return false
	}
	for _, service := range []string{"cloudwatch", "secretsmanager", "ssm", "scheduler"} {
		if strings.Contains(t.PkgPath()+"/", "/service/"+service+"/") {
			return true
		}
	}
	return false
}

var fieldCache sync.Map // reflect.Type → []field

// fieldsOf returns the members of an SDK struct that are sent: the exported ones
// except ResultMetadata, which the client's SDK adds.
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
			camel = strings.ToLower(camel[:1]) + camel[1:]
		}
		fields = append(fields, field{index: i, name: f.Name, jsonName: camel})
	}
	fieldCache.Store(t, fields)
	return fields
}

// omitted reports whether a member is left out of a message: nil, or an empty string
// for enumerations. Numbers and booleans that are not pointers are always sent, as by
// AWS.
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
