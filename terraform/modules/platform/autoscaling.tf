# Scales between min_count and max_count, by default desired_count and max_factor times
# that. A service with desired_count 0 is not scaled: it waits for its first release or is
# switched off on purpose.

locals {
  scaled = { for name, s in local.running : name => s if var.autoscaling.enabled && s.desired_count > 0 }

  scaling_metrics = {
    cpu      = { metric = "ECSServiceAverageCPUUtilization", field = "cpu", target = var.autoscaling.cpu }
    memory   = { metric = "ECSServiceAverageMemoryUtilization", field = "memory", target = var.autoscaling.memory }
    requests = { metric = "ALBRequestCountPerTarget", field = "requests_per_task", target = var.autoscaling.requests_per_task }
  }
  scaling_policies = { for pair in setproduct(keys(local.scaled), keys(local.scaling_metrics)) : join(" ", pair) => {
    name   = pair[0]
    what   = pair[1]
    both   = pair[1] == "requests" && local.scaled[pair[0]].shifts
    metric = local.scaling_metrics[pair[1]].metric
    target = try(local.scaled[pair[0]].scaling[local.scaling_metrics[pair[1]].field], 0) != 0 ? local.scaled[pair[0]].scaling[local.scaling_metrics[pair[1]].field] : local.scaling_metrics[pair[1]].target
  } if pair[1] != "requests" || local.scaled[pair[0]].web }
}

resource "aws_appautoscaling_target" "service" {
  for_each = local.scaled

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.main.name}/${aws_ecs_service.service[each.key].name}"
  min_capacity       = coalesce(each.value.min_count, each.value.desired_count)
  max_capacity       = coalesce(each.value.max_count, each.value.desired_count * var.autoscaling.max_factor)
}

resource "aws_appautoscaling_policy" "service" {
  for_each = local.scaling_policies

  name               = "${local.services[each.value.name].derived}-service-${each.value.what}"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = aws_appautoscaling_target.service[each.value.name].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = each.value.target
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    dynamic "predefined_metric_specification" {
      for_each = each.value.both ? [] : [each.value.metric]
      content {
        predefined_metric_type = predefined_metric_specification.value
        resource_label         = each.value.what == "requests" ? "${aws_lb.main.arn_suffix}/${aws_lb_target_group.service[each.value.name].arn_suffix}" : null
      }
    }
    # Requests per healthy task of both target groups, of which one has the tasks.
    dynamic "customized_metric_specification" {
      for_each = each.value.both ? [local.target_groups[each.value.name]] : []
      content {
        metrics {
          id          = "per_task"
          expression  = "(FILL(first_requests, 0) + FILL(second_requests, 0)) / (FILL(first_tasks, 0) + FILL(second_tasks, 0))"
          return_data = true
        }
        dynamic "metrics" {
          for_each = { for pair in setproduct([0, 1], ["requests", "tasks"]) : "${["first", "second"][pair[0]]}_${pair[1]}" => { group = customized_metric_specification.value[pair[0]], tasks = pair[1] == "tasks" } }
          content {
            id          = metrics.key
            return_data = false
            metric_stat {
              stat = metrics.value.tasks ? "Average" : "Sum"
              metric {
                namespace   = "AWS/ApplicationELB"
                metric_name = metrics.value.tasks ? "HealthyHostCount" : "RequestCount"
                dimensions {
                  name  = "LoadBalancer"
                  value = aws_lb.main.arn_suffix
                }
                dimensions {
                  name  = "TargetGroup"
                  value = aws_lb_target_group.service[metrics.value.group].arn_suffix
                }
              }
            }
          }
        }
      }
    }
  }
}
