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

run "defaults" {
  command = plan

  # names_are_the_reference_systems
  assert {
    condition     = { for role, r in aws_iam_role.ci : role => r.name } == { build = "github-actions-build-role", deploy = "github-actions-deploy-role", plan = "github-actions-plan-role", apply = "github-actions-terraform-role" }
    error_message = "roles are ${jsonencode({ for role, r in aws_iam_role.ci : role => r.name })}"
  }
  assert {
    condition     = aws_dynamodb_table.locks.name == "terraform-locks" && aws_dynamodb_table.locks.hash_key == "LockID"
    error_message = "the lock table must be terraform-locks with key LockID"
  }
  assert {
    condition     = aws_s3_bucket.state.bucket == "ecs-microservices-state-123456789012"
    error_message = "the state bucket is ${aws_s3_bucket.state.bucket}"
  }
  assert {
    condition     = aws_iam_openid_connect_provider.github.url == "https://token.actions.githubusercontent.com" && toset(aws_iam_openid_connect_provider.github.client_id_list) == toset(["sts.amazonaws.com"])
    error_message = "the provider must be GitHub's, for STS only"
  }

  # sessions_are_short
  assert {
    condition     = alltrue([for role in aws_iam_role.ci : role.max_session_duration <= 3600])
    error_message = "sessions must end within the hour"
  }

  # state_is_kept
  # The state bucket is not managed by the state that it holds, and cannot be emptied:
  # S3.1, S3.5, S3.8, S3.9, S3.13, S3.14.
  assert {
    condition     = !aws_s3_bucket.state.force_destroy && !aws_s3_bucket.state_logs.force_destroy
    error_message = "force_destroy deletes all state with one destroy"
  }
  assert {
    condition     = alltrue([for v in [aws_s3_bucket_versioning.state, aws_s3_bucket_versioning.state_logs] : v.versioning_configuration[0].status == "Enabled"])
    error_message = "S3.14: versioning must be on"
  }
  assert {
    condition     = alltrue([for b in [aws_s3_bucket_public_access_block.state, aws_s3_bucket_public_access_block.state_logs] : b.block_public_acls && b.block_public_policy && b.ignore_public_acls && b.restrict_public_buckets])
    error_message = "S3.1, S3.8: all public access must be blocked"
  }
  assert {
    condition     = alltrue([for name in ["state-bucket", "state-logs-bucket"] : anytrue([for s in jsondecode(output.policies[name]).Statement : s.Effect == "Deny" && s.Principal == "*" && s.Action == "s3:*" && try(s.Condition.Bool["aws:SecureTransport"], "") == "false"])])
    error_message = "S3.5: requests without TLS must be denied"
  }
  assert {
    condition     = alltrue([for e in [aws_s3_bucket_server_side_encryption_configuration.state, aws_s3_bucket_server_side_encryption_configuration.state_logs] : one(one(e.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"])
    error_message = "state must be encrypted"
  }
  assert {
    condition     = aws_s3_bucket_logging.state.target_prefix == "access/"
    error_message = "S3.9: reading and writing state must be logged"
  }
  assert {
    condition     = alltrue([for l in [aws_s3_bucket_lifecycle_configuration.state, aws_s3_bucket_lifecycle_configuration.state_logs] : l.rule[0].status == "Enabled"])
    error_message = "S3.13: buckets need a lifecycle"
  }
  assert {
    condition     = one(aws_s3_bucket_lifecycle_configuration.state.rule[0].noncurrent_version_expiration).newer_noncurrent_versions >= 10
    error_message = "the last ten states must stay, however old"
  }

  # locks_are_kept
  # DynamoDB.2, DynamoDB.6.
  assert {
    condition     = aws_dynamodb_table.locks.point_in_time_recovery[0].enabled && aws_dynamodb_table.locks.deletion_protection_enabled && aws_dynamodb_table.locks.server_side_encryption[0].enabled
    error_message = "the lock table needs recovery, deletion protection and encryption"
  }

  # key_rotates
  assert {
    condition     = alltrue([for key in aws_kms_key.platform : key.enable_key_rotation]) && [for alias in aws_kms_alias.platform : alias.name] == ["alias/ecs-platform"]
    error_message = "the platform's key must rotate and be found by its alias"
  }
}

run "two_environments" {
  command = plan
  variables {
    environments = {
      production = { promote_from = "staging", share_images = true }
      staging    = { name_prefix = "stg", state_key = "ecs-microservices/staging/terraform.tfstate", previews = true, promoted_by = ["live"], share_images = true }
    }
  }

  # names
  assert {
    condition = { for role, r in aws_iam_role.ci : role => r.name } == {
      build         = "github-actions-build-role", deploy = "github-actions-deploy-role", plan = "github-actions-plan-role", apply = "github-actions-terraform-role"
      staging-build = "github-actions-staging-build-role", staging-deploy = "github-actions-staging-deploy-role", staging-plan = "github-actions-staging-plan-role"
      staging-apply = "github-actions-staging-terraform-role", staging-promote = "github-actions-staging-promote-role", staging-preview = "github-actions-staging-preview-role"
    }
    error_message = "roles are ${jsonencode({ for role, r in aws_iam_role.ci : role => r.name })}"
  }
  assert {
    condition     = { for name, alias in aws_kms_alias.platform : name => alias.name } == { production = "alias/ecs-platform", staging = "alias/stg-platform" } && { for name, b in aws_iam_policy.boundary : name => b.name } == { production = "ecs-permissions-boundary", staging = "stg-permissions-boundary" }
    error_message = "each environment must have its key and boundary"
  }
  assert {
    condition     = length(distinct([for p in aws_iam_policy.ci : p.name])) == length(aws_iam_policy.ci) && aws_iam_policy.ci["staging-deploy"].name == "stg-ci-deploy"
    error_message = "each environment must have its policies"
  }
  assert {
    condition     = aws_kms_key.platform["staging"].tags == tomap({ Environment = "staging" }) && aws_kms_key.platform["production"].tags == null
    error_message = "a key must have the tag of its environment"
  }

  # limits
  assert {
    condition     = alltrue([for name in flatten(values(output.role_policies)) : length(output.policies[name]) <= 6144]) && alltrue([for key, policy in output.policies : length(policy) <= 6144 if endswith(key, "boundary")])
    error_message = "too long for AWS: ${jsonencode({ for name in flatten(values(output.role_policies)) : name => length(output.policies[name]) if length(output.policies[name]) > 6144 })}"
  }
  assert {
    condition     = alltrue([for s in jsondecode(output.policies["apply-guard"]).Statement : contains(s.Resource, "arn:aws:iam::123456789012:policy/stg-permissions-boundary") && contains(s.Resource, "arn:aws:iam::123456789012:policy/stg-ci-*") if s.Sid == "NotTheBoundary"])
    error_message = "no apply role may change a boundary"
  }
}
