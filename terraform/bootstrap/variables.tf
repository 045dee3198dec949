# Variables of this configuration. Their rules, defaults and descriptions are in
# ../modules/bootstrap/variables.tf; null is its default.

variable "account_id" {
  description = "Input of modules/bootstrap."
  type        = string
}

variable "region" {
  description = "Input of modules/bootstrap."
  type        = string
  default     = null
}

variable "project_name" {
  description = "Input of modules/bootstrap."
  type        = string
  default     = null
}

variable "environment" {
  description = "Input of modules/bootstrap."
  type        = string
  default     = null
}

variable "environments" {
  description = "Input of modules/bootstrap."
  type        = any
  default     = null
}

variable "services" {
  description = "Input of modules/bootstrap."
  type        = set(string)
  default     = null
}

variable "adopted" {
  description = "Input of modules/bootstrap."
  type        = any
  default     = null
}

variable "secrets" {
  description = "Input of modules/bootstrap."
  type        = set(string)
  default     = null
}

variable "task_actions" {
  description = "Input of modules/bootstrap."
  type        = set(string)
  default     = null
}

variable "state_bucket" {
  description = "Input of modules/bootstrap."
  type        = string
  default     = null
}

variable "state_key" {
  description = "Input of modules/bootstrap."
  type        = string
  default     = null
}

variable "github_repository" {
  description = "Input of modules/bootstrap."
  type        = string
}

variable "github_subject_prefix" {
  description = "Input of modules/bootstrap."
  type        = string
  default     = null
}

variable "github_environment" {
  description = "Input of modules/bootstrap."
  type        = string
  default     = null
}

variable "github_branch" {
  description = "Input of modules/bootstrap."
  type        = string
  default     = null
}

variable "github_workflows" {
  description = "Input of modules/bootstrap."
  type        = any
  default     = null
}
