// Package parameters is the embedded Parameter Store of Systems Manager.
package parameters

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// Store holds all parameters, the newest version of each.
type Store struct {
	scope wire.Scope
	now   func() time.Time

	mu         sync.Mutex
	parameters map[string]types.Parameter // by name
}

// New returns a store without parameters.
func New(scope wire.Scope, now func() time.Time) *Store {
	return &Store{scope: scope, now: now, parameters: map[string]types.Parameter{}}
}

// Service returns the parameters' part of the SSM API.
func (s *Store) Service() wire.Service {
	return wire.Service{
		Name:   "ssm",
		Target: "AmazonSSM",
		Operations: []wire.Operation{
			wire.NewLockedOperation(&s.mu, "PutParameter", s.putParameter),
			wire.NewLockedOperation(&s.mu, "DescribeParameters", s.describeParameters),
			wire.NewLockedOperation(&s.mu, "GetParameters", s.getParameters),
			wire.NewLockedOperation(&s.mu, "DeleteParameter", s.deleteParameter),
		},
	}
}

// Value returns the value of the parameter with a name or ARN. ok is false if it does
// not exist.
func (s *Store) Value(ref string) (value string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.find(ref)
	return aws.ToString(p.Value), ok
}

func (s *Store) find(ref string) (types.Parameter, bool) {
	if p, ok := s.parameters[ref]; ok {
		return p, true
	}
	for _, p := range s.parameters {
		if *p.ARN == ref {
			return p, true
		}
	}
	return types.Parameter{}, false
}

// arn returns a parameter's ARN, with a single slash before a name that begins with one.
func (s *Store) arn(name string) string {
	return s.scope.ARN("ssm", "parameter/"+strings.TrimPrefix(name, "/"))
}

func (s *Store) putParameter(ctx context.Context, in *ssm.PutParameterInput) (*ssm.PutParameterOutput, error) {
	name := aws.ToString(in.Name)
	wire.AddResources(ctx, s.arn(name))
	old, exists := s.parameters[name]
	switch {
	case name == "" || aws.ToString(in.Value) == "":
		return nil, wire.Errorf("ValidationException", "A parameter needs a name and a value.")
	case strings.Contains(strings.TrimPrefix(name, "/"), "/") && !strings.HasPrefix(name, "/"):
		return nil, wire.Errorf("ValidationException", "Parameter name must be a fully qualified name.")
	case exists && !aws.ToBool(in.Overwrite):
		return nil, wire.Errorf("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	}
	p := types.Parameter{
		ARN: new(s.arn(name)), Name: &name, Value: in.Value, Type: in.Type, Version: old.Version + 1,
		LastModifiedDate: new(s.now()), DataType: new("text"),
	}
	if p.Type == "" {
		p.Type = old.Type
	}
	if p.Type == "" {
		p.Type = types.ParameterTypeString
	}
	s.parameters[name] = p
	return &ssm.PutParameterOutput{Version: p.Version, Tier: types.ParameterTierStandard}, nil
}

func (s *Store) describeParameters(ctx context.Context, in *ssm.DescribeParametersInput) (*ssm.DescribeParametersOutput, error) {
	wire.AddResources(ctx, s.scope.ARN("ssm", "*")) // the action has no resource
	all := []types.ParameterMetadata{}
	for _, name := range slices.Sorted(maps.Keys(s.parameters)) {
		p := s.parameters[name]
		wanted, err := matches(p, in.ParameterFilters)
		if err != nil {
			return nil, err
		}
		if wanted {
			all = append(all, types.ParameterMetadata{
				ARN: p.ARN, Name: p.Name, Type: p.Type, Version: p.Version, LastModifiedDate: p.LastModifiedDate,
				DataType: p.DataType, Tier: types.ParameterTierStandard,
			})
		}
	}
	page, next, err := wire.Paginate(all, in.NextToken, in.MaxResults, 10)
	return &ssm.DescribeParametersOutput{Parameters: page, NextToken: next}, err
}

// matches reports whether a parameter matches filters by name and by type.
func matches(p types.Parameter, filters []types.ParameterStringFilter) (bool, error) {
	for _, f := range filters {
		text := *p.Name
		switch aws.ToString(f.Key) {
		case "Name":
		case "Type":
			text = string(p.Type)
		default:
			return false, wire.Errorf("InvalidFilterKey", "The embedded AWS supports the filter keys Name and Type, not %s.", aws.ToString(f.Key))
		}
		matched := slices.ContainsFunc(f.Values, func(value string) bool {
			switch aws.ToString(f.Option) {
			case "BeginsWith":
				return strings.HasPrefix(text, value)
			case "Contains":
				return strings.Contains(text, value)
			default:
				return text == value
			}
		})
		if !matched {
			return false, nil
		}
	}
	return true, nil
}

func (s *Store) getParameters(ctx context.Context, in *ssm.GetParametersInput) (*ssm.GetParametersOutput, error) {
	if len(in.Names) == 0 || len(in.Names) > 10 {
		return nil, wire.Errorf("ValidationException", "GetParameters takes 1 to 10 names.")
	}
	out := &ssm.GetParametersOutput{Parameters: []types.Parameter{}, InvalidParameters: []string{}}
	for _, name := range in.Names {
		p, ok := s.find(name)
		if !ok {
			wire.AddResources(ctx, s.arn(wire.ResourceName(name)))
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		wire.AddResources(ctx, *p.ARN)
		if p.Type == types.ParameterTypeSecureString && !aws.ToBool(in.WithDecryption) {
			p.Value = new("AQICAHh" + wire.RandomHex(64)) // cipher text
		}
		out.Parameters = append(out.Parameters, p)
	}
	return out, nil
}

func (s *Store) deleteParameter(ctx context.Context, in *ssm.DeleteParameterInput) (*ssm.DeleteParameterOutput, error) {
	name := aws.ToString(in.Name)
	wire.AddResources(ctx, s.arn(name))
	if _, ok := s.parameters[name]; !ok {
		return nil, wire.Errorf("ParameterNotFound", "")
	}
	delete(s.parameters, name)
	return &ssm.DeleteParameterOutput{}, nil
}
