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

# Environments other than production: names, overrides, and images of another account.
variables {
  environment = "staging"
  name_prefix = "stg"
}

run "staging" {
  command = plan
  variables {
    account_id    = "123456789012"
    domain_name   = "staging.example.com"
    pull_accounts = ["111111111111"]
    service_overrides = {
      backend = {
        cpu     = 512, memory = 1024, desired_count = 1, min_count = 0, max_count = 2, scaling = { cpu = 40 }
        secrets = { LOG_LEVEL = "level" }, environment = { TOKEN = "none", MODE = "test" }
      }
    }
    services = {
      backend = {
        path        = "backend", kind = "go", port = 8000, health_path = "/health", routes = ["/api/*"], cpu = 256, memory = 512, desired_count = 2, max_count = 6
        environment = { LOG_LEVEL = "info", MODE = "live", KEPT = "1" }, secrets = { TOKEN = "token", KEY = "key" }
      }
      frontend = { path = "frontend", kind = "nginx", port = 8080, health_path = "/healthz", routes = ["/*"], cpu = 256, memory = 512, desired_count = 2 }
    }
  }

  # names
  assert {
    condition = alltrue([for name in concat(
      [aws_ecs_cluster.main.name, aws_lb.main.name, aws_iam_role.execution.name, aws_iam_role.flow_logs.name, aws_sns_topic.alarms.name, aws_cloudwatch_metric_alarm.alb.alarm_name],
      [for s in aws_ecs_service.service : s.name], [for d in aws_ecs_task_definition.service : d.family], [for r in aws_ecr_repository.service : r.name],
      [for g in aws_lb_target_group.service : g.name], [for a in aws_cloudwatch_metric_alarm.service : a.alarm_name], [for r in aws_iam_role.task : r.name],
      [for r in aws_iam_role.own_execution : r.name], [for g in aws_security_group.service : g.name], [for p in aws_appautoscaling_policy.service : p.name],
    ) : startswith(name, "stg-")])
    error_message = "a name has not the environment's prefix"
  }
  assert {
    condition     = alltrue([for g in aws_cloudwatch_log_group.service : startswith(g.name, "/ecs/stg-")]) && aws_cloudwatch_log_group.flow.name == "/vpc/stg-flow-logs" && aws_cloudwatch_log_group.insights.name == "/aws/ecs/containerinsights/stg-cluster/performance" && data.aws_kms_alias.platform.name == "alias/stg-platform"
    error_message = "a log group or key has not the environment's prefix"
  }
  assert {
    condition     = aws_iam_role.execution.permissions_boundary == "arn:aws:iam::123456789012:policy/stg-permissions-boundary" && local.tags.Environment == "staging"
    error_message = "roles must have the environment's boundary, resources its tag"
  }
  assert {
    condition     = output.url == "http://staging.example.com"
    error_message = "the url must have the domain name: ${output.url}"
  }

  # overrides
  assert {
    condition     = [for name in ["backend", "frontend"] : [aws_ecs_task_definition.service[name].cpu, aws_ecs_task_definition.service[name].memory]] == [["512", "1024"], ["256", "512"]]
    error_message = "the size must be the override's, and that of the entry without one"
  }
  assert {
    condition     = { for name, t in aws_appautoscaling_target.service : name => "${t.min_capacity}-${t.max_capacity}" } == { backend = "0-2", frontend = "2-8" } && aws_appautoscaling_policy.service["backend cpu"].target_tracking_scaling_policy_configuration[0].target_value == 40
    error_message = "counts and scaling must be the override's"
  }
  assert {
    condition = alltrue([for c in jsondecode(aws_ecs_task_definition.service["backend"].container_definitions) :
      { for e in c.environment : e.name => e.value if !contains(["PORT", "VERSION"], e.name) } == { KEPT = "1", MODE = "test", TOKEN = "none" } && { for s in c.secrets : s.name => s.valueFrom } == { KEY = "key", LOG_LEVEL = "level" }
    ])
    error_message = "variables and secrets must be merged: ${aws_ecs_task_definition.service["backend"].container_definitions}"
  }

  # pull_accounts
  assert {
    condition = keys(aws_ecr_repository_policy.pull) == ["backend", "frontend"] && alltrue([for p in aws_ecr_repository_policy.pull : alltrue([for s in jsondecode(p.policy).Statement :
      s.Principal.AWS == ["arn:aws:iam::111111111111:root"] && alltrue([for action in s.Action : can(regex("^ecr:(Batch(Get|Check)|Get|Describe)", action))])
    ])])
    error_message = "the accounts alone may pull, and nothing else"
  }
}

run "images_of_another_account" {
  command = plan
  variables {
    registry_account = "111111111111"
  }

  assert {
    condition     = length(aws_ecr_repository.service) == 0 && output.repository_urls.backend == "111111111111.dkr.ecr.us-east-1.amazonaws.com/stg-microservices-backend"
    error_message = "the repositories must be those of the registry's account"
  }
  assert {
    condition     = startswith(jsondecode(aws_ecs_task_definition.service["backend"].container_definitions)[0].image, "111111111111.dkr.ecr.us-east-1.amazonaws.com/stg-microservices-backend:") && strcontains(aws_iam_role_policy.execution.policy, "arn:aws:ecr:us-east-1:111111111111:repository/stg-microservices-backend")
    error_message = "tasks must pull from there"
  }
}

run "credentials_of_another_account" {
  command = plan
  variables {
    account_id = "222222222222"
  }
  expect_failures = [data.aws_caller_identity.current]
}
