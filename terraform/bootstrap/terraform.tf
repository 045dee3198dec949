terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }

  # Local state on purpose: this makes the bucket that all other state is in, and a
  # bucket managed inside the state that it holds is gone with one destroy. Nothing
  # in it is secret. README.md says how to import everything if it is lost.
}
