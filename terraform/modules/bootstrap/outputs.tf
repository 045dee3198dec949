output "state_bucket_name" {
  description = "Name of the state bucket, for terraform init -backend-config=bucket=…"
  value       = aws_s3_bucket.state.id
}

output "state_bucket_arn" {
  description = "ARN of the state bucket."
  value       = aws_s3_bucket.state.arn
}

output "lock_table_arn" {
  description = "ARN of the lock table."
  value       = aws_dynamodb_table.locks.arn
}

output "oidc_provider_arn" {
  description = "ARN of GitHub's OIDC provider."
  value       = aws_iam_openid_connect_provider.github.arn
}

output "build_role_arn" {
  description = "ARN of production's role that pushes images."
  value       = try(aws_iam_role.ci["build"].arn, null)
}

output "deploy_role_arn" {
  description = "ARN of production's role that releases."
  value       = try(aws_iam_role.ci["deploy"].arn, null)
}

output "plan_role_arn" {
  description = "ARN of production's role that plans."
  value       = try(aws_iam_role.ci["plan"].arn, null)
}

output "terraform_role_arn" {
  description = "ARN of production's role that applies."
  value       = try(aws_iam_role.ci["apply"].arn, null)
}

output "permissions_boundary_arn" {
  description = "ARN of the permissions boundary of production's roles."
  value       = try(aws_iam_policy.boundary["production"].arn, null)
}

output "key_arn" {
  description = "ARN of production's KMS key."
  value       = try(aws_kms_key.platform["production"].arn, null)
}

output "role_arns" {
  description = "ARNs of all roles, by key: those of an environment other than production begin with its name."
  value       = { for key, role in aws_iam_role.ci : key => role.arn }
}

output "policies" {
  description = "Rendered policies, by file name in policies/: those of an environment other than production begin with its name."
  value       = local.policies
}

output "role_policies" {
  description = "Names of each role's policies, as in the output policies."
  value       = local.grants
}

# For the provider of the calling configuration.
output "region" {
  description = "Region of the state and the platforms, for the provider."
  value       = var.region
}

output "tags" {
  description = "Tags of all resources, for the provider's default_tags. What belongs to another environment has its own tag Environment besides."
  value = {
    Project     = var.project_name
    Environment = var.environment
    ManagedBy   = "terraform-bootstrap"
    Repository  = var.github_repository
  }
}
