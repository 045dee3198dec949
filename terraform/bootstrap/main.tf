# What the platform and the pipeline need first; a person applies it once for each account.
provider "aws" {
  region = module.bootstrap.region

  # Applied by a person, who may have credentials of several accounts.
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = module.bootstrap.tags
  }
}

module "bootstrap" {
  source = "../modules/bootstrap"

  account_id            = var.account_id
  region                = var.region
  project_name          = var.project_name
  environment           = var.environment
  environments          = var.environments
  services              = var.services
  adopted               = var.adopted
  secrets               = var.secrets
  task_actions          = var.task_actions
  state_bucket          = var.state_bucket
  state_key             = var.state_key
  github_repository     = var.github_repository
  github_subject_prefix = var.github_subject_prefix
  github_environment    = var.github_environment
  github_branch         = var.github_branch
  github_workflows      = var.github_workflows
}
