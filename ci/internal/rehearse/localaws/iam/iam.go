// Package iam is the embedded Identity and Access Management: roles and the policy
// simulator. Nothing is enforced: a role need not exist to be used, and the simulator
// allows all that it was not configured to deny.
package iam

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// role is a role with its inline policies by name and its attached ones by ARN.
type role struct {
	types.Role
	inline   map[string]string
	attached map[string]bool
}

// Roles holds the account's roles.
type Roles struct {
	scope wire.Scope
	now   func() time.Time

	mu     sync.Mutex
	roles  map[string]*role
	denied map[permission]bool
}

// permission is an action on a resource, or "*" for all resources.
type permission struct{ action, resource string }

// New returns an account without roles.
func New(scope wire.Scope, now func() time.Time) *Roles {
	return &Roles{scope: scope, now: now, roles: map[string]*role{}, denied: map[permission]bool{}}
}

// Deny makes the policy simulator deny an action, such as iam:PassRole, on the resource
// with an ARN, or on all resources for "*".
func (r *Roles) Deny(action, resource string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.denied[permission{action, resource}] = true
}

// EnsureRole creates a role that a service may assume, such as ecs-tasks.amazonaws.com,
// unless it exists. AWS would have refused a task definition or schedule with a missing
// role.
func (r *Roles) EnsureRole(arn, service string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := wire.ResourceName(arn)
	if _, ok := r.roles[name]; ok {
		return
	}
	r.roles[name] = &role{
		Role: types.Role{
			Arn: &arn, RoleName: &name, RoleId: new("AROA" + strings.ToUpper(wire.RandomHex(17))), Path: new("/"), CreateDate: new(r.now()),
			AssumeRolePolicyDocument: new(url.QueryEscape(fmt.Sprintf(trustPolicy, service))), MaxSessionDuration: new(int32(3600)),
		},
		inline: map[string]string{}, attached: map[string]bool{},
	}
}

// trustPolicy lets a service assume a role.
const trustPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":%q},"Action":"sts:AssumeRole"}]}`

// Service returns the IAM API.
func (r *Roles) Service() wire.Service {
	return wire.Service{
		Name:      "iam",
		Version:   "2010-05-08",
		Namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
		Operations: []wire.Operation{
			wire.NewLockedOperation(&r.mu, "CreateRole", r.createRole),
			wire.NewLockedOperation(&r.mu, "GetRole", r.getRole),
			wire.NewLockedOperation(&r.mu, "DeleteRole", r.deleteRole),
			wire.NewLockedOperation(&r.mu, "UpdateAssumeRolePolicy", r.updateAssumeRolePolicy),
			wire.NewLockedOperation(&r.mu, "PutRolePolicy", r.putRolePolicy),
			wire.NewLockedOperation(&r.mu, "ListRolePolicies", r.listRolePolicies),
			wire.NewLockedOperation(&r.mu, "DeleteRolePolicy", r.deleteRolePolicy),
			wire.NewLockedOperation(&r.mu, "AttachRolePolicy", r.attachRolePolicy),
			wire.NewLockedOperation(&r.mu, "ListAttachedRolePolicies", r.listAttachedRolePolicies),
			wire.NewLockedOperation(&r.mu, "DetachRolePolicy", r.detachRolePolicy),
			wire.NewLockedOperation(&r.mu, "SimulatePrincipalPolicy", r.simulatePrincipalPolicy),
		},
	}
}

func (r *Roles) role(ctx context.Context, name *string) (*role, error) {
	found, ok := r.roles[aws.ToString(name)]
	if !ok {
		wire.AddResources(ctx, r.scope.GlobalARN("iam", "role/"+aws.ToString(name)))
		return nil, wire.Errorf("NoSuchEntity", "The role with name %s cannot be found.", aws.ToString(name)).WithStatus(http.StatusNotFound)
	}
	wire.AddResources(ctx, aws.ToString(found.Arn))
	return found, nil
}

func (r *Roles) createRole(ctx context.Context, in *iam.CreateRoleInput) (*iam.CreateRoleOutput, error) {
	name, path := aws.ToString(in.RoleName), aws.ToString(in.Path)
	if path == "" {
		path = "/"
	}
	arn := r.scope.GlobalARN("iam", "role"+path+name)
	wire.AddResources(ctx, arn)
	switch {
	case name == "" || len(name) > 64:
		return nil, wire.Errorf("ValidationError", "The role name must have 1 to 64 characters.")
	case !strings.HasPrefix(path, "/") || !strings.HasSuffix(path, "/"):
		return nil, wire.Errorf("ValidationError", "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	}
	if _, ok := r.roles[name]; ok {
		return nil, wire.Errorf("EntityAlreadyExists", "Role with name %s already exists.", name).WithStatus(http.StatusConflict)
	}
	created := &role{inline: map[string]string{}, attached: map[string]bool{}}
	created.Role = types.Role{
		Arn: &arn, RoleName: &name, Path: &path, RoleId: new("AROA" + strings.ToUpper(wire.RandomHex(17))), CreateDate: new(r.now()),
		AssumeRolePolicyDocument: encodeDocument(in.AssumeRolePolicyDocument), Description: in.Description,
		MaxSessionDuration: in.MaxSessionDuration, PermissionsBoundary: permissionsBoundary(in.PermissionsBoundary), Tags: in.Tags,
	}
	if created.MaxSessionDuration == nil {
		created.MaxSessionDuration = new(int32(3600))
	}
	r.roles[name] = created
	return &iam.CreateRoleOutput{Role: &created.Role}, nil
}

// encodeDocument encodes a policy document as IAM does: URL-encoded by RFC 3986.
func encodeDocument(document *string) *string {
	if document == nil {
		return nil
	}
	return new(strings.ReplaceAll(url.QueryEscape(*document), "+", "%20"))
}

func permissionsBoundary(arn *string) *types.AttachedPermissionsBoundary {
	if arn == nil {
		return nil
	}
	return &types.AttachedPermissionsBoundary{
		PermissionsBoundaryArn: arn, PermissionsBoundaryType: types.PermissionsBoundaryAttachmentTypePolicy,
	}
}

func (r *Roles) getRole(ctx context.Context, in *iam.GetRoleInput) (*iam.GetRoleOutput, error) {
	found, err := r.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	return &iam.GetRoleOutput{Role: &found.Role}, nil
}

func (r *Roles) deleteRole(ctx context.Context, in *iam.DeleteRoleInput) (*iam.DeleteRoleOutput, error) {
	found, err := r.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	if len(found.inline)+len(found.attached) > 0 {
		return nil, wire.Errorf("DeleteConflict", "Cannot delete entity, must delete policies first.").WithStatus(http.StatusConflict)
	}
	delete(r.roles, *found.RoleName)
	return &iam.DeleteRoleOutput{}, nil
}

func (r *Roles) updateAssumeRolePolicy(ctx context.Context, in *iam.UpdateAssumeRolePolicyInput) (*iam.UpdateAssumeRolePolicyOutput, error) {
	found, err := r.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	found.AssumeRolePolicyDocument = encodeDocument(in.PolicyDocument)
	return &iam.UpdateAssumeRolePolicyOutput{}, nil
}

func (r *Roles) putRolePolicy(ctx context.Context, in *iam.PutRolePolicyInput) (*iam.PutRolePolicyOutput, error) {
	found, err := r.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	found.inline[aws.ToString(in.PolicyName)] = aws.ToString(in.PolicyDocument)
	return &iam.PutRolePolicyOutput{}, nil
}

func (r *Roles) listRolePolicies(ctx context.Context, in *iam.ListRolePoliciesInput) (*iam.ListRolePoliciesOutput, error) {
	found, err := r.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	names, next, err := wire.Paginate(slices.Sorted(maps.Keys(found.inline)), in.Marker, in.MaxItems, 100)
	return &iam.ListRolePoliciesOutput{PolicyNames: append([]string{}, names...), Marker: next, IsTruncated: next != nil}, err
}

func (r *Roles) deleteRolePolicy(ctx context.Context, in *iam.DeleteRolePolicyInput) (*iam.DeleteRolePolicyOutput, error) {
	found, err := r.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	if _, ok := found.inline[aws.ToString(in.PolicyName)]; !ok {
		return nil, wire.Errorf("NoSuchEntity", "The role policy with name %s cannot be found.", aws.ToString(in.PolicyName)).WithStatus(http.StatusNotFound)
	}
	delete(found.inline, *in.PolicyName)
	return &iam.DeleteRolePolicyOutput{}, nil
}

func (r *Roles) attachRolePolicy(ctx context.Context, in *iam.AttachRolePolicyInput) (*iam.AttachRolePolicyOutput, error) {
	found, err := r.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	found.attached[aws.ToString(in.PolicyArn)] = true
	return &iam.AttachRolePolicyOutput{}, nil
}

func (r *Roles) listAttachedRolePolicies(ctx context.Context, in *iam.ListAttachedRolePoliciesInput) (*iam.ListAttachedRolePoliciesOutput, error) {
	found, err := r.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	all := []types.AttachedPolicy{}
	for _, arn := range slices.Sorted(maps.Keys(found.attached)) {
		all = append(all, types.AttachedPolicy{PolicyArn: &arn, PolicyName: new(wire.ResourceName(arn))})
	}
	page, next, err := wire.Paginate(all, in.Marker, in.MaxItems, 100)
	return &iam.ListAttachedRolePoliciesOutput{AttachedPolicies: page, Marker: next, IsTruncated: next != nil}, err
}

func (r *Roles) detachRolePolicy(ctx context.Context, in *iam.DetachRolePolicyInput) (*iam.DetachRolePolicyOutput, error) {
	found, err := r.role(ctx, in.RoleName)
	if err != nil {
		return nil, err
	}
	if arn := aws.ToString(in.PolicyArn); !found.attached[arn] {
		return nil, wire.Errorf("NoSuchEntity", "Policy %s was not found.", arn).WithStatus(http.StatusNotFound)
	}
	delete(found.attached, *in.PolicyArn)
	return &iam.DetachRolePolicyOutput{}, nil
}

func (r *Roles) simulatePrincipalPolicy(ctx context.Context, in *iam.SimulatePrincipalPolicyInput) (*iam.SimulatePrincipalPolicyOutput, error) {
	source := aws.ToString(in.PolicySourceArn)
	wire.AddResources(ctx, source)
	if !strings.HasPrefix(source, r.scope.GlobalARN("iam", "")) {
		return nil, wire.Errorf("InvalidInput", "Invalid Entity Arn: %s does not clearly define entity type and name.", source)
	}
	resources := in.ResourceArns
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	results := []types.EvaluationResult{}
	for _, action := range in.ActionNames {
		for _, resource := range resources {
			decision := types.PolicyEvaluationDecisionTypeAllowed
			if r.denied[permission{action, resource}] || r.denied[permission{action, "*"}] {
				decision = types.PolicyEvaluationDecisionTypeImplicitDeny
			}
			results = append(results, types.EvaluationResult{EvalActionName: &action, EvalResourceName: &resource, EvalDecision: decision})
		}
	}
	page, next, err := wire.Paginate(results, in.Marker, in.MaxItems, 100)
	return &iam.SimulatePrincipalPolicyOutput{EvaluationResults: page, Marker: next, IsTruncated: next != nil}, err
}
