# Outputs of modules/platform.

output "vpc_id" {
  description = "ID of the VPC."
  value       = module.environment.platform.vpc_id
}

output "public_subnet_ids" {
  description = "IDs of the public subnets, in the order of azs."
  value       = module.environment.platform.public_subnet_ids
}

output "private_subnet_ids" {
  description = "IDs of the private subnets, in the order of azs."
  value       = module.environment.platform.private_subnet_ids
}

output "alb_dns_name" {
  description = "DNS name of the load balancer."
  value       = module.environment.platform.alb_dns_name
}

output "url" {
  description = "URL of the system."
  value       = module.environment.platform.url
}

output "ecs_cluster_name" {
  description = "Name of the cluster."
  value       = module.environment.platform.ecs_cluster_name
}

output "backend_repository_url" {
  description = "Repository URL of the service backend; see repository_urls for all services."
  value       = module.environment.platform.backend_repository_url
}

output "frontend_repository_url" {
  description = "Repository URL of the service frontend; see repository_urls for all services."
  value       = module.environment.platform.frontend_repository_url
}

output "repository_urls" {
  description = "Repository URLs by service."
  value       = module.environment.platform.repository_urls
}

output "service_names" {
  description = "ECS service names by service."
  value       = module.environment.platform.service_names
}

output "task_families" {
  description = "Task definition families by service."
  value       = module.environment.platform.task_families
}

output "log_groups" {
  description = "Log group names by service."
  value       = module.environment.platform.log_groups
}

output "target_group_arns" {
  description = "Target group ARNs by service."
  value       = module.environment.platform.target_group_arns
}

output "deployment_alarms" {
  description = "Names of the alarms that roll back a deployment, by service."
  value       = module.environment.platform.deployment_alarms
}

output "task_execution_role_arn" {
  description = "ARN of the task execution role of services without secrets."
  value       = module.environment.platform.task_execution_role_arn
}

output "task_role_arns" {
  description = "Task role ARNs by service."
  value       = module.environment.platform.task_role_arns
}

output "alarm_topic_arn" {
  description = "ARN of the SNS topic of all alarms."
  value       = module.environment.platform.alarm_topic_arn
}

output "route_priorities" {
  description = "Priorities of the listener rules by route. If two routes match a path, the lower number wins."
  value       = module.environment.platform.route_priorities
}
