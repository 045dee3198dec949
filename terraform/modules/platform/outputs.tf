output "vpc_id" {
  description = "ID of the VPC."
  value       = aws_vpc.main.id
}

output "public_subnet_ids" {
  description = "IDs of the public subnets, in the order of azs."
  value       = [for az in var.azs : aws_subnet.public[az].id]
}

output "private_subnet_ids" {
  description = "IDs of the private subnets, in the order of azs."
  value       = [for az in var.azs : aws_subnet.private[az].id]
}

output "alb_dns_name" {
  description = "DNS name of the load balancer."
  value       = aws_lb.main.dns_name
}

output "url" {
  description = "URL of the system."
  value       = "${var.certificate_arn == null ? "http" : "https"}://${coalesce(var.domain_name, aws_lb.main.dns_name)}"
}

output "ecs_cluster_name" {
  description = "Name of the cluster."
  value       = aws_ecs_cluster.main.name
}

# Outputs of the reference system. null if the service does not exist.
output "backend_repository_url" {
  description = "Repository URL of the service backend; see repository_urls for all services."
  value       = lookup(local.repository_urls, "backend", null)
}

output "frontend_repository_url" {
  description = "Repository URL of the service frontend; see repository_urls for all services."
  value       = lookup(local.repository_urls, "frontend", null)
}

locals {
  urls            = { for repository in aws_ecr_repository.service : repository.name => repository.repository_url }
  repository_urls = { for name, s in local.services : name => local.own_registry ? local.urls[s.repository] : "${local.registry}/${s.repository}" }
}

output "repository_urls" {
  description = "Repository URLs by service."
  value       = local.repository_urls
}

output "service_names" {
  description = "ECS service names by service."
  value       = { for name, s in aws_ecs_service.service : name => s.name }
}

output "task_families" {
  description = "Task definition families by service."
  value       = { for name, definition in aws_ecs_task_definition.service : name => definition.family }
}

output "log_groups" {
  description = "Log group names by service."
  value       = { for name, group in aws_cloudwatch_log_group.service : name => group.name }
}

output "target_group_arns" {
  description = "Target group ARNs by service."
  value       = { for name in keys(local.web) : name => aws_lb_target_group.service[name].arn }
}

output "deployment_alarms" {
  description = "Names of the alarms that roll back a deployment, by service."
  value       = { for name in keys(local.web) : name => aws_cloudwatch_metric_alarm.service["${name} errors"].alarm_name }
}

output "task_execution_role_arn" {
  description = "ARN of the task execution role of services without secrets."
  value       = aws_iam_role.execution.arn
}

output "task_role_arns" {
  description = "Task role ARNs by service."
  value       = { for name, role in aws_iam_role.task : name => role.arn }
}

output "alarm_topic_arn" {
  description = "ARN of the SNS topic of all alarms."
  value       = aws_sns_topic.alarms.arn
}

output "route_priorities" {
  description = "Priorities of the listener rules by route. If two routes match a path, the lower number wins."
  value       = local.route_priority
}

# For the provider of the calling configuration.
output "region" {
  description = "Region of the platform, for the provider."
  value       = var.region
}

output "tags" {
  description = "Tags of all resources, for the provider's default_tags; the apply role may change only resources with them."
  value       = local.tags
}
