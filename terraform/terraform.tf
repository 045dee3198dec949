terraform {
  # 1.11 is the first release in which the S3 backend's own lock file is stable.
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }

  # The bucket's name holds the account, so it is given at init:
  #   terraform init -backend-config=bucket=ecs-microservices-state-<account>
  # bootstrap/ makes bucket and table.
  backend "s3" {
    key          = "ecs-microservices/prod/terraform.tfstate"
    region       = "us-east-1"
    encrypt      = true
    use_lockfile = true

    # Deprecated since Terraform 1.11, and kept so that somebody with an older
    # checkout is locked out, too. README.md says when to remove it.
    dynamodb_table = "terraform-locks"
  }
}
