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
  target = module.platform.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.platform.data.aws_kms_alias.platform
  values = { target_key_arn = "arn:aws:kms:us-east-1:123456789012:key/0a0a0a0a-0000-0000-0000-000000000000" }
}

variables {
  services = {
    worker = { kind = "go", path = "worker", cpu = 256, memory = 512, desired_count = 1 }
  }
}

run "defaults" {
  command = plan

  assert {
    condition     = output.platform.ecs_cluster_name == "ecs-cluster" && output.region == "us-east-1" && output.tags.Environment == "production"
    error_message = "an input without a setting does not have its default"
  }
}

run "settings" {
  command = plan
  variables {
    settings = {
      environment       = "staging", name_prefix = "stg", region = "eu-west-1", azs = ["eu-west-1a", "eu-west-1b"], nat = "none"
      state_key         = "staging", alarm_thresholds = { cpu = 70 }, account_id = null
      service_overrides = { worker = { desired_count = 3 } }
    }
  }

  assert {
    condition     = output.platform.ecs_cluster_name == "stg-cluster" && output.region == "eu-west-1" && output.tags.Environment == "staging"
    error_message = "a setting is not an input of the platform"
  }
}

run "unknown" {
  command = plan
  variables {
    settings = { nmae_prefix = "stg" }
  }
  expect_failures = [var.settings]
}
