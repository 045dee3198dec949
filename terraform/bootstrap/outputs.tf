# Outputs of modules/bootstrap.

output "state_bucket_name" {
  description = "Name of the state bucket, for terraform init -backend-config=bucket=…"
  value       = module.bootstrap.state_bucket_name
}

output "state_bucket_arn" {
  description = "ARN of the state bucket."
  value       = module.bootstrap.state_bucket_arn
}

output "lock_table_arn" {
  description = "ARN of the lock table."
  value       = module.bootstrap.lock_table_arn
}

output "oidc_provider_arn" {
  description = "ARN of GitHub's OIDC provider."
  value       = module.bootstrap.oidc_provider_arn
}

output "build_role_arn" {
  description = "ARN of production's role that pushes images."
  value       = module.bootstrap.build_role_arn
}

output "deploy_role_arn" {
  description = "ARN of production's role that releases."
  value       = module.bootstrap.deploy_role_arn
}

output "plan_role_arn" {
  description = "ARN of production's role that plans."
  value       = module.bootstrap.plan_role_arn
}

output "terraform_role_arn" {
  description = "ARN of production's role that applies."
  value       = module.bootstrap.terraform_role_arn
}

output "permissions_boundary_arn" {
  description = "ARN of the permissions boundary of production's roles."
  value       = module.bootstrap.permissions_boundary_arn
}

output "key_arn" {
  description = "ARN of production's KMS key."
  value       = module.bootstrap.key_arn
}

output "role_arns" {
  description = "ARNs of all roles, by key: those of an environment other than production begin with its name."
  value       = module.bootstrap.role_arns
}

output "policies" {
  description = "Rendered policies, by file name in policies/: those of an environment other than production begin with its name."
  value       = module.bootstrap.policies
}

output "role_policies" {
  description = "Names of each role's policies, as in the output policies."
  value       = module.bootstrap.role_policies
}
