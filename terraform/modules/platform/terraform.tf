terraform {
  # 1.11 is the first release with stable lock files of the S3 backend (use_lockfile).
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}
