provider "aws" {
  region = var.region

  # Applied by a person, who may have credentials of several accounts.
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      Project     = var.project_name
      Environment = var.environment
      ManagedBy   = "terraform-bootstrap"
      Repository  = var.github_repository
    }
  }
}
