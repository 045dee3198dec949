resource "aws_ecs_cluster" "main" {
  name = local.cluster

  setting {
    name  = "containerInsights"
    value = var.container_insights
  }
  depends_on = [aws_cloudwatch_log_group.insights]
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
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task[each.key].arn

  # Revisions are kept for rollbacks. They cost nothing.
  skip_destroy = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  container_definitions = jsonencode([{
    name      = each.key
    image     = "${local.registry}/${each.value.repository}${try("@${var.initial_images[each.key]}", ":set-by-a-release")}"
    essential = true
    user      = local.kinds[each.value.kind].user

    readonlyRootFilesystem = true
    privileged             = false
    linuxParameters        = local.kinds[each.value.kind].linux

    portMappings = [{ containerPort = each.value.port, hostPort = each.value.port, protocol = "tcp" }]
    environment = [
      { name = "PORT", value = tostring(each.value.port) },
      { name = "VERSION", value = "unreleased" }, # replaced with the commit by a release
    ]

    # Longer than the backend's DRAIN_TIMEOUT (20 s), so that the backend stops by
    # itself.
    stopTimeout = 30
    healthCheck = {
      command     = local.health_checks[each.key]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 10
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.service[each.key].name
        awslogs-region        = var.region
        awslogs-stream-prefix = "ecs"
        # A log service that does not respond must not block the container. The oldest
        # lines are dropped when the buffer is full.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }

    # Defaults that the API adds. Without them every plan shows a change.
    mountPoints    = []
    volumesFrom    = []
    systemControls = []
  }])
}

resource "aws_ecs_service" "service" {
  for_each = local.services

  name             = each.value.service
  cluster          = aws_ecs_cluster.main.id
  task_definition  = aws_ecs_task_definition.service[each.key].arn
  launch_type      = "FARGATE"
  platform_version = "LATEST"

  # A service without an image gets no tasks: with tasks, its first deployment would
  # fail. The first release sets the count.
  desired_count = contains(keys(var.initial_images), each.key) ? each.value.desired_count : 0

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  availability_zone_rebalancing      = "ENABLED"
  health_check_grace_period_seconds  = 30

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
  alarms {
    enable      = true
    rollback    = true
    alarm_names = [aws_cloudwatch_metric_alarm.service["${each.key} errors"].alarm_name]
  }

  network_configuration {
    subnets          = [for az in var.azs : aws_subnet.private[az].id]
    security_groups  = [aws_security_group.service[each.key].id]
    assign_public_ip = false
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.service[each.key].arn
    container_name   = each.key
    container_port   = each.value.port
  }

  lifecycle {
    # Releases set the revision, releases and autoscaling set the count. Without this
    # the next apply would undo the last release.
    ignore_changes = [task_definition, desired_count]
  }

  # ECS rejects a target group without a load balancer. Tasks need the permissions of
  # their role and a route to AWS before they can start.
  depends_on = [
    aws_lb_listener.http,
    aws_lb_listener.https,
    aws_lb_listener_rule.route,
    aws_iam_role_policy.execution,
    aws_route.nat,
    aws_vpc_endpoint.interface,
    aws_vpc_endpoint.s3,
  ]
}
