# Needs no AWS account: the provider is real, its credentials are fake, nothing is applied.
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  account_id        = "123456789012"
  github_repository = "acme/shop"
}

# Each variable rejects its own bad input. A run has one mistake in each of several
# variables, because every run takes seconds.

run "patterns" {
  command = plan
  variables {
    services           = ["back*"]
    state_key          = "prod/*"
    github_repository  = "acme/*"
    github_environment = "*"
    github_branch      = "release/*"
    github_workflows   = { deploy = "*.yml" }
    adopted            = { families = ["*"] }
    secrets            = ["/shop"]
    task_actions       = ["s3:*", "iam:PassRole"]
  }
  expect_failures = [var.adopted, var.secrets, var.task_actions, var.services, var.state_key, var.github_repository, var.github_environment, var.github_branch, var.github_workflows]
}

run "words_that_are_none" {
  command = plan
  variables {
    account_id        = "12345"
    region            = "mars"
    project_name      = "Shop"
    services          = []
    state_bucket      = "State"
    state_key         = "/prod"
    github_repository = "shop"
    github_workflows  = { apply = "acme/shop/.github/workflows/apply.yml@refs/tags/*" }
  }
  expect_failures = [var.account_id, var.region, var.project_name, var.services, var.state_bucket, var.state_key, var.github_repository, var.github_workflows]
}

run "things_that_do_not_go_together" {
  command = plan
  variables {
    state_bucket          = "a123456789b123456789c123456789d123456789e123456789f123456789"
    github_subject_prefix = "repo:acme@1/other@2"
  }
  expect_failures = [var.state_bucket, var.github_subject_prefix]
}

run "a_pattern_for_a_subject" {
  command = plan
  variables {
    github_subject_prefix = "repo:acme/*"
  }
  expect_failures = [var.github_subject_prefix]
}

# Environments of one account.

run "names_that_overlap" {
  command = plan
  variables {
    environments = { production = {}, staging = { name_prefix = "ecs-stg", state_key = "stg" } }
  }
  expect_failures = [var.environments]
}

run "one_state" {
  command = plan
  variables {
    environments = { production = {}, staging = { name_prefix = "stg" } }
  }
  expect_failures = [var.environments]
}

run "promotion_from_nowhere" {
  command = plan
  variables {
    environments = { production = { promote_from = "production" } }
  }
  expect_failures = [var.environments]
}

run "names_adopted_twice" {
  command = plan
  variables {
    environments = { production = { adopted = { families = ["team"] } }, staging = { name_prefix = "stg", state_key = "stg", adopted = { families = ["team"] } } }
  }
  expect_failures = [var.environments]
}

run "a_pattern_of_environments" {
  command = plan
  variables {
    environments = { production = { promoted_by = ["*"] } }
  }
  expect_failures = [var.environments]
}
