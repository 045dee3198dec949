provider "aws" {
  region = var.region

  # A human applies this, perhaps with many accounts at hand.
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
