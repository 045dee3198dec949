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

# The services file as it is, with any number of entries: each entry gets all its
# resources, and each route leads to its service.

run "every_entry_is_a_service" {
  command = plan
  module {
    source = "./modules/platform"
  }

  assert {
    condition     = alltrue([for made in [aws_ecs_task_definition.service, aws_cloudwatch_log_group.service, aws_security_group.service, aws_iam_role.task] : toset(keys(made)) == toset(keys(var.services))])
    error_message = "something is not made for each entry"
  }
  assert {
    condition     = toset(keys(aws_ecs_service.service)) == toset([for name, s in var.services : name if s.schedule == ""]) && toset(keys(aws_scheduler_schedule.job)) == toset([for name, s in var.services : name if s.schedule != ""])
    error_message = "an entry is neither a service nor a job"
  }
  assert {
    condition     = toset([for r in aws_ecr_repository.service : r.name]) == toset([for s in local.services : s.repository])
    error_message = "a repository is missing"
  }
  assert {
    condition     = toset(concat(keys(aws_lb_listener_rule.route), local.catch_all == null ? [] : ["/*"])) == toset(flatten([for s in values(var.services) : s.routes]))
    error_message = "a route leads nowhere"
  }
  assert {
    condition     = { for name, group in aws_lb_target_group.service : name => [group.port, group.health_check[0].path] } == { for name, s in var.services : name => [s.port, s.health_path] if s.port != 0 }
    error_message = "a target group has another port or health path than its entry"
  }
  assert {
    condition     = alltrue([for name, s in var.services : alltrue([for route in s.routes : aws_lb_listener_rule.route[route].tags.Name == name if route != "/*"])])
    error_message = "a route leads to another service than its entry's"
  }
}

# This configuration, whose settings and outputs are those of the platform.

run "settings" {
  command = plan
  override_data {
    target = module.environment.module.platform.data.aws_caller_identity.current
    values = { account_id = "123456789012" }
  }
  override_data {
    target = module.environment.module.platform.data.aws_kms_alias.platform
    values = { target_key_arn = "arn:aws:kms:us-east-1:123456789012:key/0a0a0a0a-0000-0000-0000-000000000000" }
  }
  variables {
    settings = { name_prefix = "stg" }
  }

  assert {
    condition     = output.ecs_cluster_name == "stg-cluster" && toset(keys(output.task_families)) == toset(keys(var.services))
    error_message = "a setting or an output is not that of the platform"
  }
}
