# Where the resources of an older state are now. It moves without a change. A configuration of
# your own whose state is as old needs this file as well.

# The root called modules/platform itself before.
moved {
  from = module.platform
  to   = module.environment.module.platform
}

# Before that, it had the resources. These go on as above.

moved {
  from = aws_appautoscaling_policy.service
  to   = module.platform.aws_appautoscaling_policy.service
}

moved {
  from = aws_appautoscaling_target.service
  to   = module.platform.aws_appautoscaling_target.service
}

moved {
  from = aws_cloudwatch_log_group.flow
  to   = module.platform.aws_cloudwatch_log_group.flow
}

moved {
  from = aws_cloudwatch_log_group.insights
  to   = module.platform.aws_cloudwatch_log_group.insights
}

moved {
  from = aws_cloudwatch_log_group.service
  to   = module.platform.aws_cloudwatch_log_group.service
}

moved {
  from = aws_cloudwatch_metric_alarm.alb
  to   = module.platform.aws_cloudwatch_metric_alarm.alb
}

moved {
  from = aws_cloudwatch_metric_alarm.job
  to   = module.platform.aws_cloudwatch_metric_alarm.job
}

moved {
  from = aws_cloudwatch_metric_alarm.service
  to   = module.platform.aws_cloudwatch_metric_alarm.service
}

moved {
  from = aws_cloudwatch_metric_alarm.worker
  to   = module.platform.aws_cloudwatch_metric_alarm.worker
}

moved {
  from = aws_default_security_group.main
  to   = module.platform.aws_default_security_group.main
}

moved {
  from = aws_ecr_lifecycle_policy.service
  to   = module.platform.aws_ecr_lifecycle_policy.service
}

moved {
  from = aws_ecr_repository.service
  to   = module.platform.aws_ecr_repository.service
}

moved {
  from = aws_ecr_repository_policy.pull
  to   = module.platform.aws_ecr_repository_policy.pull
}

moved {
  from = aws_ecs_cluster.main
  to   = module.platform.aws_ecs_cluster.main
}

moved {
  from = aws_ecs_cluster_capacity_providers.main
  to   = module.platform.aws_ecs_cluster_capacity_providers.main
}

moved {
  from = aws_ecs_service.service
  to   = module.platform.aws_ecs_service.service
}

moved {
  from = aws_ecs_task_definition.service
  to   = module.platform.aws_ecs_task_definition.service
}

moved {
  from = aws_eip.nat
  to   = module.platform.aws_eip.nat
}

moved {
  from = aws_flow_log.main
  to   = module.platform.aws_flow_log.main
}

moved {
  from = aws_iam_role.execution
  to   = module.platform.aws_iam_role.execution
}

moved {
  from = aws_iam_role.flow_logs
  to   = module.platform.aws_iam_role.flow_logs
}

moved {
  from = aws_iam_role.infrastructure
  to   = module.platform.aws_iam_role.infrastructure
}

moved {
  from = aws_iam_role.own_execution
  to   = module.platform.aws_iam_role.own_execution
}

moved {
  from = aws_iam_role.schedule
  to   = module.platform.aws_iam_role.schedule
}

moved {
  from = aws_iam_role.task
  to   = module.platform.aws_iam_role.task
}

moved {
  from = aws_iam_role_policy.execution
  to   = module.platform.aws_iam_role_policy.execution
}

moved {
  from = aws_iam_role_policy.flow_logs
  to   = module.platform.aws_iam_role_policy.flow_logs
}

moved {
  from = aws_iam_role_policy.infrastructure
  to   = module.platform.aws_iam_role_policy.infrastructure
}

moved {
  from = aws_iam_role_policy.own_execution
  to   = module.platform.aws_iam_role_policy.own_execution
}

moved {
  from = aws_iam_role_policy.schedule
  to   = module.platform.aws_iam_role_policy.schedule
}

moved {
  from = aws_iam_role_policy.task
  to   = module.platform.aws_iam_role_policy.task
}

moved {
  from = aws_internet_gateway.main
  to   = module.platform.aws_internet_gateway.main
}

moved {
  from = aws_lb.main
  to   = module.platform.aws_lb.main
}

moved {
  from = aws_lb_listener.http
  to   = module.platform.aws_lb_listener.http
}

moved {
  from = aws_lb_listener.https
  to   = module.platform.aws_lb_listener.https
}

moved {
  from = aws_lb_listener.test
  to   = module.platform.aws_lb_listener.test
}

moved {
  from = aws_lb_listener_rule.production
  to   = module.platform.aws_lb_listener_rule.production
}

moved {
  from = aws_lb_listener_rule.route
  to   = module.platform.aws_lb_listener_rule.route
}

moved {
  from = aws_lb_listener_rule.test
  to   = module.platform.aws_lb_listener_rule.test
}

moved {
  from = aws_lb_target_group.service
  to   = module.platform.aws_lb_target_group.service
}

moved {
  from = aws_nat_gateway.main
  to   = module.platform.aws_nat_gateway.main
}

moved {
  from = aws_route.internet
  to   = module.platform.aws_route.internet
}

moved {
  from = aws_route.nat
  to   = module.platform.aws_route.nat
}

moved {
  from = aws_route_table.private
  to   = module.platform.aws_route_table.private
}

moved {
  from = aws_route_table.public
  to   = module.platform.aws_route_table.public
}

moved {
  from = aws_route_table_association.private
  to   = module.platform.aws_route_table_association.private
}

moved {
  from = aws_route_table_association.public
  to   = module.platform.aws_route_table_association.public
}

moved {
  from = aws_s3_bucket.access_logs
  to   = module.platform.aws_s3_bucket.access_logs
}

moved {
  from = aws_s3_bucket_lifecycle_configuration.access_logs
  to   = module.platform.aws_s3_bucket_lifecycle_configuration.access_logs
}

moved {
  from = aws_s3_bucket_ownership_controls.access_logs
  to   = module.platform.aws_s3_bucket_ownership_controls.access_logs
}

moved {
  from = aws_s3_bucket_policy.access_logs
  to   = module.platform.aws_s3_bucket_policy.access_logs
}

moved {
  from = aws_s3_bucket_public_access_block.access_logs
  to   = module.platform.aws_s3_bucket_public_access_block.access_logs
}

moved {
  from = aws_s3_bucket_server_side_encryption_configuration.access_logs
  to   = module.platform.aws_s3_bucket_server_side_encryption_configuration.access_logs
}

moved {
  from = aws_s3_bucket_versioning.access_logs
  to   = module.platform.aws_s3_bucket_versioning.access_logs
}

moved {
  from = aws_scheduler_schedule.job
  to   = module.platform.aws_scheduler_schedule.job
}

moved {
  from = aws_security_group.alb
  to   = module.platform.aws_security_group.alb
}

moved {
  from = aws_security_group.endpoints
  to   = module.platform.aws_security_group.endpoints
}

moved {
  from = aws_security_group.service
  to   = module.platform.aws_security_group.service
}

moved {
  from = aws_sns_topic.alarms
  to   = module.platform.aws_sns_topic.alarms
}

moved {
  from = aws_sns_topic_policy.alarms
  to   = module.platform.aws_sns_topic_policy.alarms
}

moved {
  from = aws_sns_topic_subscription.alarms
  to   = module.platform.aws_sns_topic_subscription.alarms
}

moved {
  from = aws_sqs_queue.job
  to   = module.platform.aws_sqs_queue.job
}

moved {
  from = aws_subnet.private
  to   = module.platform.aws_subnet.private
}

moved {
  from = aws_subnet.public
  to   = module.platform.aws_subnet.public
}

moved {
  from = aws_vpc.main
  to   = module.platform.aws_vpc.main
}

moved {
  from = aws_vpc_endpoint.interface
  to   = module.platform.aws_vpc_endpoint.interface
}

moved {
  from = aws_vpc_endpoint.s3
  to   = module.platform.aws_vpc_endpoint.s3
}

moved {
  from = aws_vpc_security_group_egress_rule.alb
  to   = module.platform.aws_vpc_security_group_egress_rule.alb
}

moved {
  from = aws_vpc_security_group_egress_rule.service_to_efs
  to   = module.platform.aws_vpc_security_group_egress_rule.service_to_efs
}

moved {
  from = aws_vpc_security_group_egress_rule.service_to_endpoints
  to   = module.platform.aws_vpc_security_group_egress_rule.service_to_endpoints
}

moved {
  from = aws_vpc_security_group_egress_rule.service_to_internet
  to   = module.platform.aws_vpc_security_group_egress_rule.service_to_internet
}

moved {
  from = aws_vpc_security_group_egress_rule.service_to_s3
  to   = module.platform.aws_vpc_security_group_egress_rule.service_to_s3
}

moved {
  from = aws_vpc_security_group_ingress_rule.alb
  to   = module.platform.aws_vpc_security_group_ingress_rule.alb
}

moved {
  from = aws_vpc_security_group_ingress_rule.alb_test
  to   = module.platform.aws_vpc_security_group_ingress_rule.alb_test
}

moved {
  from = aws_vpc_security_group_ingress_rule.endpoints
  to   = module.platform.aws_vpc_security_group_ingress_rule.endpoints
}

moved {
  from = aws_vpc_security_group_ingress_rule.service
  to   = module.platform.aws_vpc_security_group_ingress_rule.service
}

moved {
  from = aws_wafv2_web_acl.main
  to   = module.platform.aws_wafv2_web_acl.main
}

moved {
  from = aws_wafv2_web_acl_association.alb
  to   = module.platform.aws_wafv2_web_acl_association.alb
}
