package calls

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"dagger/slipway/test/policy"
)

// World is what of an account the calls so far tell, as far as policies ask for
// it: which tags things have, and which boundary roles. Calls are given to it in
// their order.
type World struct {
	// Account and Region are those that ARNs have.
	Account, Region string

	tags       map[string]map[string]string // of EC2's things, by id
	joins      map[string][]string          // what associations join, by their ids
	boundaries map[string]string            // of roles, by name
}

// NewWorld is an account of which nothing is known.
func NewWorld(account, region string) *World {
	return &World{Account: account, Region: region, tags: map[string]map[string]string{}, joins: map[string][]string{}, boundaries: map[string]string{}}
}

// prefixes are IAM's names of services that are signed for under others.
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
var prefixes = map[string]string{"monitoring": "cloudwatch"}

// Requests are what a call needs to be allowed, the permissions included that AWS
// wants along with it: to tag what is made with tags, to pass on a role. A call of
// which that is not known is an error.
func (w *World) Requests(c Call) ([]policy.Request, error) {
	switch c.Service {
	case "sts":
		if c.Action == "GetCallerIdentity" {
			return nil, nil // needs no permission
		}
	case "s3":
		return w.s3(c)
	case "ec2":
		return w.ec2(c), nil
	case "elasticloadbalancing":
		return w.loadBalancing(c), nil
	case "iam":
		return w.iam(c), nil
	}
	named, ok := naming[c.Service]
	if !ok {
		return nil, fmt.Errorf("what %s:%s needs is not known here: add it", c.Service, c.Action)
	}
	return w.plain(c, named), nil
}

// request asks for an action on a resource.
func (c Call) request(resource string, context map[string][]string) policy.Request {
	return policy.Request{Action: c.iamService() + ":" + c.Action, Resource: resource, Context: context}
}

func (c Call) iamService() string {
	if name, ok := prefixes[c.Service]; ok {
		return name
	}
	return c.Service
}

// ok says that AWS did what it was asked.
func (c Call) ok() bool { return c.Status/100 == 2 }

// arn is a name of a resource of a service in this account.
func (w *World) arn(service, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, w.Region, w.Account, resource)
}

func (w *World) role(name string) string {
	return fmt.Sprintf("arn:aws:iam::%s:role/%s", w.Account, name)
}

// pass asks to pass on a role, given by its ARN.
func pass(role, service string) policy.Request {
	return policy.Request{Action: "iam:PassRole", Resource: role, Context: map[string][]string{"iam:PassedToService": {service}}}
}

// naming says, by service, where a call of it names what it acts upon: fields with
// a name, and what comes before it in an ARN. Fields that end in "Arn" and the
// like have ARNs, as have texts that look like one.
var naming = map[string]map[string]string{
	"ecs": {"cluster": "cluster/", "clusterName": "cluster/", "clusters": "cluster/"},
	"ecr": {"repositoryName": "repository/", "repositoryNames": "repository/"},
	// A group's own actions want its name with ":*", those on tags without.
	"logs":                    {"logGroupName": "log-group:"},
	"sns":                     {"Name": ""},
	"monitoring":              {"AlarmName": "alarm:", "AlarmNames.member": "alarm:"},
	"dynamodb":                {"TableName": "table/"},
	"kms":                     {"KeyId": "key/"},
	"wafv2":                   {"Name": "regional/webacl/"},
	"application-autoscaling": {"ResourceId": "scalable-target/"},
}

// tagging are the fields with which a call tags what it makes, and the action
// that it needs for that, too.
var tagging = map[string]struct{ field, action string }{
	"ecs": {"tags", "TagResource"}, "ecr": {"tags", "TagResource"}, "logs": {"tags", "TagResource"}, "wafv2": {"Tags", "TagResource"},
	"sns": {"Tags.member.1.Key", "TagResource"}, "monitoring": {"Tags.member.1.Key", "TagResource"},
	"elasticloadbalancing": {"Tags.member.1.Key", "AddTags"}, "iam": {"Tags.member.1.Key", "TagRole"},
	"application-autoscaling": {"Tags", "TagResource"},
}

// resourceless are actions of which AWS looks at no resource.
// https://docs.aws.amazon.com/service-authorization/latest/reference/
var resourceless = []string{
	"ecs:DescribeTaskDefinition", "ecs:DeregisterTaskDefinition", "kms:ListAliases",
	"application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies",
}

// plain is for services whose calls name what they act upon.
func (w *World) plain(c Call, named map[string]string) []policy.Request {
	service := c.iamService()
	var resources []string
	switch action := service + ":" + c.Action; {
	case slices.Contains(resourceless, action):
		resources = []string{"*"}
	case c.Service == "ecs" && (c.Action == "CreateService" || c.Action == "UpdateService" || c.Action == "DeleteService"):
		name := c.text("service")
		if c.Action == "CreateService" {
			name = c.text("serviceName")
		}
		resources = []string{w.service(c, name)}
	case action == "ecs:DescribeServices":
		for _, name := range texts(c.Body["services"]) {
			resources = append(resources, w.service(c, name))
		}
	case action == "ecs:RegisterTaskDefinition":
		resources = []string{w.arn("ecs", "task-definition/"+c.text("family")+":*")}
	default:
		resources = w.named(c, service, named)
	}
	if len(resources) == 0 {
		resources = []string{"*"}
	}
	var all []policy.Request
	for _, resource := range resources {
		conditions := map[string][]string{}
		if service == "kms" && strings.Contains(c.Answer, w.Account) {
			// The platform's key is the only one that is asked for.
			conditions["aws:ResourceTag/Project"] = []string{Project}
		}
		all = append(all, c.request(resource, conditions))
		if t, ok := tagging[c.Service]; ok && c.has(t.field) && !strings.HasPrefix(c.Action, "Tag") {
			all = append(all, policy.Request{Action: service + ":" + t.action, Resource: resource, Context: map[string][]string{}})
		}
	}
	if c.Action == "AssociateWebACL" {
		all = append(all, policy.Request{Action: "elasticloadbalancing:SetWebACL", Resource: c.text("ResourceArn"), Context: map[string][]string{}})
	}
	if c.Action == "RegisterTaskDefinition" {
		for _, field := range []string{"executionRoleArn", "taskRoleArn"} {
			if role := c.text(field); role != "" {
				all = append(all, pass(role, "ecs-tasks.amazonaws.com"))
			}
		}
	}
	return all
}

// Project is the tag's value that is the platform's.
const Project = "ecs-microservices"

// service is the ARN of an ECS service, which calls name by name or ARN.
func (w *World) service(c Call, name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	cluster := c.text("cluster")
	return w.arn("ecs", "service/"+cluster[strings.LastIndex(cluster, "/")+1:]+"/"+name)
}

// named are the ARNs in the fields of a call.
func (w *World) named(c Call, service string, named map[string]string) []string {
	var resources []string
	add := func(field, value string) {
		before, ok := named[field]
		switch {
		case strings.HasPrefix(value, "arn:"):
			resources = append(resources, value)
		case ok && service == "wafv2":
			resources = append(resources, w.arn(service, before+value+"/id"))
		case ok:
			resources = append(resources, w.arn(service, before+value))
		}
	}
	for field, values := range c.Form {
		add(numbered.ReplaceAllString(field, ""), values[0])
	}
	for field, value := range c.Body {
		for _, text := range texts(value) {
			add(field, text)
		}
	}
	slices.Sort(resources)
	return slices.Compact(resources)
}

// numbered is the end of a field's name in a list.
var numbered = regexp.MustCompile(`\.\d+$`)

// texts are a text, or those of a list.
func texts(value any) []string {
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			if text, ok := one.(string); ok {
				all = append(all, text)
			}
		}
		return all
	}
	return nil
}

func (c Call) text(field string) string {
	text, _ := c.Body[field].(string)
	return text
}

// has says whether a call has a field that is not empty.
func (c Call) has(field string) bool {
	if c.Form.Get(field) != "" {
		return true
	}
	switch v := c.Body[field].(type) {
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return false
}
