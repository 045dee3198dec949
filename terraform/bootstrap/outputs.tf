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
  description = "ARN of the role that pushes images."
  value       = aws_iam_role.ci["build"].arn
}

output "deploy_role_arn" {
  description = "ARN of the role that releases."
  value       = aws_iam_role.ci["deploy"].arn
}

output "plan_role_arn" {
  description = "ARN of the role that plans."
  value       = aws_iam_role.ci["plan"].arn
}

output "terraform_role_arn" {
  description = "ARN of the role that applies."
  value       = aws_iam_role.ci["apply"].arn
}

output "permissions_boundary_arn" {
  description = "ARN of the permissions boundary of the platform's roles."
  value       = aws_iam_policy.boundary.arn
}

output "key_arn" {
  description = "ARN of the platform's KMS key."
  value       = aws_kms_key.platform.arn
}

output "policies" {
  description = "Rendered policies, by file name in policies/."
  value       = local.policies
}

output "role_policies" {
  description = "Names of each role's policies, as in the output policies."
  value       = local.grants
}
