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

# Each variable rejects its own bad input. A run has one mistake in each of several
# variables, because every run takes seconds. Mistakes in an entry of services are in
# TestRulesAgree of ci/test/terraform, which checks the messages.

run "words_that_are_none" {
  command = plan
  variables {
    initial_images     = { backend = "latest" }
    cpu_architecture   = "arm"
    project_name       = "Shop"
    vpc_endpoints      = ["ecr"]
    certificate_arn    = "example.com"
    tls_policy         = "ELBSecurityPolicy-2016-08"
    container_insights = "on"
    alarm_emails       = ["me"]
    name_prefix        = "Shop"
    account_id         = "12345"
    domain_name        = "shop"
    registry_account   = "12345"

    test_listener_port        = 443
    test_listener_cidr_blocks = ["everyone"]
  }
  expect_failures = [var.test_listener_port, var.test_listener_cidr_blocks, var.name_prefix, var.account_id, var.domain_name, var.registry_account, var.initial_images, var.cpu_architecture, var.project_name, var.vpc_endpoints, var.certificate_arn, var.tls_policy, var.container_insights, var.alarm_emails]
}

run "numbers_out_of_range" {
  command = plan
  variables {
    vpc_cidr           = "10.0.0.0/8"
    private_subnets    = ["10.0.10.0/24", "x"]
    allowed_cidrs      = ["everybody"]
    nat                = "some"
    waf_rate_limit     = 10
    log_retention_days = 15
    images_to_keep     = 5
    alarm_thresholds   = { cpu = 101 }
    autoscaling        = { max_factor = 0 }
    pull_accounts      = ["1"]
  }
  expect_failures = [var.pull_accounts, var.vpc_cidr, var.private_subnets, var.allowed_cidrs, var.nat, var.waf_rate_limit, var.log_retention_days, var.images_to_keep, var.alarm_thresholds, var.autoscaling]
}

run "things_that_do_not_go_together" {
  command = plan
  variables {
    initial_images = { nobody = "sha256:0000000000000000000000000000000000000000000000000000000000000000" }
    azs            = ["us-east-1a", "eu-west-1a"]
    nat            = "none"
    vpc_endpoints  = ["ecr.api", "logs"]
    autoscaling    = { cpu = 101 }

    service_overrides = { nobody = {} }
    name_prefix       = "internal-shop"
    registry_account  = "123456789012"
    pull_accounts     = ["111111111111"]
  }
  expect_failures = [var.service_overrides, var.name_prefix, var.pull_accounts, var.initial_images, var.azs, var.vpc_endpoints, var.autoscaling]
}

run "no_service_and_one_range_for_two_subnets" {
  command = plan
  variables {
    services        = {}
    private_subnets = ["10.0.1.0/24", "10.0.11.0/24"]
  }
  expect_failures = [var.services, var.private_subnets]
}

run "too_few_subnets" {
  command = plan
  variables {
    public_subnets = ["10.0.1.0/24"]
  }
  expect_failures = [var.public_subnets]
}

run "no_region" {
  command = plan
  variables {
    region = "mars"
  }
  expect_failures = [var.region]
}

run "one_zone" {
  command = plan
  variables {
    azs             = ["us-east-1a"]
    public_subnets  = ["10.0.1.0/24"]
    private_subnets = ["10.0.10.0/24"]
  }
  expect_failures = [var.azs]
}

run "routes_of_the_same_priority" {
  command = plan
  variables {
    services = {
      web = { path = "web", kind = "go", port = 8000, health_path = "/health", routes = ["/s34/*", "/s133/*"], cpu = 256, memory = 512, desired_count = 1 }
    }
  }
  expect_failures = [aws_lb_listener_rule.route]
}
