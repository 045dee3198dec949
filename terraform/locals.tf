# Names. services/names.tf has those of the services.
locals {
  prefix            = var.name_prefix
  cluster           = "${local.prefix}-cluster"
  repository_prefix = "${local.prefix}-microservices"

  services = module.services.services
  web      = { for name, s in local.services : name => s if s.web }
  jobs     = { for name, s in local.services : name => s if s.job }
  # Web services and workers.
  running = { for name, s in local.services : name => s if !s.job }

  tags = {
    Project     = var.project_name
    Environment = var.environment
    ManagedBy   = "terraform"
    Repository  = var.repository
  }

  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  images_in = coalesce(var.registry_account, local.account)
  # Whether the repositories are of this environment.
  own_registry = local.images_in == local.account
  registry     = "${local.images_in}.dkr.ecr.${var.region}.${data.aws_partition.current.dns_suffix}"

  boundary = var.permissions_boundary_name == null ? null : "arn:${local.partition}:iam::${local.account}:policy/${replace(var.permissions_boundary_name, "{name_prefix}", local.prefix)}"
}

# The entries with the overrides of the environment. A variable that an override adds
# replaces a secret of the same name, and the reverse.
locals {
  entries = tomap(merge(var.services, { for name, o in var.service_overrides : name => merge(
    var.services[name],
    { for field, value in o : field => value if value != null },
    {
      environment = { for variable, value in merge(var.services[name].environment, o.environment) : variable => value
      if contains(keys(o.environment), variable) || !contains(keys(o.secrets), variable) }
      secrets = { for variable, from in merge(var.services[name].secrets, o.secrets) : variable => from
      if contains(keys(o.secrets), variable) || !contains(keys(o.environment), variable) }
    },
  ) if contains(keys(var.services), name) }))
}

# The services with their names. Invalid entries are rejected here.
module "services" {
  source = "./services"

  services          = local.entries
  prefix            = local.prefix
  cluster           = local.cluster
  repository_prefix = local.repository_prefix
  region            = var.region
}

data "aws_caller_identity" "current" {
  lifecycle {
    postcondition {
      condition     = var.account_id == null || self.account_id == var.account_id
      error_message = "The credentials are of account ${self.account_id}, and environment ${var.environment} is in account ${coalesce(var.account_id, "null")}: use credentials of that account."
    }
  }
}

data "aws_partition" "current" {}

# Created by bootstrap/; kms.tf there explains why.
data "aws_kms_alias" "platform" {
  name = "alias/${local.prefix}-platform"
}

# Listener rules. Each route has its own rule, because a rule takes at most five
# patterns. Its priority depends on the route alone, so that a new service changes no
# existing rule; AWS would reject such a change half-way with PriorityInUse.
locals {
  rules = merge([for name, s in local.services : { for route in s.routes : route => name if route != "/*" }]...)

  # If two routes match a path, the first in this order wins: routes without a wildcard,
  # then deeper ones. Within a class the order is arbitrary, spread over 5500
  # priorities.
  route_class    = { for route in keys(local.rules) : route => strcontains(route, "*") || strcontains(route, "?") ? max(1, 9 - length(split("/", route))) : 0 }
  route_priority = { for route in keys(local.rules) : route => local.route_class[route] * 5500 + parseint(substr(sha256(route), 0, 8), 16) % 5500 + 1 }

  # Service that answers what no rule matches; 404 if none.
  catch_all = one([for name, s in local.services : name if contains(s.routes, "/*")])
}
