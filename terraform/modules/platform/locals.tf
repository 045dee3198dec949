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

# Created by modules/bootstrap; kms.tf there explains why.
data "aws_kms_alias" "platform" {
  name = "alias/${local.prefix}-platform"
}

# Listener rules. services/routes.tf has their priorities.
locals {
  rules          = merge([for name, s in local.services : { for route in s.routes : route => name if route != "/*" && !s.shifts }]...)
  route_priority = module.services.route_priority

  # Services whose traffic ECS shifts.
  shifted = { for name, s in local.web : name => s if s.shifts }

  # What is wrong with priorities that rules share by chance.
  rules_by_priority = { for rule in concat([for route in keys(local.rules) : [route]], [for s in local.shifted : s.routes]) : tostring(local.route_priority[rule[0]]) => rule[0]... }
  same_priority = { for priority, routes in local.rules_by_priority : priority =>
    "routes ${join(" and ", routes)} get the same priority by chance: write one of them with \"**\" for \"*\", which matches the same." if length(routes) > 1
  }

  # Service that answers what no rule matches; 404 if none.
  catch_all = one([for name, s in local.services : name if contains(s.routes, "/*")])
}
