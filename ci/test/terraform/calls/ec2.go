package calls

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/test/policy"
)

// kinds maps prefixes of ids to EC2's resource types.
var kinds = map[string]string{
	"vpc": "vpc", "subnet": "subnet", "rtb": "route-table", "sg": "security-group", "sgr": "security-group-rule", "igw": "internet-gateway",
	"nat": "natgateway", "eipalloc": "elastic-ip", "vpce": "vpc-endpoint", "fl": "vpc-flow-log",
}

func kindOf(id string) string {
	before, _, _ := strings.Cut(id, "-")
	return kinds[before]
}

// makes maps actions to the resource type that they create.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
var makes = map[string]string{
	"AllocateAddress": "elastic-ip", "AuthorizeSecurityGroupEgress": "security-group-rule", "AuthorizeSecurityGroupIngress": "security-group-rule",
	"CreateFlowLogs": "vpc-flow-log", "CreateInternetGateway": "internet-gateway", "CreateNatGateway": "natgateway", "CreateRouteTable": "route-table",
	"CreateSecurityGroup": "security-group", "CreateSubnet": "subnet", "CreateVpc": "vpc", "CreateVpcEndpoint": "vpc-endpoint",
}

// looksAt maps actions to the only resource type that AWS checks, if a call names more:
// the table of a route, the group of a deleted rule.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_examples_ec2_securitygroups-vpc.html
var looksAt = map[string]string{
	"CreateRoute": "route-table", "DeleteRoute": "route-table", "ReplaceRoute": "route-table",
	"RevokeSecurityGroupEgress": "security-group", "RevokeSecurityGroupIngress": "security-group",
}

// ids matches ids; joined matches ids of associations.
var (
	ids    = regexp.MustCompile(`\b(vpc|subnet|rtb|sg|sgr|igw|nat|eipalloc|vpce|fl)-[0-9a-f]+\b`)
	joined = regexp.MustCompile(`\b(?:rtbassoc|eipassoc)-[0-9a-f]+\b`)
)

// ec2 requests permission for the created resource with its new tags, and for every
// resource that the call names with its existing tags. Read-only actions have no
// resource.
func (w *World) ec2(c Call) []policy.Request {
	if strings.HasPrefix(c.Action, "Describe") {
		w.told(c)
		return []policy.Request{c.request("*", nil)}
	}
	given, names := w.given(c)
	var all []policy.Request
	if kind, ok := makes[c.Action]; ok {
		made := w.arn("ec2", kind+"/*")
		all = append(all, c.request(made, tagged("aws:RequestTag/", given)))
		if len(given) > 0 {
			context := tagged("aws:RequestTag/", given)
			context["ec2:CreateAction"] = []string{c.Action}
			all = append(all, policy.Request{Action: "ec2:CreateTags", Resource: made, Context: context})
		}
	}
	for _, id := range names {
		kind := kindOf(id)
		if only, ok := looksAt[c.Action]; ok && kind != only {
			continue
		}
		context := tagged("aws:RequestTag/", given)
		maps.Copy(context, tagged("aws:ResourceTag/", w.tags[id]))
		all = append(all, c.request(w.arn("ec2", kind+"/"+id), context))
	}
	if role := c.Form.Get("DeliverLogsPermissionArn"); role != "" {
		all = append(all, pass(role, "vpc-flow-logs.amazonaws.com"))
	}
	if c.ok() {
		w.happened(c, given, names)
	}
	if len(all) == 0 {
		all = append(all, c.request("*", nil))
	}
	return all
}

// given returns the tags in a call, and the resources that it names, including the
// members of associations.
func (w *World) given(c Call) (tags map[string]string, names []string) {
	tags = map[string]string{}
	for field, values := range c.Form {
		for _, form := range []string{"TagSpecification.1.Tag.%s.Key", "Tag.%s.Key"} {
			before, after, _ := strings.Cut(form, "%s")
			if n, ok := strings.CutPrefix(field, before); ok && strings.HasSuffix(n, after) {
				tags[values[0]] = c.Form.Get(strings.TrimSuffix(field, "Key") + "Value")
			}
		}
		for _, value := range values {
			if ids.FindString(value) == value && value != "" {
				names = append(names, value)
			}
			names = append(names, w.joins[value]...)
		}
	}
	slices.Sort(names)
	return tags, slices.Compact(names)
}

// happened records what a call has changed.
func (w *World) happened(c Call, given map[string]string, names []string) {
	switch kind := makes[c.Action]; {
	case c.Action == "CreateTags":
		for _, id := range names {
			w.tag(id, given)
		}
	case kind != "":
		for _, id := range ids.FindAllString(c.Answer, -1) {
			if kindOf(id) == kind && !slices.Contains(names, id) {
				w.tag(id, given)
			}
		}
	case strings.HasPrefix(c.Action, "Associate"):
		for _, association := range joined.FindAllString(c.Answer, -1) {
			w.joins[association] = names
		}
	}
}

// told records the address of a NAT gateway, which AWS associates itself. The gateway's
// network interface, which is deleted with it, is left out.
func (w *World) told(c Call) {
	for part := range strings.SplitSeq(c.Answer, "<item>") {
		if association := joined.FindString(part); association != "" && c.Action == "DescribeAddresses" {
			w.joins[association] = ids.FindAllString(part, -1)
		}
	}
}

func (w *World) tag(id string, tags map[string]string) {
	if w.tags[id] == nil {
		w.tags[id] = map[string]string{}
	}
	for key, value := range tags {
		w.tags[id][key] = value
	}
}

// tagged returns tags as condition keys.
func tagged(before string, tags map[string]string) map[string][]string {
	context := map[string][]string{}
	for key, value := range tags {
		context[before+key] = []string{value}
	}
	return context
}

// arns matches ARNs of load balancing.
var arns = regexp.MustCompile(`arn:aws:elasticloadbalancing:[^<"\s]+`)

// loadBalancing requests permission for the ARNs that a call names, or for the ARN of
// what it creates.
func (w *World) loadBalancing(c Call) []policy.Request {
	if strings.HasPrefix(c.Action, "Describe") {
		return []policy.Request{c.request("*", nil)}
	}
	var named []string
	for _, values := range c.Form {
		named = append(named, arns.FindAllString(values[0], -1)...)
	}
	made := w.made(c, named)
	if len(named) == 0 {
		named = made
	}
	slices.Sort(named)
	var all []policy.Request
	for _, resource := range slices.Compact(named) {
		all = append(all, c.request(resource, nil))
	}
	if t := tagging[c.Service]; c.has(t.field) && strings.HasPrefix(c.Action, "Create") {
		for _, resource := range made {
			all = append(all, policy.Request{Action: c.Service + ":" + t.action, Resource: resource})
		}
	}
	return all
}

// made returns what a call to load balancing creates: from its response or, if it
// failed, from its name.
func (w *World) made(c Call, named []string) []string {
	kind, ok := map[string]string{
		"CreateLoadBalancer": "loadbalancer/app/", "CreateTargetGroup": "targetgroup/", "CreateListener": "listener/app/", "CreateRule": "listener-rule/app/",
	}[c.Action]
	if !ok {
		return nil
	}
	for _, arn := range arns.FindAllString(c.Answer, -1) {
		if strings.Contains(arn, ":"+kind) && !slices.Contains(named, arn) {
			return []string{arn}
		}
	}
	return []string{w.arn(c.Service, fmt.Sprintf("%s%s/0", kind, c.Form.Get("Name")))}
}

// iam requests permission for a role, with its existing or new boundary.
func (w *World) iam(c Call) []policy.Request {
	name := c.Form.Get("RoleName")
	if name == "" {
		return []policy.Request{c.request("*", nil)}
	}
	boundary := c.Form.Get("PermissionsBoundary")
	if boundary == "" {
		boundary = w.boundaries[name]
	}
	context := map[string][]string{}
	if boundary != "" {
		context["iam:PermissionsBoundary"] = []string{boundary}
	}
	all := []policy.Request{c.request(w.role(name), context)}
	if t := tagging[c.Service]; c.Action == "CreateRole" && c.has(t.field) {
		all = append(all, policy.Request{Action: "iam:" + t.action, Resource: w.role(name), Context: context})
	}
	if c.ok() && c.Form.Get("PermissionsBoundary") != "" {
		w.boundaries[name] = boundary
	}
	return all
}
