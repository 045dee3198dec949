terraform {
  # 1.11 is the first release with stable lock files of the S3 backend (use_lockfile).
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }

  # The bucket's name has the account number in it, so it is set at init:
  #   terraform init -backend-config=bucket=ecs-microservices-state-<account>
  # bootstrap/ creates the bucket and the table.
  backend "s3" {
    key          = "ecs-microservices/prod/terraform.tfstate"
    region       = "us-east-1"
    encrypt      = true
    use_lockfile = true

    # Deprecated since Terraform 1.11. Kept so that older checkouts are locked out too;
    # README.md says when to remove it.
    dynamodb_table = "terraform-locks"
  }
}
