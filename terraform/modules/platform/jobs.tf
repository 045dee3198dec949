# Jobs: tasks that EventBridge Scheduler starts. A release sets the revision of a job's
# schedule, as it does for a service.

resource "aws_scheduler_schedule" "job" {
  for_each = local.jobs

  name                         = each.value.schedule_of
  description                  = "Runs job ${each.key}"
  group_name                   = "default"
  schedule_expression          = each.value.schedule
  schedule_expression_timezone = each.value.schedule_timezone != "" ? each.value.schedule_timezone : "UTC"

  # A job without an image could not start. The first release enables it.
  state = contains(keys(var.initial_images), each.key) ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_ecs_cluster.main.arn
    role_arn = aws_iam_role.schedule[each.key].arn

    dead_letter_config {
      arn = aws_sqs_queue.job[each.key].arn
    }
    # For an API that is not available, or no capacity. A run that is an hour late is
    # left to the next one.
    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 10
    }

    ecs_parameters {
      task_definition_arn     = aws_ecs_task_definition.service[each.key].arn
      task_count              = 1
      launch_type             = length(local.capacity[each.key]) == 0 ? "FARGATE" : null
      platform_version        = "LATEST"
      enable_ecs_managed_tags = true
      propagate_tags          = "TASK_DEFINITION"

      dynamic "capacity_provider_strategy" {
        for_each = local.capacity[each.key]
        content {
          capacity_provider = capacity_provider_strategy.key
          weight            = capacity_provider_strategy.value
        }
      }
      network_configuration {
        subnets          = [for az in var.azs : aws_subnet.private[az].id]
        security_groups  = [aws_security_group.service[each.key].id]
        assign_public_ip = false
      }
    }
  }

  lifecycle {
    # Releases set the revision and enable the schedule. A person may disable it.
    ignore_changes = [state, target[0].ecs_parameters[0].task_definition_arn]
  }

  depends_on = [
    aws_ecs_cluster_capacity_providers.main,
    aws_iam_role_policy.execution,
    aws_iam_role_policy.own_execution,
    aws_iam_role_policy.schedule,
    aws_iam_role_policy.task,
    aws_route.nat,
    aws_vpc_endpoint.interface,
    aws_vpc_endpoint.s3,
  ]
}

# Runs that could not be started, with the reason, for two weeks.
resource "aws_sqs_queue" "job" {
  for_each = local.jobs

  name                      = "${each.value.derived}-dlq"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}

resource "aws_iam_role" "schedule" {
  for_each = local.jobs

  name                 = "${each.value.derived}-schedule-role"
  description          = "Runs job ${each.key}"
  permissions_boundary = local.boundary
  assume_role_policy   = local.trust["scheduler"]
}

resource "aws_iam_role_policy" "schedule" {
  for_each = local.jobs

  name = "run-tasks"
  role = aws_iam_role.schedule[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Run"
        Effect    = "Allow"
        Action    = "ecs:RunTask"
        Resource  = "arn:${local.partition}:ecs:${var.region}:${local.account}:task-definition/${each.value.family}:*"
        Condition = { ArnEquals = { "ecs:cluster" = "arn:${local.partition}:ecs:${var.region}:${local.account}:cluster/${local.cluster}" } }
      },
      {
        Sid       = "Tag"
        Effect    = "Allow"
        Action    = "ecs:TagResource"
        Resource  = "arn:${local.partition}:ecs:${var.region}:${local.account}:task/${local.cluster}/*"
        Condition = { StringEquals = { "ecs:CreateAction" = "RunTask" } }
      },
      {
        Sid       = "PassRoles"
        Effect    = "Allow"
        Action    = "iam:PassRole"
        Resource  = [for role in [local.execution_roles[each.key], aws_iam_role.task[each.key]] : "arn:${local.partition}:iam::${local.account}:role/${role.name}"]
        Condition = { StringEquals = { "iam:PassedToService" = "ecs-tasks.amazonaws.com" } }
      },
      {
        Sid      = "Report"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = "arn:${local.partition}:sqs:${var.region}:${local.account}:${aws_sqs_queue.job[each.key].name}"
      },
    ]
  })
}
