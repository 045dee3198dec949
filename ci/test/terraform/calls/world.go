package calls

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/test/policy"
)

// World is what is known of an account from its calls so far, as far as policies depend
// on it: tags of resources and boundaries of roles. Calls must be passed in their
// order.
type World struct {
	// Account and Region are used in ARNs.
	Account, Region string

	tags       map[string]map[string]string // of EC2 resources, by id
	joins      map[string][]string          // members of associations, by id
	boundaries map[string]string            // of roles, by name
}

// NewWorld returns an account without known resources.
func NewWorld(account, region string) *World {
	return &World{Account: account, Region: region, tags: map[string]map[string]string{}, joins: map[string][]string{}, boundaries: map[string]string{}}
}

// prefixes maps service names in signatures to IAM's service prefixes if they differ.
// https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
var prefixes = map[string]string{"monitoring": "cloudwatch"}

// Requests returns what a call needs to be allowed, including dependent permissions: to
// tag a created resource, to pass a role. A call with unknown needs is an error.
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
	case "scheduler":
		return w.scheduler(c)
	}
	named, ok := naming[c.Service]
	if !ok {
		return nil, fmt.Errorf("what %s:%s needs is not known here: add it", c.Service, c.Action)
	}
	return w.plain(c, named), nil
}

// request returns a request for the call's action on a resource.
func (c Call) request(resource string, context map[string][]string) policy.Request {
	return policy.Request{Action: c.iamService() + ":" + c.Action, Resource: resource, Context: context}
}

func (c Call) iamService() string {
	if name, ok := prefixes[c.Service]; ok {
		return name
	}
	return c.Service
}

// ok reports whether the call succeeded.
func (c Call) ok() bool { return c.Status/100 == 2 }

// arn returns the ARN of a resource of a service in this account.
func (w *World) arn(service, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, w.Region, w.Account, resource)
}

func (w *World) role(name string) string {
	return fmt.Sprintf("arn:aws:iam::%s:role/%s", w.Account, name)
}

// pass requests permission to pass a role, given by its ARN.
func pass(role, service string) policy.Request {
	return policy.Request{Action: "iam:PassRole", Resource: role, Context: map[string][]string{"iam:PassedToService": {service}}}
}

// naming maps services to fields that name a resource, and to the prefix of that name
// in an ARN. Fields whose names end in "Arn" or similar have ARNs, as have values that
// look like one.
var naming = map[string]map[string]string{
	"ecs": {"cluster": "cluster/", "clusterName": "cluster/", "clusters": "cluster/"},
	"ecr": {"repositoryName": "repository/", "repositoryNames": "repository/"},
	// Actions on the group need its name with ":*", actions on tags without.
	"logs":                    {"logGroupName": "log-group:"},
	"sns":                     {"Name": ""},
	"monitoring":              {"AlarmName": "alarm:", "AlarmNames.member": "alarm:"},
	"dynamodb":                {"TableName": "table/"},
	"kms":                     {"KeyId": "key/"},
	"wafv2":                   {"Name": "regional/webacl/"},
	"application-autoscaling": {"ResourceId": "scalable-target/"},
	"sqs":                     {"QueueName": ""},
}

// tagging maps services to the field that tags a created resource, and to the action
// that this needs in addition.
var tagging = map[string]struct{ field, action string }{
	"ecs": {"tags", "TagResource"}, "ecr": {"tags", "TagResource"}, "logs": {"tags", "TagResource"}, "wafv2": {"Tags", "TagResource"},
	"sns": {"Tags.member.1.Key", "TagResource"}, "monitoring": {"Tags.member.1.Key", "TagResource"},
	"elasticloadbalancing": {"Tags.member.1.Key", "AddTags"}, "iam": {"Tags.member.1.Key", "TagRole"},
	"application-autoscaling": {"Tags", "TagResource"}, "sqs": {"tags", "TagQueue"},
}

// resourceless are actions without a resource.
// https://docs.aws.amazon.com/service-authorization/latest/reference/
var resourceless = []string{
	"ecs:DescribeTaskDefinition", "ecs:DeregisterTaskDefinition", "kms:ListAliases",
	"application-autoscaling:DescribeScalableTargets", "application-autoscaling:DescribeScalingPolicies",
}

// plain handles services whose calls name their resources.
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
	case c.text("QueueUrl") != "":
		resources = []string{w.arn("sqs", path.Base(c.text("QueueUrl")))}
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
			// Only the platform's key is used.
			conditions["aws:ResourceTag/Project"], conditions["aws:ResourceTag/Environment"] = []string{Project}, []string{"production"}
		}
		if service == "dynamodb" {
			conditions["dynamodb:LeadingKeys"] = c.lockID()
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

// lockID returns the key of the item in a table of locks.
func (c Call) lockID() []string {
	for _, field := range []string{"Key", "Item"} {
		item, _ := c.Body[field].(map[string]any)
		key, _ := item["LockID"].(map[string]any)
		if id, ok := key["S"].(string); ok {
			return []string{id}
		}
	}
	return nil
}

// scheduler handles EventBridge Scheduler, whose paths name the schedule.
func (w *World) scheduler(c Call) ([]policy.Request, error) {
	name, ok := strings.CutPrefix(c.URL.Path, "/schedules/")
	if !ok || strings.Contains(name, "/") {
		return nil, fmt.Errorf("what scheduler %s %s needs is not known here: add it", c.Method, c.URL.RequestURI())
	}
	group := cmp.Or(c.URL.Query().Get("groupName"), c.text("GroupName"), "default")
	all := []policy.Request{c.request(w.arn("scheduler", "schedule/"+group+"/"+name), nil)}
	if target, ok := c.Body["Target"].(map[string]any); ok {
		role, _ := target["RoleArn"].(string)
		all = append(all, pass(role, "scheduler.amazonaws.com"))
	}
	return all, nil
}

// Project is the platform's value of the tag Project.
const Project = "ecs-microservices"

// service returns the ARN of an ECS service, which calls refer to by name or ARN.
func (w *World) service(c Call, name string) string {
	if strings.HasPrefix(name, "arn:") {
		return name
	}
	cluster := c.text("cluster")
	return w.arn("ecs", "service/"+cluster[strings.LastIndex(cluster, "/")+1:]+"/"+name)
}

// named returns the ARNs in the fields of a call.
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

// numbered matches the index in a list field's name.
var numbered = regexp.MustCompile(`\.\d+$`)

// texts returns a string as a list, or the strings of a list.
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

// has reports whether a call has a non-empty field.
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
