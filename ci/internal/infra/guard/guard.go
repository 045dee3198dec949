// Package guard keeps a plan from destroying what cannot be made again: data,
// history, names that others know, the network that everything stands in.
package guard

import (
	"fmt"
	"slices"
	"strings"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/suggest"
)

// losses says what is lost with a resource of each guarded kind. A replaced
// one is destroyed as well.
var losses = map[string]string{
	"aws_vpc":                         "the network, with everything in it",
	"aws_subnet":                      "a part of the network, with everything in it",
	"aws_nat_gateway":                 "the tasks' way out, and the address that others may have allowed",
	"aws_eip":                         "a public address that others may have allowed",
	"aws_lb":                          "the front door, and its DNS name",
	"aws_lb_listener":                 "the front door's port",
	"aws_acm_certificate":             "a certificate in use",
	"aws_route53_zone":                "a zone, and its name servers",
	"aws_ecs_cluster":                 "the cluster, with every service in it",
	"aws_ecs_service":                 "a service, and all of its tasks",
	"aws_ecr_repository":              "every image in it, those to roll back to included",
	"aws_cloudwatch_log_group":        "its logs",
	"aws_s3_bucket":                   "its objects",
	"aws_dynamodb_table":              "its items",
	"aws_kms_key":                     "whatever is encrypted with it",
	"aws_secretsmanager_secret":       "a secret that tasks read",
	"aws_ssm_parameter":               "a value that tasks read",
	"aws_iam_role":                    "a role that may be in use",
	"aws_iam_policy":                  "a policy that may be in use",
	"aws_iam_openid_connect_provider": "the pipeline's way into the account",
	"aws_db_instance":                 "a database",
	"aws_rds_cluster":                 "a database",
	"aws_efs_file_system":             "its files",
	"aws_elasticache_cluster":         "a cache, and what is in it",
	"aws_sqs_queue":                   "its messages",
	"aws_sns_topic":                   "its subscriptions",
}

// Loss says what is lost when a resource of this kind is destroyed; "" for a
// kind that is not guarded.
func Loss(kind string) string { return losses[kind] }

// Doomed is a resource that a plan destroys, be it to make it anew.
type Doomed struct {
	Address, Type string
	Replaced      bool
}

// Check refuses a plan that destroys guarded resources, except those whose
// addresses are allowed. An allowed address that the plan does not destroy is
// a usage error: whoever wrote it had another plan in mind.
func Check(doomed []Doomed, allowed []string) error {
	addresses := make([]string, len(doomed))
	for i, d := range doomed {
		addresses[i] = d.Address
	}
	for _, address := range allowed {
		if slices.Contains(addresses, address) {
			continue
		}
		if near := suggest.Nearest(address, addresses); near != "" {
			return outcome.Usagef("--allow-destroy %s: the plan does not destroy it: did you mean %s?", address, near)
		}
		return outcome.Usagef("--allow-destroy %s: the plan does not destroy it (it destroys %s)", address, orNothing(addresses))
	}
	var refused, flags []string
	for _, d := range doomed {
		loss := Loss(d.Type)
		if loss == "" || slices.Contains(allowed, d.Address) {
			continue
		}
		verb := "destroy"
		if d.Replaced {
			verb = "replace"
		}
		refused = append(refused, fmt.Sprintf("%s %s (lost: %s)", verb, d.Address, loss))
		flags = append(flags, "--allow-destroy "+quote(d.Address))
	}
	if len(refused) == 0 {
		return nil
	}
	return outcome.Refusedf("the plan would %s: if that is meant, say so with %s", strings.Join(refused, ", "), strings.Join(flags, " "))
}

func orNothing(addresses []string) string {
	if len(addresses) == 0 {
		return "nothing"
	}
	return strings.Join(addresses, ", ")
}

// quote makes an address safe to copy into a shell.
func quote(address string) string {
	if !strings.ContainsAny(address, `"[ $`) {
		return address
	}
	return "'" + strings.ReplaceAll(address, "'", `'\''`) + "'"
}
