terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }

  # Local state on purpose: this configuration creates the bucket for all other state,
  # and a bucket whose state is inside it is lost with a single destroy. This state has
  # no secrets. README.md explains how to import everything if it is lost.
}
