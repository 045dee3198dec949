resource "aws_ecs_cluster" "main" {
  name = local.cluster

  setting {
    name  = "containerInsights"
    value = var.container_insights
  }
  depends_on = [aws_cloudwatch_log_group.insights]
}

# Fargate Spot, if a service uses it.
resource "aws_ecs_cluster_capacity_providers" "main" {
  count = anytrue([for s in local.services : s.spot > 0]) ? 1 : 0

  cluster_name       = aws_ecs_cluster.main.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

locals {
  # Weights of capacity providers by service. A service without Spot has a launch type
  # instead.
  capacity = { for name, s in local.services : name => s.spot == 0 ? {} : { for provider, weight in { FARGATE = 100 - s.spot, FARGATE_SPOT = s.spot } : provider => weight if weight > 0 } }
}

# Terraform owns a task definition except image and VERSION. A release copies the newest
# revision of the family, replaces those two and registers the result, so that a change
# made here goes live with the next release.
resource "aws_ecs_task_definition" "service" {
  for_each = local.services

  family                   = each.value.family
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = local.execution_roles[each.key].arn
  task_role_arn            = aws_iam_role.task[each.key].arn

  # Revisions are kept for rollbacks. They cost nothing.
  skip_destroy = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = each.value.architecture != "" ? each.value.architecture : var.cpu_architecture
  }

  dynamic "ephemeral_storage" {
    for_each = each.value.ephemeral_storage != 0 ? [each.value.ephemeral_storage] : []
    content {
      size_in_gib = ephemeral_storage.value
    }
  }

  # A volume that is not of EFS is an empty folder on the task's disk.
  dynamic "volume" {
    for_each = { for name, v in each.value.volumes : name => v if v.tmpfs_size == 0 }
    content {
      name = volume.key

      dynamic "efs_volume_configuration" {
        for_each = volume.value.efs_file_system != "" ? [volume.value] : []
        content {
          file_system_id     = efs_volume_configuration.value.efs_file_system
          transit_encryption = "ENABLED"
          authorization_config {
            access_point_id = efs_volume_configuration.value.efs_access_point
            iam             = "ENABLED"
          }
        }
      }
    }
  }

  container_definitions = jsonencode(concat(
    [local.definitions["${each.key} ${each.value.container}"]],
    [for sidecar in keys(each.value.sidecars) : local.definitions["${each.key} ${sidecar}"]],
  ))

  lifecycle {
    precondition {
      condition     = each.value.cluster == local.cluster
      error_message = "service \"${each.key}\": cluster \"${each.value.cluster}\" is not the one that this configuration creates, ${local.cluster}: remove cluster, or deploy the entry without this configuration."
    }
  }
}

resource "aws_ecs_service" "service" {
  for_each = local.running

  name             = each.value.service
  cluster          = aws_ecs_cluster.main.id
  task_definition  = aws_ecs_task_definition.service[each.key].arn
  launch_type      = length(local.capacity[each.key]) == 0 ? "FARGATE" : null
  platform_version = "LATEST"

  # ECS changes weights only with a new deployment. Without it the provider would replace
  # the service, as it does when Spot is turned on or off: README.md says how to do that.
  force_new_deployment = length(local.capacity[each.key]) > 0 ? true : null
  dynamic "capacity_provider_strategy" {
    for_each = local.capacity[each.key]
    content {
      capacity_provider = capacity_provider_strategy.key
      weight            = capacity_provider_strategy.value
    }
  }

  # A service without an image gets no tasks: with tasks, its first deployment would
  # fail. The first release sets the count.
  desired_count = contains(keys(var.initial_images), each.key) ? each.value.desired_count : 0

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  availability_zone_rebalancing      = "ENABLED"
  health_check_grace_period_seconds  = each.value.web ? coalesce(each.value.grace_period, 30) : null

  enable_execute_command  = false
  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"

  deployment_controller {
    type = "ECS"
  }
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  dynamic "alarms" {
    for_each = each.value.web ? [aws_cloudwatch_metric_alarm.service["${each.key} errors"].alarm_name] : []
    content {
      enable      = true
      rollback    = true
      alarm_names = [alarms.value]
    }
  }

  network_configuration {
    subnets          = [for az in var.azs : aws_subnet.private[az].id]
    security_groups  = [aws_security_group.service[each.key].id]
    assign_public_ip = false
  }
  dynamic "load_balancer" {
    for_each = each.value.web ? [aws_lb_target_group.service[each.key].arn] : []
    content {
      target_group_arn = load_balancer.value
      container_name   = each.value.container
      container_port   = each.value.port
    }
  }

  lifecycle {
    # Releases set the revision, releases and autoscaling set the count. Without this
    # the next apply would undo the last release.
    #
    # Releases also set what an entry's strategy says: version 5 of the provider knows
    # neither deployment_configuration nor load_balancer.advanced_configuration, does not
    # read them, and so leaves them. Version 6 could set them here (LINEAR and CANARY since
    # 6.21), if the release left them.
    ignore_changes = [task_definition, desired_count]
  }

  # ECS rejects a target group without a load balancer. Tasks need the permissions of
  # their role and a route to AWS before they can start.
  depends_on = [
    aws_lb_listener.http,
    aws_lb_listener.https,
    aws_lb_listener_rule.route,
    aws_lb_listener_rule.production,
    aws_lb_listener_rule.test,
    aws_iam_role_policy.infrastructure,
    aws_ecs_cluster_capacity_providers.main,
    aws_iam_role_policy.execution,
    aws_iam_role_policy.own_execution,
    aws_iam_role_policy.task,
    aws_route.nat,
    aws_vpc_endpoint.interface,
    aws_vpc_endpoint.s3,
  ]
}
