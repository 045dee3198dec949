# Needs no AWS account: the provider is real, its credentials are fake, nothing is applied.
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = data.aws_kms_alias.platform
  values = { target_key_arn = "arn:aws:kms:us-east-1:123456789012:key/0a0a0a0a-0000-0000-0000-000000000000" }
}

run "defaults" {
  command = plan

  # repositories
  assert {
    condition     = alltrue([for r in aws_ecr_repository.service : r.image_scanning_configuration[0].scan_on_push])
    error_message = "ECR.1: images must be scanned"
  }
  assert {
    condition     = alltrue([for r in aws_ecr_repository.service : r.image_tag_mutability == "IMMUTABLE" && !r.force_delete])
    error_message = "ECR.2: tags must not move"
  }
  assert {
    condition     = alltrue([for p in aws_ecr_lifecycle_policy.service : [for r in jsondecode(p.policy).rules : "${r.selection.tagStatus} ${r.selection.countType} ${r.selection.countNumber}"] == ["untagged sinceImagePushed 30", "tagged imageCountMoreThan 100"]])
    error_message = "ECR.3: old images must go, and never soon"
  }
  assert {
    condition     = alltrue([for r in aws_ecr_repository.service : r.encryption_configuration[0].encryption_type == "AES256"])
    error_message = "AWS's key is the default"
  }

  # logs
  assert {
    condition     = alltrue([for g in concat(values(aws_cloudwatch_log_group.service), [aws_cloudwatch_log_group.flow, aws_cloudwatch_log_group.insights]) : g.retention_in_days == 14])
    error_message = "logs must go after 14 days"
  }

  # insights
  assert {
    condition     = one(aws_ecs_cluster.main.setting).name == "containerInsights" && one(aws_ecs_cluster.main.setting).value == "enabled"
    error_message = "ECS.12: Container Insights must be on"
  }

  # alarms
  assert {
    condition     = toset([for a in aws_cloudwatch_metric_alarm.service : a.alarm_name]) == toset([for pair in setproduct(["backend", "frontend"], ["errors", "unhealthy", "outage", "latency", "cpu", "memory"]) : "ecs-${pair[0]}-service-${pair[1]}"])
    error_message = "alarms are ${jsonencode([for a in aws_cloudwatch_metric_alarm.service : a.alarm_name])}"
  }
  # CloudWatch.15 and CloudWatch.17. The ARN of the actions is known only after an
  # apply; ci/test/terraform checks there that it is the topic's.
  assert {
    condition     = alltrue([for a in concat(values(aws_cloudwatch_metric_alarm.service), [aws_cloudwatch_metric_alarm.alb]) : a.actions_enabled && a.treat_missing_data == "notBreaching"])
    error_message = "alarms must act, and not go off for a service of no tasks"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.service["backend errors"].metric_name == "HTTPCode_Target_5XX_Count" && aws_cloudwatch_metric_alarm.service["backend errors"].threshold == 10 && aws_cloudwatch_metric_alarm.service["backend errors"].evaluation_periods == 1
    error_message = "a deployment must be judged by its answers, within a minute"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.service["backend latency"].extended_statistic == "p95" && aws_cloudwatch_metric_alarm.service["backend latency"].statistic == null
    error_message = "latency must be the 95th percentile"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.alb.alarm_name == "ecs-alb-errors" && aws_cloudwatch_metric_alarm.alb.metric_name == "HTTPCode_ELB_5XX_Count"
    error_message = "errors of the load balancer itself must alarm"
  }
  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == "alias/ecs-platform"
    error_message = "the topic must be encrypted, with a key that CloudWatch may use"
  }

  # scaling
  assert {
    condition     = { for k, t in aws_appautoscaling_target.service : k => "${t.min_capacity}-${t.max_capacity}" } == { backend = "2-8", frontend = "2-8" }
    error_message = "services must scale between desired_count and four times that"
  }
  assert {
    condition     = keys(aws_appautoscaling_policy.service) == ["backend cpu", "backend memory", "backend requests", "frontend cpu", "frontend memory", "frontend requests"]
    error_message = "services must scale by CPU, memory and requests"
  }
}

run "choices" {
  command = plan
  variables {
    customer_managed_encryption = true
    log_retention_days          = 365
    images_to_keep              = 500
    alarm_emails                = ["on-call@example.com"]
    alarm_thresholds            = { errors = 3 }
    autoscaling                 = { enabled = false }
  }

  # by_choice
  # ECR.5, CloudWatch.16 at its default, and KMS keys for logs.
  assert {
    condition     = alltrue([for r in aws_ecr_repository.service : r.encryption_configuration[0].encryption_type == "KMS" && r.encryption_configuration[0].kms_key == "arn:aws:kms:us-east-1:123456789012:key/0a0a0a0a-0000-0000-0000-000000000000"])
    error_message = "ECR.5: images must be encrypted with the platform's key"
  }
  assert {
    condition     = alltrue([for g in concat(values(aws_cloudwatch_log_group.service), [aws_cloudwatch_log_group.flow, aws_cloudwatch_log_group.insights]) : g.retention_in_days == 365 && g.kms_key_id == "arn:aws:kms:us-east-1:123456789012:key/0a0a0a0a-0000-0000-0000-000000000000"])
    error_message = "CloudWatch.16: logs must be kept for a year, with the platform's key"
  }
  assert {
    condition     = alltrue([for p in aws_ecr_lifecycle_policy.service : jsondecode(p.policy).rules[1].selection.countNumber == 500])
    error_message = "as many images must be kept as asked for"
  }

  # who_is_told
  assert {
    condition     = aws_sns_topic_subscription.alarms["on-call@example.com"].protocol == "email"
    error_message = "the address must be told"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.service["backend errors"].threshold == 3 && aws_cloudwatch_metric_alarm.service["backend cpu"].threshold == 85
    error_message = "one threshold must be set without the others"
  }

  # no_scaling
  assert {
    condition     = length(aws_appautoscaling_target.service) + length(aws_appautoscaling_policy.service) == 0
    error_message = "no scaling was asked for"
  }
}
