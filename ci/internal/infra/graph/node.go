// Package graph draws the platform that a Terraform plan describes, with what
// changes in it, as an SVG picture. The same plan gives the same bytes.
package graph

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"dagger/slipway/internal/infra/summary"
)

// lanes are the parts of a platform, from the user inwards. The first three
// stand in the VPC.
var lanes = []struct {
	title    string
	inVPC    bool
	prefixes []string
}{
	{"Front door", true, []string{"aws_lb", "aws_alb", "aws_acm", "aws_route53", "aws_wafv2", "aws_cloudfront", "aws_apigateway"}},
	{"Services", true, []string{"aws_ecs", "aws_appautoscaling", "aws_service_discovery", "aws_lambda", "aws_instance"}},
	{"Network", true, []string{
		"aws_vpc", "aws_subnet", "aws_internet_gateway", "aws_nat_gateway", "aws_eip", "aws_route", "aws_security_group", "aws_network",
		"aws_default", "aws_flow_log", "aws_main_route",
	}},
	{"Images and settings", false, []string{"aws_ecr", "aws_secretsmanager", "aws_ssm"}},
	{"Watching", false, []string{"aws_cloudwatch", "aws_sns", "aws_xray", "aws_chatbot"}},
	{"Access", false, []string{"aws_iam"}},
	{"Storage", false, []string{"aws_s3", "aws_dynamodb", "aws_kms", "aws_db", "aws_rds", "aws_efs", "aws_elasticache", "aws_sqs"}},
	{"Other", false, nil},
}

// lane finds a kind's lane by the longest prefix.
func lane(kind string) int {
	best, length := len(lanes)-1, 0
	for i, l := range lanes {
		for _, prefix := range l.prefixes {
			if strings.HasPrefix(kind, prefix) && len(prefix) > length {
				best, length = i, len(prefix)
			}
		}
	}
	return best
}

// node is a resource block of the configuration, with all of its instances.
type node struct {
	block     string // address without the instance's key
	kind      string
	label     string
	instances int
	actions   map[summary.Action]int
	drifted   int
	tips      []string
}

// worst is the action that gives a node its colour.
func (n *node) worst() summary.Action {
	for _, a := range []summary.Action{summary.Destroy, summary.Replace, summary.Update, summary.Create, summary.Forget, summary.Import, summary.Move, summary.Read} {
		if n.actions[a] > 0 {
			return a
		}
	}
	return summary.None
}

func (n *node) changes() bool { return n.worst() != summary.None || n.drifted > 0 }

// crowd is how many nodes a picture has room for. Above it, unchanged ones of
// one kind are drawn as one.
const crowd = 140

// nodes collects the platform's resources, in the order of the picture.
func nodes(plan *tfjson.Plan, s summary.Summary) []*node {
	actions := map[string]summary.Action{}
	for _, r := range s.Resources {
		actions[r.Address] = r.Action
	}
	drifted := map[string]bool{}
	for _, r := range s.Drift {
		drifted[r.Address] = true
	}
	byBlock := map[string]*node{}
	seen := map[string]bool{}
	for _, change := range slices.Concat(plan.ResourceChanges, plan.ResourceDrift) {
		if change == nil || change.Mode == tfjson.DataResourceMode || seen[change.Address] {
			continue
		}
		seen[change.Address] = true
		block := blockOf(change.ModuleAddress, change.Type, change.Name)
		n := byBlock[block]
		if n == nil {
			n = &node{block: block, kind: change.Type, label: change.Name, actions: map[summary.Action]int{}}
			if change.ModuleAddress != "" {
				n.label = strings.TrimPrefix(withoutKeys(change.ModuleAddress), "module.") + "." + change.Name
			}
			byBlock[block] = n
		}
		n.instances++
		if a, ok := actions[change.Address]; ok {
			n.actions[a]++
			n.tips = append(n.tips, string(a)+" "+change.Address)
		}
		if drifted[change.Address] {
			n.drifted++
			n.tips = append(n.tips, "changed by others: "+change.Address)
		}
	}
	if len(byBlock) > crowd {
		gather(byBlock)
	}
	all := slices.Collect(maps.Values(byBlock))
	for _, n := range all {
		slices.Sort(n.tips)
	}
	slices.SortFunc(all, func(a, b *node) int {
		return cmp.Or(cmp.Compare(lane(a.kind), lane(b.kind)), cmp.Compare(a.kind, b.kind), cmp.Compare(a.block, b.block))
	})
	return all
}

// gather makes one node of all unchanged ones of a kind.
func gather(byBlock map[string]*node) {
	for _, block := range slices.Sorted(maps.Keys(byBlock)) {
		n := byBlock[block]
		if n.changes() {
			continue
		}
		all := byBlock[n.kind]
		if all == nil {
			all = &node{block: n.kind, kind: n.kind, label: "unchanged", actions: map[summary.Action]int{}}
			byBlock[n.kind] = all
		}
		all.instances += n.instances
		delete(byBlock, block)
	}
}

// blockOf is the address of a resource's block.
func blockOf(module, kind, name string) string {
	block := kind + "." + name
	if module != "" {
		block = withoutKeys(module) + "." + block
	}
	return block
}

// withoutKeys takes the instances' keys out of an address.
func withoutKeys(address string) string {
	var b strings.Builder
	depth, quoted, escaped := 0, false, false
	for _, c := range address {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"' && depth > 0:
			quoted = !quoted
		case quoted:
		case c == '[':
			depth++
		case c == ']' && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			b.WriteRune(c)
		}
	}
	return b.String()
}
