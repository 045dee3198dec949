// Package wire implements the protocols of the AWS APIs that are served here, AWS JSON
// 1.1, AWS REST JSON, AWS Query and Smithy RPC v2 in CBOR, by reflection over the SDK's input and output
// structs, so that no API is described twice. It also creates AWS's identifiers: ARNs, and the ids
// of requests, tasks and deployments.
package wire

import (
	"context"
	"sync"
)

// encoder encodes an output struct in the protocol of the call.
type encoder func(out any) ([]byte, error)

// Operation is one action of a service.
type Operation struct {
	Name  string
	input func() any
	call  func(ctx context.Context, in any, encode encoder) ([]byte, error)

	// For AWS REST JSON, see [Operation.REST].
	method, path string
	queryMembers map[string]string
}

// NewOperation returns an operation that a function over the SDK's structs implements.
func NewOperation[I, O any](name string, f func(context.Context, *I) (*O, error)) Operation {
	return NewLockedOperation(noLock{}, name, f)
}

// NewLockedOperation is like [NewOperation], and holds a lock until the output is
// encoded: the output may share memory with the service's state.
func NewLockedOperation[I, O any](mu sync.Locker, name string, f func(context.Context, *I) (*O, error)) Operation {
	return Operation{
		Name:  name,
		input: func() any { return new(I) },
		call: func(ctx context.Context, in any, encode encoder) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			out, err := f(ctx, in.(*I))
			if err != nil {
				return nil, err
			}
			return encode(out)
		},
	}
}

type noLock struct{}

func (noLock) Lock() {}

func (noLock) Unlock() {}

// Service is a set of operations under one name.
type Service struct {
	// Name is the name in signatures and IAM actions: ecs, ecr, logs, sts.
	Name string
	// Target is the prefix of X-Amz-Target in AWS JSON, and the service in the path of Smithy
	// RPC v2; empty for the others.
	Target string
	// Version and Namespace identify the API in AWS Query.
	Version, Namespace string
	Operations         []Operation
}

func (s Service) find(name string) (Operation, bool) {
	for _, op := range s.Operations {
		if op.Name == name {
			return op, true
		}
	}
	return Operation{}, false
}

// callContext holds the call in progress, to which its operation adds resources.
type callContext struct{ call *Call }

type callContextKey struct{}

// AddResources records the ARNs that a call acts on, as the Resource of an IAM policy
// must name them. It does nothing outside a call.
func AddResources(ctx context.Context, arns ...string) {
	if r, ok := ctx.Value(callContextKey{}).(callContext); ok {
		r.call.Resources = append(r.call.Resources, arns...)
	}
}

// AddCondition records the value of a condition key of IAM policies, such as
// ecs:cluster.
func AddCondition(ctx context.Context, key, value string) {
	if r, ok := ctx.Value(callContextKey{}).(callContext); ok {
		if r.call.Conditions == nil {
			r.call.Conditions = map[string]string{}
		}
		r.call.Conditions[key] = value
	}
}

// RequirePermission records that a call also needs permission for another action, as
// RegisterTaskDefinition does for iam:PassRole. [Router.Observe] gets it as a call of
// its own.
func RequirePermission(ctx context.Context, service, action, resource string, conditions map[string]string) {
	if r, ok := ctx.Value(callContextKey{}).(callContext); ok {
		r.call.requiredCalls = append(r.call.requiredCalls, Call{Service: service, Action: action, Resources: []string{resource}, Conditions: conditions})
	}
}

// CallerAccessKey returns the access key id that signed the call, or "" for an
// unsigned one.
func CallerAccessKey(ctx context.Context) string {
	if r, ok := ctx.Value(callContextKey{}).(callContext); ok {
		return r.call.AccessKey
	}
	return ""
}

type injectionKey struct{}

// InjectionOf returns the fault that is injected into a call, for the operations that
// have faults of their own. It is zero outside a call.
func InjectionOf(ctx context.Context) Injection {
	d, _ := ctx.Value(injectionKey{}).(Injection)
	return d
}
