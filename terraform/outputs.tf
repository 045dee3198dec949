output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.main.id
}

output "public_subnet_ids" {
  description = "Ids of the public subnets, in the order of azs."
  value       = [for az in var.azs : aws_subnet.public[az].id]
}

output "private_subnet_ids" {
  description = "Ids of the private subnets, in the order of azs."
  value       = [for az in var.azs : aws_subnet.private[az].id]
}

output "alb_dns_name" {
  description = "Host name of the load balancer."
  value       = aws_lb.main.dns_name
}

output "url" {
  description = "Where the system is."
  value       = "${var.certificate_arn == null ? "http" : "https"}://${aws_lb.main.dns_name}"
}

output "ecs_cluster_name" {
  description = "Name of the cluster."
  value       = aws_ecs_cluster.main.name
}

# The reference system's two outputs. null where there is no such service.
output "backend_repository_url" {
  description = "Repository of the service backend. repository_urls has all."
  value       = try(aws_ecr_repository.service["backend"].repository_url, null)
}

output "frontend_repository_url" {
  description = "Repository of the service frontend. repository_urls has all."
  value       = try(aws_ecr_repository.service["frontend"].repository_url, null)
}

output "repository_urls" {
  description = "Repository by service."
  value       = { for name, repository in aws_ecr_repository.service : name => repository.repository_url }
}

output "service_names" {
  description = "ECS service by service."
  value       = { for name, s in aws_ecs_service.service : name => s.name }
}

output "task_families" {
  description = "Task definition family by service."
  value       = { for name, definition in aws_ecs_task_definition.service : name => definition.family }
}

output "log_groups" {
  description = "Log group by service."
  value       = { for name, group in aws_cloudwatch_log_group.service : name => group.name }
}

output "target_group_arns" {
  description = "Target group by service."
  value       = { for name, group in aws_lb_target_group.service : name => group.arn }
}

output "deployment_alarms" {
  description = "Alarm that rolls a deployment back, by service."
  value       = { for name in keys(local.services) : name => aws_cloudwatch_metric_alarm.service["${name} errors"].alarm_name }
}

output "task_execution_role_arn" {
  description = "Role that starts tasks."
  value       = aws_iam_role.execution.arn
}

output "task_role_arns" {
  description = "Role of the code, by service."
  value       = { for name, role in aws_iam_role.task : name => role.arn }
}

output "alarm_topic_arn" {
  description = "Topic that alarms go to."
  value       = aws_sns_topic.alarms.arn
}

output "route_priorities" {
  description = "Priority of each route's listener rule; of two routes that match a path the lower number gets it."
  value       = local.route_priority
}
