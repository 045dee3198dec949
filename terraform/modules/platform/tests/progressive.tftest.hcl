# Needs no AWS account: the provider is real, its credentials are fake, nothing is applied.
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

# A service of each progressive strategy, one without, and a worker, which ECS cannot shift.
variables {
  services = {
    backend  = { path = "backend", kind = "go", port = 8000, health_path = "/health", routes = ["/health", "/api", "/api/*"], cpu = 256, memory = 512, desired_count = 2, strategy = { type = "canary", percent = 2.5 } }
    frontend = { path = "frontend", kind = "nginx", port = 8080, health_path = "/healthz", routes = ["/*"], cpu = 256, memory = 512, desired_count = 2, strategy = { type = "blue_green" } }
    orders   = { path = "orders", kind = "go", port = 8001, health_path = "/health", routes = ["/api/orders/*"], cpu = 256, memory = 512, desired_count = 2, strategy = { type = "rolling", early_success_percent = 100 } }
    mailer   = { path = "mailer", kind = "go", cpu = 256, memory = 512, desired_count = 1, strategy = { type = "linear" } }
  }
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = data.aws_kms_alias.platform
  values = { target_key_arn = "arn:aws:kms:us-east-1:123456789012:key/0a0a0a0a-0000-0000-0000-000000000000" }
}

# So that sets of what refers to them are known.
override_resource {
  target          = aws_lb_target_group.service
  values          = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/a/1", arn_suffix = "targetgroup/a/1" }
  override_during = plan
}

override_resource {
  target          = aws_lb.main
  values          = { arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/ecs-alb/1", arn_suffix = "app/ecs-alb/1" }
  override_during = plan
}

run "shifted" {
  command = plan

  # two_target_groups_that_are_alike
  assert {
    condition     = { for key, group in aws_lb_target_group.service : key => group.name } == { backend = "ecs-backend-tg", "backend alternate" = "ecs-backend-t2", frontend = "ecs-frontend-tg", "frontend alternate" = "ecs-frontend-t2", orders = "ecs-orders-tg" }
    error_message = "target groups are ${jsonencode({ for key, group in aws_lb_target_group.service : key => group.name })}"
  }
  assert {
    condition     = aws_lb_target_group.service["backend alternate"].port == 8000 && aws_lb_target_group.service["backend alternate"].health_check == aws_lb_target_group.service["backend"].health_check && aws_lb_target_group.service["backend alternate"].deregistration_delay == "15"
    error_message = "both target groups must be alike"
  }

  # one_rule_a_service
  assert {
    condition     = keys(aws_lb_listener_rule.route) == ["/api/orders/*"] && keys(aws_lb_listener_rule.production) == ["backend", "frontend"] && keys(aws_lb_listener_rule.test) == ["backend", "frontend"]
    error_message = "a service with a progressive strategy and a port has one rule for each kind of traffic"
  }
  assert {
    condition     = one(one(aws_lb_listener_rule.production["backend"].condition).path_pattern).values == toset(["/api", "/api/*", "/health"]) && one(one(aws_lb_listener_rule.test["frontend"].condition).path_pattern).values == toset(["/*"])
    error_message = "the rule must have all patterns of the service"
  }
  assert {
    condition     = join(" ", sort([for group in aws_lb_listener_rule.production["backend"].action[0].forward[0].target_group : group.weight])) == "0 100"
    error_message = "all traffic must begin at the first target group"
  }
  assert {
    condition = (aws_lb_listener_rule.route["/api/orders/*"].priority < aws_lb_listener_rule.production["backend"].priority && aws_lb_listener_rule.production["backend"].priority < aws_lb_listener_rule.production["frontend"].priority
    && aws_lb_listener_rule.production["frontend"].priority <= 50000 && aws_lb_listener_rule.test["backend"].priority == aws_lb_listener_rule.production["backend"].priority)
    error_message = "a deeper route of another service must win, and the catch-all must come last"
  }
  assert {
    condition     = output.route_priorities["/api"] == aws_lb_listener_rule.production["backend"].priority && output.route_priorities["/*"] == aws_lb_listener_rule.production["frontend"].priority
    error_message = "the output must have the priorities of the rules"
  }

  # test_listener
  assert {
    condition     = aws_lb_listener.test[0].port == 10080 && aws_lb_listener.test[0].protocol == "HTTP" && aws_lb_listener.test[0].default_action[0].fixed_response[0].status_code == "404"
    error_message = "test traffic has its own port"
  }
  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.alb_test : [rule.from_port, rule.to_port, rule.cidr_ipv4]] == [[10080, 10080, "0.0.0.0/0"]]
    error_message = "the test listener must be as open as the production listener"
  }

  # infrastructure_role
  assert {
    condition     = aws_iam_role.infrastructure[0].name == "ecs-ecs-infrastructure-role" && jsondecode(aws_iam_role.infrastructure[0].assume_role_policy).Statement[0].Principal.Service == "ecs.amazonaws.com"
    error_message = "ECS must be able to assume the role that shifts traffic"
  }

  # alarms
  assert {
    condition     = length([for key in keys(aws_cloudwatch_metric_alarm.service) : key if startswith(key, "backend ")]) == 6 && output.deployment_alarms["backend"] == "ecs-backend-service-errors"
    error_message = "a service has six alarms, of the same names, whatever its strategy"
  }
  assert {
    condition = alltrue([for what, combine in { errors = "SUM", unhealthy = "SUM", outage = "SUM", latency = "MAX" } :
      length(aws_cloudwatch_metric_alarm.service["backend ${what}"].metric_query) == 3 && aws_cloudwatch_metric_alarm.service["backend ${what}"].metric_name == null
      && contains([for query in aws_cloudwatch_metric_alarm.service["backend ${what}"].metric_query : query.expression], "${combine}([FILL(first, 0), FILL(second, 0)])")
    ]) && alltrue([for what in ["backend cpu", "orders errors", "mailer cpu"] : length(aws_cloudwatch_metric_alarm.service[what].metric_query) == 0])
    error_message = "alarms of the load balancer must be about both target groups"
  }
  assert {
    condition     = length(aws_appautoscaling_policy.service["backend requests"].target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics) == 5 && length(aws_appautoscaling_policy.service["orders requests"].target_tracking_scaling_policy_configuration[0].customized_metric_specification) == 0
    error_message = "requests of both target groups must be counted"
  }
}

run "nothing_is_shifted" {
  command = plan
  variables {
    services = {
      orders = { path = "orders", kind = "go", port = 8001, health_path = "/health", routes = ["/*"], cpu = 256, memory = 512, desired_count = 2 }
      mailer = { path = "mailer", kind = "go", cpu = 256, memory = 512, desired_count = 1, strategy = { type = "canary" } }
    }
  }

  assert {
    condition     = length(aws_lb_listener.test) + length(aws_vpc_security_group_ingress_rule.alb_test) + length(aws_iam_role.infrastructure) + length(aws_lb_listener_rule.production) == 0 && keys(aws_lb_target_group.service) == ["orders"]
    error_message = "what shifts traffic must be there only if it is used"
  }
}

run "https_and_who_tests" {
  command = plan
  variables {
    certificate_arn           = "arn:aws:acm:us-east-1:123456789012:certificate/0a0a0a0a-0000-0000-0000-000000000000"
    test_listener_port        = 10443
    test_listener_cidr_blocks = ["203.0.113.0/24", "198.51.100.7/32"]
    service_overrides         = { backend = { strategy = { type = "rolling" } } }
  }

  assert {
    condition     = aws_lb_listener.test[0].port == 10443 && aws_lb_listener.test[0].protocol == "HTTPS" && aws_lb_listener.test[0].certificate_arn == var.certificate_arn && aws_lb_listener.test[0].ssl_policy == var.tls_policy
    error_message = "test traffic must be encrypted like production traffic"
  }
  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.alb_test : rule.cidr_ipv4]) == var.test_listener_cidr_blocks && alltrue([for rule in aws_vpc_security_group_ingress_rule.alb_test : rule.from_port == 10443])
    error_message = "only the given addresses may test"
  }
  assert {
    condition     = keys(aws_lb_listener_rule.production) == ["frontend"] && length(aws_lb_listener_rule.route) == 4
    error_message = "an override must replace the strategy"
  }
}
