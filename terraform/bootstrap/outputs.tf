output "state_bucket_name" {
  description = "For terraform init -backend-config=bucket=…"
  value       = aws_s3_bucket.state.id
}

output "state_bucket_arn" {
  description = "State bucket."
  value       = aws_s3_bucket.state.arn
}

output "lock_table_arn" {
  description = "Lock table."
  value       = aws_dynamodb_table.locks.arn
}

output "oidc_provider_arn" {
  description = "GitHub's OIDC provider."
  value       = aws_iam_openid_connect_provider.github.arn
}

output "build_role_arn" {
  description = "Role of jobs that push images."
  value       = aws_iam_role.ci["build"].arn
}

output "deploy_role_arn" {
  description = "Role of jobs that release."
  value       = aws_iam_role.ci["deploy"].arn
}

output "plan_role_arn" {
  description = "Role of jobs that plan."
  value       = aws_iam_role.ci["plan"].arn
}

output "terraform_role_arn" {
  description = "Role of the job that applies."
  value       = aws_iam_role.ci["apply"].arn
}

output "permissions_boundary_arn" {
  description = "Boundary of the platform's roles."
  value       = aws_iam_policy.boundary.arn
}

output "key_arn" {
  description = "The platform's key."
  value       = aws_kms_key.platform.arn
}

output "policies" {
  description = "Every policy as AWS gets it, by file name in policies/."
  value       = local.policies
}

output "role_policies" {
  description = "Names of the policies of each role, of those in output policies."
  value       = local.grants
}
