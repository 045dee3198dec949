package guard

// losses maps the resource types of the platform, and types that classes would
// describe less well, to what is lost with them.
var losses = map[string]string{
	"aws_vpc":                         "the network, with everything in it",
	"aws_subnet":                      "a part of the network, with everything in it",
	"aws_nat_gateway":                 "the tasks' internet access, and an address that others may have allowed",
	"aws_eip":                         "a public address that others may have allowed",
	"aws_lb":                          "the load balancer, and its DNS name",
	"aws_alb":                         "the load balancer, and its DNS name",
	"aws_lb_listener":                 "the load balancer's port",
	"aws_alb_listener":                "the load balancer's port",
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
	"aws_iam_openid_connect_provider": "the pipeline's access to the account",
	"aws_efs_file_system":             "its files",
	"aws_elasticache_cluster":         "a cache, and what is in it",
	"aws_sqs_queue":                   "its messages",
	"aws_sns_topic":                   "its subscriptions",
	"aws_cognito_user_pool":           "its users, and their passwords",
	"aws_cognito_user_pool_client":    "a client's id and secret",
	"azurerm_key_vault":               "its keys and secrets",
}

// classes describe what is lost with a resource whose type contains one of the
// words, for any provider. The first match counts, so that specific classes come
// first: a database snapshot is a backup.
var classes = []struct {
	loss  string
	words []string
}{
	{"a backup, or a copy to restore from", []string{"backup", "snapshot", "glacier", "recovery", "archive", "restore"}},
	{"a secret, and the access of whoever uses it", []string{"secret", "password", "credential", "token", "access_key", "vault"}},
	{"a generated value that names or secrets are made of", []string{"random"}},
	{"a key, and whatever is encrypted or signed with it", []string{"key", "keypair", "keyring", "kms", "crypto", "hsm"}},
	{"a certificate in use", []string{"certificate", "cert", "acmpca"}},
	{"its logs", []string{"log", "trail", "cloudtrail"}},
	{"a pool, with everyone or everything in it", []string{"pool", "directory"}},
	{"a stream, and what is in it", []string{"stream", "kinesis", "kafka", "msk", "firehose", "eventhub"}},
	{"a queue or topic, with its messages and subscriptions", []string{"queue", "topic", "mq", "broker", "bus", "servicebus", "pubsub", "subscription"}},
	{"a cache, and what is in it", []string{"cache", "redis", "valkey", "memcached", "elasticache", "memorydb", "dax"}},
	{"a database, and what is in it", []string{
		"db", "rds", "database", "sql", "mssql", "mysql", "postgresql", "postgres", "mariadb", "mongo", "mongodb", "mongodbatlas", "docdb", "neptune", "dsql", "redshift",
		"redshiftserverless", "opensearch", "opensearchserverless", "elasticsearch", "timestreamwrite", "timestreaminfluxdb", "keyspaces", "bigtable", "bigquery",
		"spanner", "firestore", "cosmosdb", "athena", "glue", "catalog",
	}},
	{"its items", []string{"table", "item", "index"}},
	{"its files", []string{"file_system", "filesystem", "efs", "fsx", "filestore", "share"}},
	{"a disk, and what is on it", []string{"volume", "disk", "ebs", "datastore"}},
	{"its objects", []string{"bucket", "object", "blob", "storage"}},
	{"its images or packages", []string{"repository", "registry", "artifact", "package", "image", "ami", "codeartifact", "codecommit"}},
	{"a zone or name that others know", []string{"zone", "domain", "dns", "hostname", "website"}},
	{"a value that others read", []string{"parameter", "config", "configuration", "config_map"}},
	{"a machine, and what is on its disks", []string{"instance", "vm", "machine", "server", "node", "droplet", "fleet", "autoscaling_group"}},
	{"a cluster, with everything in it", []string{"cluster", "eks", "environment", "namespace"}},
	{"an address that others know", []string{
		"ip", "address", "elb", "load_balancer", "listener", "distribution", "api", "gateway", "apigateway", "apigatewayv2", "accelerator", "endpoint", "url",
	}},
	{"a part of the network, with everything in it", []string{"vpc", "subnet", "network", "vnet", "vpn", "peering", "interface"}},
	{"who may do what: a user, role or policy in use", []string{
		"user", "role", "policy", "group", "identity", "account", "provider", "organization", "project", "permission", "member",
	}},
	{"a program, with its versions and history", []string{"function", "lambda", "service", "job", "app", "application", "stack", "pipeline", "workflow", "release"}},
}

// recreatable are the types that apply recreates without loss: rules, links and
// settings that the configuration defines completely. The list is closed: add a
// type only if nothing is lost with it.
var recreatable = set(
	// Terraform's own, and resources that represent an action.
	"terraform_data", "null_resource", "time_sleep", "local_file", "local_sensitive_file",

	// Network rules and links.
	"aws_default_network_acl", "aws_default_route_table", "aws_default_security_group", "aws_egress_only_internet_gateway", "aws_eip_association",
	"aws_flow_log", "aws_internet_gateway", "aws_internet_gateway_attachment", "aws_main_route_table_association", "aws_network_acl",
	"aws_network_acl_association", "aws_network_acl_rule", "aws_network_interface_attachment", "aws_network_interface_sg_attachment", "aws_route",
	"aws_route_table", "aws_route_table_association", "aws_security_group", "aws_security_group_rule", "aws_vpc_dhcp_options_association",
	"aws_vpc_endpoint", "aws_vpc_endpoint_policy", "aws_vpc_endpoint_route_table_association", "aws_vpc_endpoint_security_group_association",
	"aws_vpc_endpoint_subnet_association", "aws_vpc_security_group_egress_rule", "aws_vpc_security_group_ingress_rule",
	"aws_vpc_security_group_vpc_association",

	// Load balancer rules.
	"aws_alb_listener_certificate", "aws_alb_listener_rule", "aws_alb_target_group", "aws_alb_target_group_attachment", "aws_lb_listener_certificate",
	"aws_lb_listener_rule", "aws_lb_target_group", "aws_lb_target_group_attachment", "aws_wafv2_ip_set", "aws_wafv2_regex_pattern_set",
	"aws_wafv2_rule_group", "aws_wafv2_web_acl", "aws_wafv2_web_acl_association", "aws_wafv2_web_acl_logging_configuration",

	// Aliases and records: the name stays with its owner.
	"aws_acm_certificate_validation", "aws_kms_alias", "aws_lambda_alias", "aws_route53_record", "aws_route53_zone_association",

	// Permissions attached to other resources.
	"aws_iam_group_membership", "aws_iam_group_policy", "aws_iam_group_policy_attachment", "aws_iam_instance_profile", "aws_iam_policy_attachment",
	"aws_iam_role_policies_exclusive", "aws_iam_role_policy", "aws_iam_role_policy_attachment", "aws_iam_role_policy_attachments_exclusive",
	"aws_iam_user_group_membership", "aws_iam_user_policy", "aws_iam_user_policy_attachment", "aws_ecr_repository_policy",
	"aws_ecr_registry_policy", "aws_kms_grant", "aws_kms_key_policy", "aws_lambda_permission", "aws_secretsmanager_secret_policy",
	"aws_sns_topic_policy", "aws_sqs_queue_policy", "aws_sqs_queue_redrive_allow_policy", "aws_sqs_queue_redrive_policy",
	"aws_cloudwatch_log_resource_policy", "aws_s3_bucket_policy", "aws_efs_file_system_policy",

	// Settings of other resources.
	"aws_dynamodb_contributor_insights", "aws_ecr_lifecycle_policy", "aws_ecr_pull_through_cache_rule", "aws_ecr_registry_scanning_configuration",
	"aws_ecs_account_setting_default", "aws_ecs_capacity_provider", "aws_ecs_cluster_capacity_providers", "aws_efs_backup_policy", "aws_efs_mount_target",
	"aws_lambda_event_source_mapping", "aws_lambda_function_event_invoke_config", "aws_s3_account_public_access_block", "aws_s3_bucket_accelerate_configuration",
	"aws_s3_bucket_acl", "aws_s3_bucket_analytics_configuration", "aws_s3_bucket_cors_configuration", "aws_s3_bucket_intelligent_tiering_configuration",
	"aws_s3_bucket_lifecycle_configuration", "aws_s3_bucket_logging", "aws_s3_bucket_metric", "aws_s3_bucket_notification",
	"aws_s3_bucket_ownership_controls", "aws_s3_bucket_public_access_block", "aws_s3_bucket_request_payment_configuration",
	"aws_s3_bucket_server_side_encryption_configuration", "aws_s3_bucket_versioning", "aws_s3_bucket_website_configuration",
	"aws_secretsmanager_secret_rotation", "aws_sns_topic_subscription", "aws_volume_attachment",

	// Settings shared by databases and caches.
	"aws_dax_parameter_group", "aws_dax_subnet_group", "aws_db_option_group", "aws_db_parameter_group", "aws_db_subnet_group",
	"aws_docdb_cluster_parameter_group", "aws_docdb_subnet_group", "aws_elasticache_parameter_group", "aws_elasticache_subnet_group",
	"aws_memorydb_parameter_group", "aws_memorydb_subnet_group", "aws_neptune_cluster_parameter_group", "aws_neptune_parameter_group",
	"aws_neptune_subnet_group", "aws_rds_cluster_parameter_group", "aws_redshift_parameter_group", "aws_redshift_subnet_group",

	// Services keep running; revisions are registered again.
	"aws_ecs_task_definition",

	// Monitoring, scaling and scheduling.
	"aws_appautoscaling_policy", "aws_appautoscaling_scheduled_action", "aws_appautoscaling_target", "aws_autoscaling_attachment",
	"aws_autoscaling_lifecycle_hook", "aws_autoscaling_notification", "aws_autoscaling_policy", "aws_autoscaling_schedule",
	"aws_cloudwatch_composite_alarm", "aws_cloudwatch_dashboard", "aws_cloudwatch_event_rule", "aws_cloudwatch_event_target",
	"aws_cloudwatch_log_metric_filter", "aws_cloudwatch_log_subscription_filter", "aws_cloudwatch_metric_alarm", "aws_cloudwatch_query_definition",
	"aws_route53_health_check", "aws_scheduler_schedule",

	// Parts of an API that its deployment contains.
	"aws_api_gateway_deployment", "aws_api_gateway_integration", "aws_api_gateway_integration_response", "aws_api_gateway_method",
	"aws_api_gateway_method_response", "aws_api_gateway_method_settings", "aws_api_gateway_resource", "aws_apigatewayv2_api_mapping",
	"aws_apigatewayv2_deployment", "aws_apigatewayv2_integration", "aws_apigatewayv2_route",
)

func set(kinds ...string) map[string]bool {
	known := make(map[string]bool, len(kinds))
	for _, kind := range kinds {
		known[kind] = true
	}
	return known
}
