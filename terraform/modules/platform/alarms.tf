resource "aws_sns_topic" "alarms" {
  name              = "${local.prefix}-alarms"
  kms_master_key_id = data.aws_kms_alias.platform.name # not AWS's own key: see kms.tf of modules/bootstrap
}

resource "aws_sns_topic_policy" "alarms" {
  arn = aws_sns_topic.alarms.arn
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AlarmsWrite"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms.arn
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
      {
        Sid       = "TLSOnly"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.alarms.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = var.alarm_emails

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

# Alarms of each service, by purpose. A service without tasks has no data, which does
# not raise an alarm. Those of a service with two target groups are about both: the sum, or
# the higher of two times.
locals {
  alarms = {
    # Also rolls a deployment back. Uses only 5xx responses, so that it reacts quickly.
    errors = {
      text       = "answers with server errors"
      namespace  = "AWS/ApplicationELB"
      metric     = "HTTPCode_Target_5XX_Count"
      statistic  = "Sum"
      comparison = "GreaterThanOrEqualToThreshold"
      threshold  = var.alarm_thresholds.errors
      period     = 60
      minutes    = 1
    }
    unhealthy = {
      text       = "has tasks that fail their health check"
      namespace  = "AWS/ApplicationELB"
      metric     = "UnHealthyHostCount"
      statistic  = "Maximum"
      comparison = "GreaterThanOrEqualToThreshold"
      threshold  = 1
      period     = 60
      minutes    = 5
    }
    outage = {
      text       = "has no healthy task"
      namespace  = "AWS/ApplicationELB"
      metric     = "HealthyHostCount"
      statistic  = "Maximum"
      comparison = "LessThanThreshold"
      threshold  = 1
      period     = 60
      minutes    = 1
    }
    latency = {
      text       = "is slow"
      namespace  = "AWS/ApplicationELB"
      metric     = "TargetResponseTime"
      statistic  = "p95"
      comparison = "GreaterThanOrEqualToThreshold"
      threshold  = var.alarm_thresholds.latency_seconds
      period     = 60
      minutes    = 5
    }
    cpu = {
      text       = "is short of CPU"
      namespace  = "AWS/ECS"
      metric     = "CPUUtilization"
      statistic  = "Average"
      comparison = "GreaterThanOrEqualToThreshold"
      threshold  = var.alarm_thresholds.cpu
      period     = 60
      minutes    = 5
    }
    memory = {
      text       = "is short of memory"
      namespace  = "AWS/ECS"
      metric     = "MemoryUtilization"
      statistic  = "Average"
      comparison = "GreaterThanOrEqualToThreshold"
      threshold  = var.alarm_thresholds.memory
      period     = 60
      minutes    = 5
    }
  }
  service_alarms = { for pair in setproduct(keys(local.running), keys(local.alarms)) : join(" ", pair) => merge(local.alarms[pair[1]], {
    name = pair[0], what = pair[1], both = local.running[pair[0]].shifts && local.alarms[pair[1]].namespace != "AWS/ECS"
    })
  if local.running[pair[0]].web || local.alarms[pair[1]].namespace == "AWS/ECS" }
}

resource "aws_cloudwatch_metric_alarm" "service" {
  for_each = local.service_alarms

  alarm_name          = "${local.services[each.value.name].derived}-service-${each.value.what}"
  alarm_description   = "Service ${each.value.name} ${each.value.text}."
  namespace           = each.value.both ? null : each.value.namespace
  metric_name         = each.value.both ? null : each.value.metric
  statistic           = each.value.both || startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = !each.value.both && startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.both ? null : each.value.period
  evaluation_periods  = each.value.minutes
  datapoints_to_alarm = each.value.minutes
  treat_missing_data  = "notBreaching"

  dimensions = each.value.both ? null : each.value.namespace == "AWS/ECS" ? {
    ClusterName = aws_ecs_cluster.main.name
    ServiceName = local.services[each.value.name].service
    } : {
    LoadBalancer = aws_lb.main.arn_suffix
    TargetGroup  = aws_lb_target_group.service[each.value.name].arn_suffix
  }

  dynamic "metric_query" {
    for_each = each.value.both ? [startswith(each.value.statistic, "p") ? "MAX" : "SUM"] : []
    content {
      id          = "both"
      expression  = "${metric_query.value}([FILL(first, 0), FILL(second, 0)])"
      label       = each.value.metric
      return_data = true
    }
  }
  dynamic "metric_query" {
    for_each = each.value.both ? zipmap(["first", "second"], local.target_groups[each.value.name]) : {}
    content {
      id = metric_query.key
      metric {
        namespace   = each.value.namespace
        metric_name = each.value.metric
        stat        = each.value.statistic
        period      = each.value.period
        dimensions  = { LoadBalancer = aws_lb.main.arn_suffix, TargetGroup = aws_lb_target_group.service[metric_query.value].arn_suffix }
      }
    }
  }

  actions_enabled = true
  alarm_actions   = [aws_sns_topic.alarms.arn]
  ok_actions      = [aws_sns_topic.alarms.arn]
}

# Workers have no load balancer that counts their healthy tasks.
resource "aws_cloudwatch_metric_alarm" "worker" {
  for_each = { for name, s in local.running : name => s if !s.web && var.container_insights != "disabled" }

  alarm_name          = "${each.value.derived}-service-tasks"
  alarm_description   = "Worker ${each.key} has fewer running tasks than it should."
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  evaluation_periods  = 5
  datapoints_to_alarm = 5
  treat_missing_data  = "notBreaching"

  metric_query {
    id          = "missing"
    expression  = "IF(running < desired, 1, 0)"
    label       = "Fewer tasks than desired"
    return_data = true
  }
  dynamic "metric_query" {
    for_each = { running = "RunningTaskCount", desired = "DesiredTaskCount" }
    content {
      id = metric_query.key
      metric {
        namespace   = "ECS/ContainerInsights"
        metric_name = metric_query.value
        stat        = "Average"
        period      = 60
        dimensions  = { ClusterName = aws_ecs_cluster.main.name, ServiceName = each.value.service }
      }
    }
  }

  actions_enabled = true
  alarm_actions   = [aws_sns_topic.alarms.arn]
  ok_actions      = [aws_sns_topic.alarms.arn]
}

# Runs that EventBridge Scheduler could not start.
resource "aws_cloudwatch_metric_alarm" "job" {
  for_each = local.jobs

  alarm_name          = "${each.value.derived}-schedule-failed"
  alarm_description   = "Job ${each.key} was not started: its queue has the reason."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  statistic           = "Maximum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 1
  datapoints_to_alarm = 1
  treat_missing_data  = "notBreaching"
  dimensions          = { QueueName = aws_sqs_queue.job[each.key].name }

  actions_enabled = true
  alarm_actions   = [aws_sns_topic.alarms.arn]
  ok_actions      = [aws_sns_topic.alarms.arn]
}

# Errors that never reached a service: no healthy target, or a fault of the load
# balancer.
resource "aws_cloudwatch_metric_alarm" "alb" {
  alarm_name          = "${aws_lb.main.name}-errors"
  alarm_description   = "The load balancer answers with errors of its own."
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HTTPCode_ELB_5XX_Count"
  statistic           = "Sum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.alarm_thresholds.errors
  period              = 60
  evaluation_periods  = 1
  datapoints_to_alarm = 1
  treat_missing_data  = "notBreaching"
  dimensions          = { LoadBalancer = aws_lb.main.arn_suffix }

  actions_enabled = true
  alarm_actions   = [aws_sns_topic.alarms.arn]
  ok_actions      = [aws_sns_topic.alarms.arn]
}
