# The platform with its settings as one object, so that a configuration needs no variable for
# each key of environments/NAME.tfvars.json.

variable "services" {
  description = "The services, by name, as services.auto.tfvars.json has them."
  type        = any
}

variable "settings" {
  description = "Inputs of modules/platform other than services, by name, as environments/NAME.tfvars.json has them. The keys that only the pipeline reads are accepted."
  type        = any
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.settings), local.known)) == 0
    error_message = "settings has keys that no input of the platform has: ${join(", ", setsubtract(keys(var.settings), local.known))}; correct them."
  }
}

locals {
  known = [
    "account_id", "alarm_emails", "alarm_thresholds", "alb_access_logs", "allowed_cidrs",
    "autoscaling", "azs", "certificate_arn", "container_insights", "cpu_architecture",
    "customer_managed_encryption", "deletion_protection", "domain_name", "environment",
    "images_to_keep", "initial_images", "log_retention_days", "name_prefix", "nat",
    "permissions_boundary_name", "private_subnets", "project_name", "promote_from",
    "public_subnets", "pull_accounts", "region", "registry_account", "repository",
    "service_overrides", "state_bucket", "state_key", "state_region",
    "test_listener_cidr_blocks", "test_listener_port", "tls_policy", "vpc_cidr",
    "vpc_endpoints", "waf", "waf_rate_limit",
  ]
}

module "platform" {
  source = "../platform"

  services                    = var.services
  initial_images              = lookup(var.settings, "initial_images", null)
  cpu_architecture            = lookup(var.settings, "cpu_architecture", null)
  service_overrides           = lookup(var.settings, "service_overrides", null)
  project_name                = lookup(var.settings, "project_name", null)
  environment                 = lookup(var.settings, "environment", null)
  name_prefix                 = lookup(var.settings, "name_prefix", null)
  account_id                  = lookup(var.settings, "account_id", null)
  repository                  = lookup(var.settings, "repository", null)
  region                      = lookup(var.settings, "region", null)
  permissions_boundary_name   = lookup(var.settings, "permissions_boundary_name", "{name_prefix}-permissions-boundary")
  registry_account            = lookup(var.settings, "registry_account", null)
  pull_accounts               = lookup(var.settings, "pull_accounts", null)
  vpc_cidr                    = lookup(var.settings, "vpc_cidr", null)
  azs                         = lookup(var.settings, "azs", null)
  public_subnets              = lookup(var.settings, "public_subnets", null)
  private_subnets             = lookup(var.settings, "private_subnets", null)
  nat                         = lookup(var.settings, "nat", null)
  vpc_endpoints               = lookup(var.settings, "vpc_endpoints", null)
  domain_name                 = lookup(var.settings, "domain_name", null)
  certificate_arn             = lookup(var.settings, "certificate_arn", null)
  tls_policy                  = lookup(var.settings, "tls_policy", null)
  allowed_cidrs               = lookup(var.settings, "allowed_cidrs", null)
  test_listener_port          = lookup(var.settings, "test_listener_port", null)
  test_listener_cidr_blocks   = lookup(var.settings, "test_listener_cidr_blocks", null)
  deletion_protection         = lookup(var.settings, "deletion_protection", null)
  alb_access_logs             = lookup(var.settings, "alb_access_logs", null)
  waf                         = lookup(var.settings, "waf", null)
  waf_rate_limit              = lookup(var.settings, "waf_rate_limit", null)
  log_retention_days          = lookup(var.settings, "log_retention_days", null)
  images_to_keep              = lookup(var.settings, "images_to_keep", null)
  customer_managed_encryption = lookup(var.settings, "customer_managed_encryption", null)
  container_insights          = lookup(var.settings, "container_insights", null)
  alarm_emails                = lookup(var.settings, "alarm_emails", null)
  alarm_thresholds            = lookup(var.settings, "alarm_thresholds", null)
  autoscaling                 = lookup(var.settings, "autoscaling", null)
}

output "platform" {
  description = "Outputs of modules/platform, by name."
  value       = module.platform
}

output "region" {
  description = "Region of the platform, for the provider."
  value       = module.platform.region
}

output "tags" {
  description = "Tags of all resources, for the provider's default_tags."
  value       = module.platform.tags
}
