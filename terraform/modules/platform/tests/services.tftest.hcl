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

# One entry creates a service, with the names that the pipeline derives.

run "defaults" {
  command = plan

  # names_are_the_reference_systems
  assert {
    condition     = aws_ecs_cluster.main.name == "ecs-cluster" && aws_lb.main.name == "ecs-alb"
    error_message = "cluster and load balancer must be ecs-cluster and ecs-alb"
  }
  assert {
    condition     = { for k, v in aws_ecs_service.service : k => v.name } == { backend = "ecs-backend-service", frontend = "ecs-frontend-service" }
    error_message = "services are ${jsonencode({ for k, v in aws_ecs_service.service : k => v.name })}"
  }
  assert {
    condition     = { for k, v in aws_ecs_task_definition.service : k => v.family } == { backend = "ecs-backend-task", frontend = "ecs-frontend-task" }
    error_message = "families are ${jsonencode({ for k, v in aws_ecs_task_definition.service : k => v.family })}"
  }
  assert {
    condition     = { for k, v in aws_ecr_repository.service : k => v.name } == { backend = "ecs-microservices-backend", frontend = "ecs-microservices-frontend" }
    error_message = "repositories are ${jsonencode({ for k, v in aws_ecr_repository.service : k => v.name })}"
  }
  assert {
    condition     = { for k, v in aws_cloudwatch_log_group.service : k => v.name } == { backend = "/ecs/ecs-backend", frontend = "/ecs/ecs-frontend" }
    error_message = "log groups are ${jsonencode({ for k, v in aws_cloudwatch_log_group.service : k => v.name })}"
  }
  assert {
    condition     = { for k, v in aws_lb_target_group.service : k => v.name } == { backend = "ecs-backend-tg", frontend = "ecs-frontend-tg" }
    error_message = "target groups are ${jsonencode({ for k, v in aws_lb_target_group.service : k => v.name })}"
  }
  assert {
    condition     = aws_iam_role.execution.name == "ecs-task-execution-role" && aws_iam_role.task["backend"].name == "ecs-backend-task-role"
    error_message = "roles must be those that bootstrap/ lets the deploy role pass"
  }
  assert {
    condition     = output.deployment_alarms == { backend = "ecs-backend-service-errors", frontend = "ecs-frontend-service-errors" }
    error_message = "deployment alarms are ${jsonencode(output.deployment_alarms)}"
  }
  assert {
    condition     = output.ecs_cluster_name == "ecs-cluster" && keys(output.repository_urls) == ["backend", "frontend"]
    error_message = "outputs must name cluster and repositories"
  }

  # tags
  # The provider adds these tags to everything. ci/test/terraform checks the applied
  # resources; here the test's own provider block replaces the provider.
  assert {
    condition     = local.tags == { Project = "ecs-microservices", Environment = "production", ManagedBy = "terraform", Repository = "slipway" }
    error_message = "tags are ${jsonencode(local.tags)}"
  }
}

run "a_third_service_is_one_entry" {
  command = plan
  variables {
    services = {
      backend  = { path = "backend", kind = "go", port = 8000, health_path = "/health", routes = ["/api", "/api/*", "/health"], cpu = 256, memory = 512, desired_count = 2 }
      frontend = { path = "frontend", kind = "nginx", port = 8080, health_path = "/healthz", routes = ["/*"], cpu = 256, memory = 512, desired_count = 2 }
      orders   = { path = "orders", kind = "go", port = 8001, health_path = "/health", routes = ["/api/orders/*"], cpu = 1024, memory = 2048, desired_count = 3 }
    }
  }

  assert {
    condition = alltrue([for made in [aws_ecs_service.service, aws_ecs_task_definition.service, aws_ecr_repository.service, aws_ecr_lifecycle_policy.service, aws_cloudwatch_log_group.service,
      aws_lb_target_group.service, aws_security_group.service, aws_vpc_security_group_ingress_rule.service, aws_vpc_security_group_egress_rule.alb, aws_iam_role.task, aws_appautoscaling_target.service,
    ] : keys(made) == ["backend", "frontend", "orders"]])
    error_message = "something is not made for each service"
  }
  assert {
    condition     = length([for key in keys(aws_cloudwatch_metric_alarm.service) : key if startswith(key, "orders ")]) == 6
    error_message = "a service has six alarms"
  }
  assert {
    condition     = strcontains(aws_iam_role_policy.execution.policy, "repository/ecs-microservices-orders") && strcontains(aws_iam_role_policy.execution.policy, "log-group:/ecs/ecs-orders:*")
    error_message = "the execution role must be granted the third service's repository and log"
  }
  assert {
    condition     = aws_ecs_task_definition.service["orders"].cpu == "1024" && aws_ecs_task_definition.service["orders"].memory == "2048"
    error_message = "size must be the entry's"
  }
  # A deeper route must win, and no other service's rule may change for it.
  assert {
    condition     = aws_lb_listener_rule.route["/api/orders/*"].priority < aws_lb_listener_rule.route["/api/*"].priority
    error_message = "/api/orders/* must come before /api/*"
  }
  assert {
    condition     = aws_lb_listener_rule.route["/api/*"].priority == run.defaults.route_priorities["/api/*"]
    error_message = "a third service moved the rule of another"
  }
}

run "nothing_answers_everything" {
  command = plan
  variables {
    services = {
      backend = { path = "backend", kind = "go", port = 8000, health_path = "/health", routes = ["/api/*"], cpu = 256, memory = 512, desired_count = 0 }
    }
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].type == "fixed-response" && aws_lb_listener.http.default_action[0].fixed_response[0].status_code == "404"
    error_message = "without a catch-all route, what is unknown is 404"
  }
  assert {
    condition     = length(aws_appautoscaling_target.service) == 0
    error_message = "a service of no tasks must not be scaled"
  }
  assert {
    condition     = output.frontend_repository_url == null
    error_message = "an absent service has no repository"
  }
}
