# What to deploy. services.auto.tfvars.json sets it, and the pipeline reads the same
# file with ci/internal/config/platform. The rules of that package are in services/,
# because a variable's validation cannot use locals that are derived from it.
# TestRulesAgree in ci/test/terraform compares them.

variable "services" {
  description = <<-EOT
    The services, by name. An entry with `port`, `health_path` and `routes` is a web
    service, one without them a worker, one with `schedule` a job. docs/services.md
    describes the fields; all but `cpu` and `memory` are optional, depending on `kind`.
  EOT
  type = map(object({
    # How the image is built.
    kind          = optional(string, "") # go, nginx, dockerfile or image
    path          = optional(string, "")
    main          = optional(string, "")
    build_tags    = optional(list(string), [])
    files         = optional(list(string), [])
    dockerfile    = optional(string, "")
    target        = optional(string, "")
    build_args    = optional(map(string), {})
    build_secrets = optional(list(string), [])
    image         = optional(string, "")

    # Names that differ from the derived ones.
    service    = optional(string, "")
    family     = optional(string, "")
    container  = optional(string, "")
    repository = optional(string, "")
    cluster    = optional(string, "")

    # The main container.
    command                  = optional(list(string), [])
    environment              = optional(map(string), {})
    secrets                  = optional(map(string), {})
    user                     = optional(string, "")
    readonly_root_filesystem = optional(bool)
    stop_timeout             = optional(number, 0)
    depends_on               = optional(map(string), {})
    health_check = optional(object({
      command      = optional(list(string), [])
      path         = optional(string, "")
      interval     = optional(number, 0)
      timeout      = optional(number, 0)
      start_period = optional(number, 0)
      retries      = optional(number, 0)
    }))

    # The load balancer.
    port         = optional(number, 0)
    health_path  = optional(string, "")
    routes       = optional(list(string), [])
    grace_period = optional(number)

    # Tasks.
    cpu               = optional(number, 0) # in Fargate's CPU units
    memory            = optional(number, 0) # in MiB
    desired_count     = optional(number)    # null for 1, and for 0 if it is a job
    min_count         = optional(number)
    max_count         = optional(number)
    spot              = optional(number, 0)
    architecture      = optional(string, "")
    ephemeral_storage = optional(number, 0)
    scaling = optional(object({
      cpu               = optional(number, 0)
      memory            = optional(number, 0)
      requests_per_task = optional(number, 0)
    }))
    # How a release replaces the tasks. docs/progressive.md describes it.
    strategy = optional(object({
      type                  = optional(string, "")
      percent               = optional(number, 0)
      step_bake_minutes     = optional(number)
      bake_minutes          = optional(number)
      early_success_percent = optional(number, 0)
      failure_threshold = optional(object({
        type                 = optional(string, "")
        value                = optional(number, 0)
        keep_on_healthy_task = optional(bool, false)
      }))
    }))
    permissions = optional(list(object({
      actions    = optional(list(string), [])
      resources  = optional(list(string), [])
      conditions = optional(map(map(list(string))), {})
      reason     = optional(string, "")
    })), [])
    sidecars = optional(map(object({
      image                    = optional(string, "")
      image_of                 = optional(string, "")
      essential                = optional(bool, false)
      port                     = optional(number, 0)
      cpu                      = optional(number, 0)
      memory                   = optional(number, 0)
      command                  = optional(list(string), [])
      environment              = optional(map(string), {})
      secrets                  = optional(map(string), {})
      user                     = optional(string, "")
      readonly_root_filesystem = optional(bool)
      stop_timeout             = optional(number, 0)
      depends_on               = optional(map(string), {})
      health_check = optional(object({
        command      = optional(list(string), [])
        path         = optional(string, "")
        interval     = optional(number, 0)
        timeout      = optional(number, 0)
        start_period = optional(number, 0)
        retries      = optional(number, 0)
      }))
    })), {})
    volumes = optional(map(object({
      mount_path       = optional(string, "")
      read_only        = optional(bool, false)
      efs_file_system  = optional(string, "")
      efs_access_point = optional(string, "")
      tmpfs_size       = optional(number, 0)
      containers       = optional(list(string), [])
    })), {})

    # Jobs, and the task before a release.
    schedule          = optional(string, "")
    schedule_timezone = optional(string, "")
    release_task = optional(object({
      command = optional(list(string), [])
      timeout = optional(number) # null for 600 s
      cpu     = optional(number, 0)
      memory  = optional(number, 0)
    }))
  }))
  nullable = false

  validation {
    condition     = length(var.services) > 0
    error_message = "services is empty: add at least one entry to services.auto.tfvars.json."
  }
}

variable "initial_images" {
  description = <<-EOT
    Image digests that services start with when they are created, by service name.
    A service without one is created with no tasks, because its repository is empty;
    the first release adds the image and the tasks. Read only at creation: use it to
    rebuild a platform whose repositories still hold images.
  EOT
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for digest in values(var.initial_images) : can(regex("^sha256:[0-9a-f]{64}$", digest))])
    error_message = "initial_images must map services to digests such as sha256:0123…, 64 hexadecimal digits: ${join(", ", [for name, digest in var.initial_images : "${name} has \"${digest}\"" if !can(regex("^sha256:[0-9a-f]{64}$", digest))])}."
  }
  validation {
    condition     = length(setsubtract(keys(var.initial_images), keys(var.services))) == 0
    error_message = "initial_images names services that services.auto.tfvars.json has not: ${join(", ", setsubtract(keys(var.initial_images), keys(var.services)))}; correct the name."
  }
}

variable "cpu_architecture" {
  description = "CPU architecture of all tasks: X86_64, or ARM64, which costs a fifth less. Images are built for both."
  type        = string
  default     = "X86_64"
  nullable    = false

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "cpu_architecture \"${var.cpu_architecture}\" must be X86_64 or ARM64."
  }
}

# Values of entries in one environment. ci/internal/config/platform/environment.go has the
# same rules.

variable "service_overrides" {
  description = "Fields of entries that differ in this environment, by service. Variables and secrets are added to those of the entry; a secret replaces a variable of the same name, and the reverse."
  type = map(object({
    cpu           = optional(number)
    memory        = optional(number)
    desired_count = optional(number)
    min_count     = optional(number)
    max_count     = optional(number)
    scaling = optional(object({
      cpu               = optional(number, 0)
      memory            = optional(number, 0)
      requests_per_task = optional(number, 0)
    }))
    strategy = optional(object({
      type                  = optional(string, "")
      percent               = optional(number, 0)
      step_bake_minutes     = optional(number)
      bake_minutes          = optional(number)
      early_success_percent = optional(number, 0)
      failure_threshold = optional(object({
        type                 = optional(string, "")
        value                = optional(number, 0)
        keep_on_healthy_task = optional(bool, false)
      }))
    }))
    spot        = optional(number)
    environment = optional(map(string), {})
    secrets     = optional(map(string), {})
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length(setsubtract(keys(var.service_overrides), keys(var.services))) == 0
    error_message = "service_overrides names services that services.auto.tfvars.json has not: ${join(", ", setsubtract(keys(var.service_overrides), keys(var.services)))}; correct the name."
  }
}

# Where to deploy. environments/NAME.tfvars.json sets it if there are several environments,
# and the pipeline reads the same file.

variable "project_name" {
  description = "Value of the tag Project, for cost reports; the apply role may change only resources with this tag. Use the same value as in bootstrap/. Resource names do not depend on it, because the pipeline expects fixed names."
  type        = string
  default     = "ecs-microservices"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,62}$", var.project_name))
    error_message = "project_name \"${var.project_name}\" must be 2 to 63 lower-case letters, digits and hyphens."
  }
}

variable "environment" {
  description = "Value of the tag Environment, and name of the environment for the pipeline and on GitHub."
  type        = string
  default     = "production"
  nullable    = false
}

variable "name_prefix" {
  description = "Prefix of the names of all resources. Environments of one account need different ones, of which none is the beginning of another, such as ecs and stg."
  type        = string
  default     = "ecs"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,13}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix \"${var.name_prefix}\" must be 2 to 15 lower-case letters, digits and hyphens."
  }
  validation {
    condition     = var.name_prefix != "internal" && !startswith(var.name_prefix, "internal-")
    error_message = "name_prefix \"${var.name_prefix}\" must not begin with internal-, as AWS's own load balancers do: choose another."
  }
}

variable "account_id" {
  description = "AWS account of the environment. Credentials of another account are rejected. null for the account of the credentials."
  type        = string
  default     = null

  validation {
    condition     = var.account_id == null || can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id \"${coalesce(var.account_id, "null")}\" must be twelve digits."
  }
}

variable "repository" {
  description = "Value of the tag Repository: the source repository, such as OWNER/REPO."
  type        = string
  default     = "slipway"
  nullable    = false
}

variable "region" {
  description = "AWS region of everything except the state, whose region is set in terraform.tf."
  type        = string
  default     = "us-east-1"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region \"${var.region}\" is no AWS region: write it like us-east-1."
  }
}

variable "permissions_boundary_name" {
  description = "Name of the permissions boundary that bootstrap/ creates; the apply role may create roles only with it. {name_prefix} stands for name_prefix. null for no boundary, if a person applies."
  type        = string
  default     = "{name_prefix}-permissions-boundary"
}

variable "registry_account" {
  description = "AWS account whose repositories have the images, if another environment's repositories serve this one: it needs the same name_prefix and region, and this account among its pull_accounts. null for repositories of its own."
  type        = string
  default     = null

  validation {
    condition     = var.registry_account == null || can(regex("^[0-9]{12}$", var.registry_account))
    error_message = "registry_account \"${coalesce(var.registry_account, "null")}\" must be twelve digits."
  }
}

variable "pull_accounts" {
  description = "AWS accounts of other environments that pull images from this one's repositories."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for account in var.pull_accounts : can(regex("^[0-9]{12}$", account))])
    error_message = "pull_accounts has ${join(", ", [for account in var.pull_accounts : account if !can(regex("^[0-9]{12}$", account))])}: write accounts as twelve digits."
  }
  validation {
    condition     = length(var.pull_accounts) == 0 || var.registry_account == null
    error_message = "pull_accounts and registry_account do not go together: the repositories are in account ${coalesce(var.registry_account, "null")}, so grant pulls there."
  }
}

# Network.

variable "vpc_cidr" {
  description = "CIDR block of the VPC."
  type        = string
  default     = "10.0.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 28, false)
    error_message = "vpc_cidr \"${var.vpc_cidr}\" must be an IPv4 range between /16 and /28, such as 10.0.0.0/16."
  }
}

variable "azs" {
  description = "Availability zones, at least two, as a load balancer requires."
  type        = list(string)
  default     = ["us-east-1a", "us-east-1b"]
  nullable    = false

  validation {
    condition     = length(var.azs) >= 2 && length(distinct(var.azs)) == length(var.azs)
    error_message = "azs has ${join(", ", var.azs)}: name at least two different zones."
  }
  validation {
    condition     = alltrue([for az in var.azs : startswith(az, var.region)])
    error_message = "azs ${join(", ", [for az in var.azs : az if !startswith(az, var.region)])} not in region ${var.region}: name zones of that region."
  }
}

variable "public_subnets" {
  description = "CIDR blocks of the public subnets, one per zone, in the order of azs. Only the load balancer and NAT gateways are there."
  type        = list(string)
  default     = ["10.0.1.0/24", "10.0.2.0/24"]
  nullable    = false

  validation {
    condition     = length(var.public_subnets) == length(var.azs)
    error_message = "public_subnets has ${length(var.public_subnets)} ranges for ${length(var.azs)} zones: give one for each of azs."
  }
  validation {
    condition     = alltrue([for range in var.public_subnets : can(cidrnetmask(range))])
    error_message = "public_subnets has no IPv4 range in ${join(", ", [for range in var.public_subnets : range if !can(cidrnetmask(range))])}: write it like 10.0.1.0/24."
  }
}

variable "private_subnets" {
  description = "CIDR blocks of the private subnets, one per zone, in the order of azs. Tasks and VPC endpoints are there."
  type        = list(string)
  default     = ["10.0.10.0/24", "10.0.11.0/24"]
  nullable    = false

  validation {
    condition     = length(var.private_subnets) == length(var.azs)
    error_message = "private_subnets has ${length(var.private_subnets)} ranges for ${length(var.azs)} zones: give one for each of azs."
  }
  validation {
    condition     = alltrue([for range in var.private_subnets : can(cidrnetmask(range))])
    error_message = "private_subnets has no IPv4 range in ${join(", ", [for range in var.private_subnets : range if !can(cidrnetmask(range))])}: write it like 10.0.10.0/24."
  }
  validation {
    condition     = length(setintersection(var.private_subnets, var.public_subnets)) == 0
    error_message = "${join(", ", setintersection(var.private_subnets, var.public_subnets))} stands in private_subnets and public_subnets: give every subnet its own range."
  }
}

variable "nat" {
  description = "How tasks reach the internet: none (only AWS, through VPC endpoints), single (one NAT gateway for all zones, which lose access if its zone fails) or per_az (one NAT gateway per zone)."
  type        = string
  default     = "single"
  nullable    = false

  validation {
    condition     = contains(["none", "single", "per_az"], var.nat)
    error_message = "nat \"${var.nat}\" must be none, single or per_az."
  }
}

variable "vpc_endpoints" {
  description = "AWS services with an interface endpoint in the private subnets. S3 always has a gateway endpoint, which is free. Without NAT, tasks need ecr.api, ecr.dkr and logs; add secretsmanager or ssm if they read secrets."
  type        = set(string)
  default     = ["ec2", "ecr.api", "ecr.dkr", "logs"]
  nullable    = false

  validation {
    condition     = length(setsubtract(var.vpc_endpoints, ["ec2", "ecr.api", "ecr.dkr", "logs", "secretsmanager", "ssm", "kms", "sts", "monitoring", "xray"])) == 0
    error_message = "vpc_endpoints has ${join(", ", setsubtract(var.vpc_endpoints, ["ec2", "ecr.api", "ecr.dkr", "logs", "secretsmanager", "ssm", "kms", "sts", "monitoring", "xray"]))}: take from ec2, ecr.api, ecr.dkr, logs, secretsmanager, ssm, kms, sts, monitoring, xray."
  }
  validation {
    condition     = var.nat != "none" || length(setsubtract(["ecr.api", "ecr.dkr", "logs"], var.vpc_endpoints)) == 0
    error_message = "vpc_endpoints lacks ${join(", ", setsubtract(["ecr.api", "ecr.dkr", "logs"], var.vpc_endpoints))}, without which no task starts when nat is none: add them, or set nat to single."
  }
}

# Load balancer.

variable "domain_name" {
  description = "Domain name that points to the load balancer, for the output url. null for the load balancer's own."
  type        = string
  default     = null

  validation {
    condition     = var.domain_name == null || can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", var.domain_name))
    error_message = "domain_name \"${coalesce(var.domain_name, "null")}\" is no domain name: write it like shop.example.com."
  }
}

variable "certificate_arn" {
  description = "ARN of the HTTPS certificate (ACM, same region). With it, port 443 serves and port 80 redirects; without it, port 80 serves."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn \"${coalesce(var.certificate_arn, "null")}\" is no ACM certificate: write it like arn:aws:acm:us-east-1:123456789012:certificate/…, or leave it out."
  }
}

variable "tls_policy" {
  description = "TLS security policy of the HTTPS listener: TLS 1.3 with 1.2 for older clients, or 1.3 only."
  type        = string
  default     = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
  nullable    = false

  validation {
    condition     = contains(["ELBSecurityPolicy-TLS13-1-2-Res-2021-06", "ELBSecurityPolicy-TLS13-1-3-2021-06"], var.tls_policy)
    error_message = "tls_policy \"${var.tls_policy}\" must be ELBSecurityPolicy-TLS13-1-2-Res-2021-06 or ELBSecurityPolicy-TLS13-1-3-2021-06."
  }
}

variable "allowed_cidrs" {
  description = "IPv4 CIDR blocks that may connect to the load balancer."
  type        = set(string)
  default     = ["0.0.0.0/0"]
  nullable    = false

  validation {
    condition     = alltrue([for range in var.allowed_cidrs : can(cidrnetmask(range))])
    error_message = "allowed_cidrs has no IPv4 range in ${join(", ", [for range in var.allowed_cidrs : range if !can(cidrnetmask(range))])}: write it like 203.0.113.0/24."
  }
}

variable "test_listener_port" {
  description = "Port of the load balancer for requests to new versions before they get production traffic, if a service has a progressive strategy."
  type        = number
  default     = 10080
  nullable    = false

  validation {
    condition     = var.test_listener_port >= 1 && var.test_listener_port <= 65535 && var.test_listener_port == floor(var.test_listener_port) && !contains([80, 443], var.test_listener_port)
    error_message = "test_listener_port ${var.test_listener_port} must be 1 to 65535, but neither 80 nor 443."
  }
}

variable "test_listener_cidr_blocks" {
  description = "IPv4 CIDR blocks that may connect to the test listener, of which one must be that of the pipeline. null for allowed_cidrs."
  type        = set(string)
  default     = null

  validation {
    condition     = alltrue([for range in coalesce(var.test_listener_cidr_blocks, []) : can(cidrnetmask(range))])
    error_message = "test_listener_cidr_blocks has no IPv4 range in ${join(", ", [for range in coalesce(var.test_listener_cidr_blocks, []) : range if !can(cidrnetmask(range))])}: write it like 203.0.113.0/24."
  }
}

variable "deletion_protection" {
  description = "Deletion protection of the load balancer. Set to false and apply before a destroy."
  type        = bool
  default     = true
  nullable    = false
}

variable "alb_access_logs" {
  description = "Whether the load balancer writes access logs to its own bucket, kept for log_retention_days."
  type        = bool
  default     = false
  nullable    = false
}

variable "waf" {
  description = "Whether the load balancer has a web application firewall: AWS's common rules, known bad inputs, and a rate limit per address."
  type        = bool
  default     = false
  nullable    = false
}

variable "waf_rate_limit" {
  description = "Requests per address in five minutes, above which the firewall blocks it."
  type        = number
  default     = 3000
  nullable    = false

  validation {
    condition     = var.waf_rate_limit >= 100
    error_message = "waf_rate_limit ${var.waf_rate_limit} must be at least 100. The page polls every two seconds: 150 requests in five minutes."
  }
}

# Retention and monitoring.

variable "log_retention_days" {
  description = "Days to keep logs. 14 is the reference system's value; 365 meets CloudWatch.16 at its default."
  type        = number
  default     = 14
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days ${var.log_retention_days} is not supported by CloudWatch: want one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "images_to_keep" {
  description = "Images to keep in each repository, newest first. ECR does not know which image runs, so choose a number well above the images that are ever published without being released, and above the versions that you may want to roll back to."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.images_to_keep >= 20 && var.images_to_keep <= 1000
    error_message = "images_to_keep ${var.images_to_keep} must lie within 20 (below, an image that runs could be deleted) and 1000."
  }
}

variable "customer_managed_encryption" {
  description = "Whether repositories, logs and access logs are encrypted with the platform's KMS key instead of AWS's keys. Changing it replaces the repositories."
  type        = bool
  default     = false
  nullable    = false
}

variable "container_insights" {
  description = "Container Insights of the cluster: enabled, enhanced (per task and container, at a higher price) or disabled."
  type        = string
  default     = "enabled"
  nullable    = false

  validation {
    condition     = contains(["enabled", "enhanced", "disabled"], var.container_insights)
    error_message = "container_insights \"${var.container_insights}\" must be enabled, enhanced or disabled."
  }
}

variable "alarm_emails" {
  description = "E-mail addresses that get the alarms. Each must first confirm AWS's subscription mail."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "alarm_emails has no mail address in ${join(", ", [for address in var.alarm_emails : address if !can(regex("^[^@\\s]+@[^@\\s]+$", address))])}."
  }
}

variable "alarm_thresholds" {
  description = "Alarm thresholds: errors is 5xx responses per minute (this alarm also rolls a deployment back), latency_seconds the 95th percentile, cpu and memory the average in percent."
  type = object({
    errors          = optional(number, 10)
    latency_seconds = optional(number, 1)
    cpu             = optional(number, 85)
    memory          = optional(number, 85)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.alarm_thresholds.errors >= 1 && var.alarm_thresholds.latency_seconds > 0 && alltrue([for percent in [var.alarm_thresholds.cpu, var.alarm_thresholds.memory] : percent > 0 && percent <= 100])
    error_message = "alarm_thresholds must have errors of at least 1, latency_seconds above 0, and cpu and memory above 0 and at most 100."
  }
}

variable "autoscaling" {
  description = "Scaling of each service between its desired_count and max_factor times that. Targets: average CPU and memory in percent, and requests per task and minute."
  type = object({
    enabled           = optional(bool, true)
    max_factor        = optional(number, 4)
    cpu               = optional(number, 60)
    memory            = optional(number, 75)
    requests_per_task = optional(number, 1000)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.autoscaling.max_factor >= 1 && var.autoscaling.max_factor == floor(var.autoscaling.max_factor)
    error_message = "autoscaling.max_factor ${var.autoscaling.max_factor} must be a whole number of at least 1."
  }
  validation {
    condition     = alltrue([for percent in [var.autoscaling.cpu, var.autoscaling.memory] : percent > 0 && percent <= 100]) && var.autoscaling.requests_per_task > 0
    error_message = "autoscaling must have cpu and memory above 0 and at most 100, and requests_per_task above 0."
  }
}
