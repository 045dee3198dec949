variable "account_id" {
  description = "AWS account to create everything in. Credentials of another account are rejected."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id \"${var.account_id}\" must be twelve digits: see aws sts get-caller-identity."
  }
}

variable "region" {
  description = "AWS region of the state and the platforms."
  type        = string
  default     = "us-east-1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region \"${var.region}\" is no AWS region: write it like us-east-1."
  }
}

variable "project_name" {
  description = "Value of the tag Project. The apply role may change only resources with this tag, so use the same value as in the platform."
  type        = string
  default     = "ecs-microservices"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,62}$", var.project_name))
    error_message = "project_name \"${var.project_name}\" must be 2 to 63 lower-case letters, digits and hyphens."
  }
}

variable "environment" {
  description = "Value of the tag Environment of what the environments share."
  type        = string
  default     = "production"
  nullable    = false
}

variable "environments" {
  description = <<-EOT
    Environments in this account, by the names of their files in environments/, with their
    `name_prefix` and `state_key` from there. Each gets roles, a boundary and a key of its
    own. `github_environment` is the environment's name by default. `adopted` and `secrets`
    are the variables of the same name, which are production's. `registry_account` has the
    images, if another account does; `share_images` lets the apply role set `pull_accounts`.
    `promote_from` is the environment of this account whose releases the deploy role may
    read; `promoted_by` are GitHub environments that may do so from other accounts.
    `previews` makes a role for previews of pull requests.
  EOT
  type = map(object({
    name_prefix        = optional(string, "ecs")
    state_key          = optional(string)
    github_environment = optional(string)
    adopted = optional(object({
      services     = optional(set(string), [])
      families     = optional(set(string), [])
      repositories = optional(set(string), [])
    }))
    secrets          = optional(set(string))
    registry_account = optional(string)
    share_images     = optional(bool, false)
    promote_from     = optional(string)
    promoted_by      = optional(set(string), [])
    previews         = optional(bool, false)
  }))
  default  = { production = {} }
  nullable = false

  validation {
    condition     = length(var.environments) > 0 && alltrue([for name in keys(var.environments) : can(regex("^[a-z][a-z0-9-]{0,30}[a-z0-9]$", name))])
    error_message = "environments has ${jsonencode([for name in keys(var.environments) : name if !can(regex("^[a-z][a-z0-9-]{0,30}[a-z0-9]$", name))])}: name at least one, by 2 to 32 lower-case letters, digits and hyphens."
  }
  validation {
    condition     = alltrue([for e in var.environments : can(regex("^[a-z][a-z0-9-]{0,13}[a-z0-9]$", e.name_prefix)) && !startswith("${e.name_prefix}-", "internal-")])
    error_message = "environments has name_prefix ${join(", ", [for e in var.environments : e.name_prefix])}: each must be 2 to 15 lower-case letters, digits and hyphens, and not begin with internal-."
  }
  validation {
    condition = alltrue(flatten([for name, e in var.environments : [for other, o in var.environments :
      name == other || !startswith("${o.name_prefix}-", "${e.name_prefix}-")
    ]]))
    error_message = "environments has name_prefix ${join(", ", [for e in var.environments : e.name_prefix])}: one is the other or its beginning, so that names of the one could be the other's; give one of them another."
  }
  validation {
    condition     = length(distinct([for e in var.environments : coalesce(e.state_key, var.state_key)])) == length(var.environments)
    error_message = "environments has state_key ${join(", ", [for e in var.environments : coalesce(e.state_key, var.state_key)])}: give each its own."
  }
  validation {
    condition = alltrue(flatten([for name, e in var.environments : [
      e.state_key == null || can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", e.state_key)),
      e.registry_account == null || can(regex("^[0-9]{12}$", e.registry_account)),
      [for github in setunion([coalesce(e.github_environment, name)], e.promoted_by) : can(regex("^[A-Za-z0-9_-]+$", github))],
      e.secrets == null || alltrue([for secret in coalesce(e.secrets, []) : can(regex("^[A-Za-z0-9_+=.@*?-][A-Za-z0-9/_+=.@*?-]*$", secret))]),
      e.adopted == null || alltrue([for adopted in try(setunion(e.adopted.services, e.adopted.families, e.adopted.repositories), []) : can(regex("^[A-Za-z0-9_-]+([._/-]+[A-Za-z0-9_-]+)*$", adopted))]),
    ]]))
    error_message = "environments has a wildcard or a wrong character in a state_key, registry_account, github_environment, promoted_by, secrets or adopted: ${jsonencode(var.environments)}."
  }
  validation {
    condition     = alltrue([for name, e in var.environments : e.promote_from == null || e.promote_from != name && contains(keys(var.environments), coalesce(e.promote_from, name))])
    error_message = "environments has promote_from ${join(", ", [for e in var.environments : e.promote_from if e.promote_from != null])}: name another environment of this account; one of another account is promoted with its promoted_by there."
  }
  validation {
    condition = alltrue([for field in ["services", "families", "repositories"] : length(distinct(flatten([for e in var.environments : try(tolist(e.adopted[field]), [])])))
    == length(flatten([for e in var.environments : try(tolist(e.adopted[field]), [])]))])
    error_message = "environments adopts a name twice: ${jsonencode([for e in var.environments : e.adopted])}; entries that name their resources need an account for each environment."
  }
}

variable "services" {
  description = "Services that the pipeline's roles may change. By default all services whose names follow the platform's naming rule, so that a new service needs no change here. List the names to make a person add each new service."
  type        = set(string)
  default     = ["*"]
  nullable    = false

  validation {
    condition     = length(var.services) > 0 && alltrue([for name in var.services : name == "*" || can(regex("^[a-z][a-z0-9-]{0,23}[a-z0-9]$", name))])
    error_message = "services has ${jsonencode([for name in var.services : name if !(name == "*" || can(regex("^[a-z][a-z0-9-]{0,23}[a-z0-9]$", name)))])}: take the names in services.auto.tfvars.json, or \"*\" for all."
  }
}

variable "adopted" {
  description = "Names that entries of the services file give to their service or schedule, family and repository instead of the derived ones. Production's roles may change these, too."
  type = object({
    services     = optional(set(string), [])
    families     = optional(set(string), [])
    repositories = optional(set(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in concat(tolist(var.adopted.services), tolist(var.adopted.families)) : can(regex("^[A-Za-z0-9_-]{1,255}$", name))]) && alltrue([for name in var.adopted.repositories : can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", name))])
    error_message = "adopted has a name that is none of ECS or ECR: ${jsonencode(var.adopted)}; write whole names, without a wildcard."
  }
}

variable "secrets" {
  description = "Names of the secrets and parameters that production's services may have at most, with wildcards; those of another environment begin with its prefix. What one service reads is in its entry of the services file. A leading slash is left out; a secret's name has a hyphen and six characters appended by AWS."
  type        = set(string)
  default     = ["ecs/*"]
  nullable    = false

  validation {
    condition     = alltrue([for name in var.secrets : can(regex("^[A-Za-z0-9_+=.@*?-][A-Za-z0-9/_+=.@*?-]*$", name))])
    error_message = "secrets has ${jsonencode([for name in var.secrets : name if !can(regex("^[A-Za-z0-9_+=.@*?-][A-Za-z0-9/_+=.@*?-]*$", name))])}: write names like shop/*, without a leading slash."
  }
}

variable "task_actions" {
  description = "Actions that the permissions of a service can allow at most, on resources of this account other than the pipeline's own. What one service may do is in its entry of the services file."
  type        = set(string)
  default = [
    "cloudwatch:PutMetricData",
    "dynamodb:BatchGetItem", "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:DescribeTable",
    "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:UpdateItem",
    "elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite",
    "events:PutEvents",
    "rds-db:connect",
    "s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket", "s3:PutObject",
    "ses:SendEmail", "ses:SendRawEmail",
    "sns:Publish",
    "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:SendMessage",
    "xray:PutTelemetryRecords", "xray:PutTraceSegments",
  ]
  nullable = false

  validation {
    condition     = alltrue([for action in var.task_actions : can(regex("^[a-z0-9-]+:[A-Za-z0-9]+$", action)) && !can(regex("^(iam|sts|organizations|kms|ecs|scheduler|secretsmanager|ssm):", action))])
    error_message = "task_actions has ${jsonencode([for action in var.task_actions : action if !(can(regex("^[a-z0-9-]+:[A-Za-z0-9]+$", action)) && !can(regex("^(iam|sts|organizations|kms|ecs|scheduler|secretsmanager|ssm):", action)))])}: name single actions, such as s3:GetObject, and none of IAM, STS, Organizations, KMS, ECS, EventBridge Scheduler, Secrets Manager or Systems Manager."
  }
}

variable "state_bucket" {
  description = "Name of the state bucket. Bucket names are global; null puts the account number into the name."
  type        = string
  default     = null

  validation {
    condition     = var.state_bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,56}[a-z0-9]$", var.state_bucket))
    error_message = "state_bucket \"${coalesce(var.state_bucket, "null")}\" must be 3 to 58 lower-case letters, digits, dots and hyphens (its log bucket adds five)."
  }
}

variable "state_key" {
  description = "Key of the state in the bucket of an environment without state_key, the same as in the platform's terraform.tf."
  type        = string
  default     = "ecs-microservices/prod/terraform.tfstate"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", var.state_key))
    error_message = "state_key \"${var.state_key}\" must be a path of letters, digits, dots, hyphens and underscores, without a leading slash: the roles' policies would match more than it otherwise."
  }
}

variable "github_repository" {
  description = "GitHub repository whose workflows may assume the roles, as OWNER/REPO."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$", var.github_repository))
    error_message = "github_repository \"${var.github_repository}\" must be OWNER/REPO, without a wildcard."
  }
}

variable "github_subject_prefix" {
  description = "Prefix of the subject claim (sub) in the repository's OIDC tokens: repo:OWNER/REPO (default), or repo:OWNER@id/REPO@id with GitHub's numeric ids for repositories created or renamed since mid-July 2026. README.md shows how to print it in a job."
  type        = string
  default     = null

  validation {
    condition     = var.github_subject_prefix == null || can(regex("^repo:[A-Za-z0-9][A-Za-z0-9-]*(@[0-9]+)?/[A-Za-z0-9._-]+(@[0-9]+)?$", var.github_subject_prefix))
    error_message = "github_subject_prefix \"${coalesce(var.github_subject_prefix, "null")}\" must be repo:OWNER/REPO or repo:OWNER@id/REPO@id, without a wildcard."
  }
  validation {
    condition     = var.github_subject_prefix == null || replace(coalesce(var.github_subject_prefix, "repo:"), "/@[0-9]+/", "") == "repo:${var.github_repository}"
    error_message = "github_subject_prefix \"${coalesce(var.github_subject_prefix, "null")}\" is of another repository than github_repository \"${var.github_repository}\": correct one of them."
  }
}

variable "github_environment" {
  description = "GitHub environment of production's deploy and apply jobs. Its protection rules (reviewers, branches) are set on GitHub and must allow only the main branch."
  type        = string
  default     = "production"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]+$", var.github_environment))
    error_message = "github_environment \"${var.github_environment}\" must be letters, digits, hyphens and underscores, without a wildcard."
  }
}

variable "github_branch" {
  description = "Branch to release from."
  type        = string
  default     = "main"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.github_branch))
    error_message = "github_branch \"${var.github_branch}\" must be one branch, without a wildcard."
  }
}

variable "github_workflows" {
  description = "Workflow files that may assume a role, by role: file names in .github/workflows, or those of another repository that are called, as OWNER/REPO/.github/workflows/FILE@REF. A workflow can name another role's environment, but cannot change its own file name on the branch."
  type = object({
    build  = optional(string, "deliver.yml")
    deploy = optional(string, "deliver.yml")
    apply  = optional(string, "infrastructure.yml")
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([for file in values(var.github_workflows) : can(regex(
      "^([A-Za-z0-9-]+/[A-Za-z0-9._-]+/\\.github/workflows/[A-Za-z0-9._-]+\\.ya?ml@(refs/(heads|tags)/[A-Za-z0-9._/-]+|[0-9a-f]{40})|[A-Za-z0-9._-]+\\.ya?ml)$", file
    ))])
    error_message = "github_workflows must be file names in .github/workflows, such as ci.yml, or OWNER/REPO/.github/workflows/FILE@refs/tags/VERSION; it has ${join(", ", values(var.github_workflows))}."
  }
}
