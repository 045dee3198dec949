package guard_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/infra/guard"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestCheck(t *testing.T) {
	vpc := guard.Destroyed{Address: "aws_vpc.main", Loss: guard.Loss("aws_vpc")}
	repository := guard.Destroyed{Address: `aws_ecr_repository.service["backend"]`, Loss: guard.Loss("aws_ecr_repository"), Replaced: true}
	rule := guard.Destroyed{Address: "aws_lb_listener_rule.api", Loss: guard.Loss("aws_lb_listener_rule")}
	shifted := func(address string) guard.Destroyed {
		return guard.Destroyed{Address: address, Loss: guard.TrafficLoss("ecs-api-service"), Shifted: "ecs-api-service"}
	}
	tests := map[string]struct {
		doomed  []guard.Destroyed
		allowed []string
		code    outcome.Code
		want    string
	}{
		"nothing destroyed":            {code: outcome.Done},
		"nothing guarded":              {doomed: []guard.Destroyed{rule}, code: outcome.Done},
		"a guarded one":                {[]guard.Destroyed{rule, vpc}, nil, outcome.Refused, "the plan would destroy aws_vpc.main (lost: the network, with everything in it): to allow it, add --allow-destroy aws_vpc.main"},
		"a guarded one, allowed":       {[]guard.Destroyed{vpc}, []string{"aws_vpc.main"}, outcome.Done, ""},
		"two, one of them allowed":     {[]guard.Destroyed{vpc, repository}, []string{"aws_vpc.main"}, outcome.Refused, `replace aws_ecr_repository.service["backend"] (lost: every image in it, those to roll back to included): to allow it, add --allow-destroy 'aws_ecr_repository.service["backend"]'`},
		"an unknown one":               {[]guard.Destroyed{{Address: "acme_thing.x", Loss: guard.Loss("acme_thing")}}, nil, outcome.Refused, "destroy acme_thing.x (lost: unknown: slipway does not know this resource type): to allow it, add --allow-destroy acme_thing.x"},
		"a deposed one":                {[]guard.Destroyed{{Address: "aws_ebs_volume.a (deposed 0badcafe)", Loss: guard.Loss("aws_ebs_volume")}}, nil, outcome.Refused, "--allow-destroy 'aws_ebs_volume.a (deposed 0badcafe)'"},
		"an unguarded one, allowed":    {[]guard.Destroyed{rule}, []string{rule.Address}, outcome.Done, ""},
		"a type instead of an address": {[]guard.Destroyed{vpc}, []string{"aws_vpc"}, outcome.Usage, "--allow-destroy aws_vpc: the plan does not destroy it: did you mean aws_vpc.main?"},
		"another address":              {[]guard.Destroyed{vpc}, []string{"aws_lb.main.xyz"}, outcome.Usage, "--allow-destroy aws_lb.main.xyz: the plan does not destroy it (it destroys aws_vpc.main)"},
		"what ECS shifts traffic with": {
			[]guard.Destroyed{vpc, shifted("aws_lb_listener_rule.test"), shifted("aws_lb_target_group.green")},
			[]string{"aws_vpc.main"},
			outcome.Refused,
			"release ecs-api-service with the strategy rolling first (slipway deploy --force), then plan again: " +
				"the plan would destroy aws_lb_listener_rule.test (lost: the traffic of ecs-api-service, until a release with the strategy rolling), " +
				"destroy aws_lb_target_group.green (lost: the traffic of ecs-api-service, until a release with the strategy rolling); " +
				"to destroy it anyway, add --allow-destroy aws_lb_listener_rule.test --allow-destroy aws_lb_target_group.green",
		},
		"what ECS shifts traffic with, allowed": {[]guard.Destroyed{shifted("aws_lb_target_group.green")}, []string{"aws_lb_target_group.green"}, outcome.Done, ""},
		"an address, and no change":             {nil, []string{"aws_vpc.main"}, outcome.Usage, "(it destroys nothing)"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := guard.Check(tt.doomed, tt.allowed)
			require.Equal(t, tt.code, outcome.Of(err), "%v", err)
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
			}
		})
	}
}

func TestLoss(t *testing.T) {
	tests := map[string][]string{ // what is said, and of which kinds
		"backup":      {"aws_backup_vault", "aws_db_snapshot", "aws_ebs_snapshot", "aws_glacier_vault", "aws_cloudwatch_event_archive", "google_compute_snapshot"},
		"secret":      {"aws_secretsmanager_secret", "aws_iam_access_key", "random_password", "vault_kv_secret_v2", "kubernetes_secret", "aws_cognito_user_pool_client", "azurerm_key_vault"},
		"value":       {"aws_ssm_parameter", "random_id", "random_pet", "kubernetes_config_map"},
		"encrypted":   {"aws_kms_key", "aws_kms_replica_key", "tls_private_key", "aws_key_pair"},
		"certificate": {"aws_acm_certificate", "aws_acmpca_certificate_authority", "tls_self_signed_cert"},
		"logs":        {"aws_cloudwatch_log_group", "aws_cloudwatch_log_stream", "aws_cloudtrail"},
		"users":       {"aws_cognito_user_pool"},
		"pool":        {"aws_cognito_identity_pool", "aws_directory_service_directory"},
		"stream":      {"aws_kinesis_stream", "aws_msk_cluster", "aws_kinesis_firehose_delivery_stream", "aws_kinesis_video_stream"},
		"messages":    {"aws_sqs_queue", "aws_mq_broker", "aws_cloudwatch_event_bus", "google_pubsub_topic", "google_pubsub_subscription"},
		"cache":       {"aws_elasticache_cluster", "aws_elasticache_replication_group", "aws_elasticache_serverless_cache", "aws_memorydb_cluster", "aws_dax_cluster"},
		"database": {
			"aws_db_instance", "aws_rds_cluster", "aws_rds_global_cluster", "aws_docdb_cluster", "aws_neptune_cluster", "aws_redshift_cluster", "aws_dsql_cluster",
			"aws_opensearch_domain", "aws_elasticsearch_domain", "google_sql_database_instance", "azurerm_mssql_database", "mongodbatlas_cluster", "postgresql_database", "aws_glue_catalog_table",
		},
		"items":         {"aws_dynamodb_table", "aws_dynamodb_table_item", "aws_dynamodb_global_table"},
		"files":         {"aws_efs_file_system", "aws_fsx_lustre_file_system", "aws_efs_access_point"},
		"disk":          {"aws_ebs_volume", "google_compute_disk", "kubernetes_persistent_volume_claim", "aws_instance"},
		"objects":       {"aws_s3_bucket", "aws_s3_object", "google_storage_bucket", "azurerm_storage_account"},
		"every image":   {"aws_ecr_repository"},
		"images":        {"aws_ecrpublic_repository", "aws_codecommit_repository", "aws_ami"},
		"zone":          {"aws_route53_zone", "google_dns_managed_zone", "aws_service_discovery_private_dns_namespace"},
		"everything":    {"aws_vpc", "aws_subnet", "aws_eks_cluster", "kubernetes_namespace"},
		"every service": {"aws_ecs_cluster"},
		"address":       {"aws_eip", "aws_nat_gateway", "aws_apigatewayv2_api", "aws_api_gateway_rest_api", "aws_cloudfront_distribution", "aws_globalaccelerator_accelerator"},
		"DNS name":      {"aws_lb", "aws_alb"},
		"port":          {"aws_lb_listener"},
		"in use":        {"aws_iam_role", "aws_iam_policy", "aws_iam_user"},
		"access to":     {"aws_iam_openid_connect_provider"},
		"tasks":         {"aws_ecs_service"},
		"versions":      {"aws_lambda_function", "helm_release"},
		"unknown: slipway does not know this resource type": {"acme_thing", "aws_thing_of_tomorrow", "time_static", "aws", ""},
	}
	for want, kinds := range tests {
		for _, kind := range kinds {
			require.Contains(t, guard.Loss(kind), want, kind)
		}
	}
	for _, kind := range []string{
		"terraform_data", "null_resource", "aws_security_group", "aws_security_group_rule", "aws_lb_listener_rule", "aws_route_table_association", "aws_iam_role_policy_attachment",
		"aws_cloudwatch_metric_alarm", "aws_ecs_task_definition", "aws_s3_bucket_policy", "aws_kms_alias", "aws_db_subnet_group",
	} {
		require.Empty(t, guard.Loss(kind), kind)
	}
}

// TestPlatformResourceTypes lists the protected resource types of the platform: a
// new type needs a decision.
func TestPlatformResourceTypes(t *testing.T) {
	var kinds []string
	for _, folder := range []string{"bootstrap", "platform"} {
		files, err := filepath.Glob(sourcetest.Repository("terraform", "modules", folder, "*.tf"))
		require.NoError(t, err)
		for _, file := range files {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, match := range regexp.MustCompile(`(?m)^resource "(\w+)"`).FindAllSubmatch(data, -1) {
				kinds = append(kinds, string(match[1]))
			}
		}
	}
	slices.Sort(kinds)
	guarded := slices.DeleteFunc(slices.Compact(kinds), func(kind string) bool { return guard.Loss(kind) == "" })
	require.Equal(t, []string{
		"aws_cloudwatch_log_group", "aws_dynamodb_table", "aws_ecr_repository", "aws_ecs_cluster", "aws_ecs_service", "aws_eip", "aws_iam_openid_connect_provider",
		"aws_iam_policy", "aws_iam_role", "aws_kms_key", "aws_lb", "aws_lb_listener", "aws_nat_gateway", "aws_s3_bucket", "aws_sns_topic", "aws_sqs_queue", "aws_subnet", "aws_vpc",
	}, guarded)
}
