# A worker on a platform without NAT. In another repository, source is
# "git::https://github.com/slipway-cd/slipway.git//terraform/modules/platform?ref=VERSION".
terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

provider "aws" {
  region = module.platform.region

  default_tags {
    tags = module.platform.tags
  }
}

module "platform" {
  source = "../.."

  nat           = "none"
  vpc_endpoints = ["ecr.api", "ecr.dkr", "logs"]
  services = {
    worker = { kind = "go", path = "worker", cpu = 256, memory = 512, desired_count = 1 }
  }
}
