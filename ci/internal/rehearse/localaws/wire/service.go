// Package wire speaks the two protocols of the AWS APIs that are served here,
// AWS JSON 1.1 and AWS Query, by reflection over the SDK's own input and output
// structs, so that no API shape is written down twice. It also makes the
// identifiers that AWS hands out: ARNs, request ids, task and deployment ids.
package wire

import (
	"context"
	"sync"
)

// encoder renders an output struct in the protocol of the call.
type encoder func(out any) ([]byte, error)

// Operation is one action of a service.
type Operation struct {
	Name  string
	input func() any
	call  func(ctx context.Context, in any, encode encoder) ([]byte, error)
}

// Op makes an operation of a function over the SDK's structs.
func NewOperation[I, O any](name string, f func(context.Context, *I) (*O, error)) Operation {
	return NewLockedOperation(noLock{}, name, f)
}

// Guarded is Op with a lock that is held until the output is encoded: the output
// may share memory with the service's state.
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
	// Name is the one in signatures and IAM actions: ecs, ecr, logs, sts.
	Name string
	// Target is the prefix of X-Amz-Target in AWS JSON 1.1; empty for AWS Query.
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

// record is the call under way, so that the operation can name its resources.
type callContext struct{ call *Call }

type callContextKey struct{}

// Touch notes the ARNs a call acts upon, as an IAM policy's Resource would have
// to name them. Outside of a call it does nothing.
func AddResources(ctx context.Context, arns ...string) {
	if r, ok := ctx.Value(callContextKey{}).(callContext); ok {
		r.call.Resources = append(r.call.Resources, arns...)
	}
}

// Given notes the value of a key that an IAM policy's Condition may ask for, such
// as ecs:cluster.
func AddCondition(ctx context.Context, key, value string) {
	if r, ok := ctx.Value(callContextKey{}).(callContext); ok {
		if r.call.Conditions == nil {
			r.call.Conditions = map[string]string{}
		}
		r.call.Conditions[key] = value
	}
}

// Requires notes that a call needs permission for another action too, as
// RegisterTaskDefinition does for iam:PassRole. It is observed as a call of its own,
// with conditions as Given notes them.
func RequirePermission(ctx context.Context, service, action, resource string, conditions map[string]string) {
	if r, ok := ctx.Value(callContextKey{}).(callContext); ok {
		r.call.requiredCalls = append(r.call.requiredCalls, Call{Service: service, Action: action, Resources: []string{resource}, Conditions: conditions})
	}
}

// Caller is the access key id that signed the call, "" for an unsigned one.
func CallerAccessKey(ctx context.Context) string {
	if r, ok := ctx.Value(callContextKey{}).(callContext); ok {
		return r.call.AccessKey
	}
	return ""
}
