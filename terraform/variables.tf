# Variables of this configuration: services.auto.tfvars.json sets the services,
# environments/NAME.tfvars.json the others if there are several environments. Their rules,
# defaults and descriptions are in modules/platform/variables.tf; null is its default.

variable "services" {
  description = "The services, by name: modules/platform has the fields."
  type        = any
}

variable "initial_images" {
  description = "Input of modules/platform."
  type        = map(string)
  default     = null
}

variable "cpu_architecture" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "service_overrides" {
  description = "Input of modules/platform."
  type        = any
  default     = null
}

variable "project_name" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "environment" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "name_prefix" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "account_id" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "repository" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "region" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "permissions_boundary_name" {
  description = "Input of modules/platform."
  type        = string
  default     = "{name_prefix}-permissions-boundary"
}

variable "registry_account" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "pull_accounts" {
  description = "Input of modules/platform."
  type        = set(string)
  default     = null
}

variable "vpc_cidr" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "azs" {
  description = "Input of modules/platform."
  type        = list(string)
  default     = null
}

variable "public_subnets" {
  description = "Input of modules/platform."
  type        = list(string)
  default     = null
}

variable "private_subnets" {
  description = "Input of modules/platform."
  type        = list(string)
  default     = null
}

variable "nat" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "vpc_endpoints" {
  description = "Input of modules/platform."
  type        = set(string)
  default     = null
}

variable "domain_name" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "certificate_arn" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "tls_policy" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "allowed_cidrs" {
  description = "Input of modules/platform."
  type        = set(string)
  default     = null
}

variable "test_listener_port" {
  description = "Input of modules/platform."
  type        = number
  default     = null
}

variable "test_listener_cidr_blocks" {
  description = "Input of modules/platform."
  type        = set(string)
  default     = null
}

variable "deletion_protection" {
  description = "Input of modules/platform."
  type        = bool
  default     = null
}

variable "alb_access_logs" {
  description = "Input of modules/platform."
  type        = bool
  default     = null
}

variable "waf" {
  description = "Input of modules/platform."
  type        = bool
  default     = null
}

variable "waf_rate_limit" {
  description = "Input of modules/platform."
  type        = number
  default     = null
}

variable "log_retention_days" {
  description = "Input of modules/platform."
  type        = number
  default     = null
}

variable "images_to_keep" {
  description = "Input of modules/platform."
  type        = number
  default     = null
}

variable "customer_managed_encryption" {
  description = "Input of modules/platform."
  type        = bool
  default     = null
}

variable "container_insights" {
  description = "Input of modules/platform."
  type        = string
  default     = null
}

variable "alarm_emails" {
  description = "Input of modules/platform."
  type        = set(string)
  default     = null
}

variable "alarm_thresholds" {
  description = "Input of modules/platform."
  type        = any
  default     = null
}

variable "autoscaling" {
  description = "Input of modules/platform."
  type        = any
  default     = null
}

# Terraform's backend cannot use variables. The pipeline reads these from the
# environment's file and passes them to terraform init.

# tflint-ignore: terraform_unused_declarations
variable "state_bucket" {
  description = "Bucket of this environment's state, for the pipeline: terraform init -backend-config=bucket=…"
  type        = string
  default     = null
}

# tflint-ignore: terraform_unused_declarations
variable "state_region" {
  description = "Region of the state bucket, for the pipeline. null for that in terraform.tf."
  type        = string
  default     = null
}

# tflint-ignore: terraform_unused_declarations
variable "state_key" {
  description = "Key of this environment's state in the bucket, for the pipeline. null for that in terraform.tf. Each environment needs its own."
  type        = string
  default     = null

  validation {
    condition     = var.state_key == null || can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.state_key))
    error_message = "state_key \"${coalesce(var.state_key, "null")}\" must be a path of letters, digits, dots, hyphens and underscores."
  }
}

# tflint-ignore: terraform_unused_declarations
variable "promote_from" {
  description = "Environment whose releases are promoted to this one, for the pipeline. null for any."
  type        = string
  default     = null
}
