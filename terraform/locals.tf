# Names. ci/internal/config/platform derives the same names from the same file.
locals {
  prefix            = "ecs"
  cluster           = "${local.prefix}-cluster"
  repository_prefix = "${local.prefix}-microservices"

  services = {
    for name, s in var.services : name => merge(s, {
      service      = "${local.prefix}-${name}-service"
      family       = "${local.prefix}-${name}-task"
      repository   = "${local.repository_prefix}-${name}"
      log_group    = "/ecs/${local.prefix}-${name}"
      target_group = "${local.prefix}-${name}-tg"
    })
  }

  tags = {
    Project     = var.project_name
    Environment = var.environment
    ManagedBy   = "terraform"
    Repository  = var.repository
  }

  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  registry  = "${local.account}.dkr.ecr.${var.region}.${data.aws_partition.current.dns_suffix}"

  boundary = var.permissions_boundary_name == null ? null : "arn:${local.partition}:iam::${local.account}:policy/${var.permissions_boundary_name}"
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

# Created by bootstrap/; kms.tf there explains why.
data "aws_kms_alias" "platform" {
  name = "alias/${local.prefix}-platform"
}

# Settings common to the services of a kind.
locals {
  kinds = {
    go = {
      user  = "65532:65532"
      linux = { capabilities = local.no_capabilities }
    }
    nginx = {
      user = "101:101"
      # For the pid file and temporary files. Fargate supports tmpfs since January 2026.
      # An empty volume would belong to root, and Nginx's user could not write to it.
      linux = {
        capabilities = local.no_capabilities
        tmpfs        = [{ containerPath = "/tmp", size = 64, mountOptions = ["nosuid", "nodev", "noexec", "mode=1777"] }]
      }
    }
  }

  no_capabilities = { add = [], drop = ["ALL"] }

  health_checks = {
    for name, s in var.services : name => {
      go    = ["CMD", "/server", "healthcheck"] # the image has no shell
      nginx = ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1:${s.port}${s.health_path} || exit 1"]
    }[s.kind]
  }

  # Memory sizes in MiB by CPU size:
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
  fargate_memory = {
    "256"   = [512, 1024, 2048]
    "512"   = range(1024, 4097, 1024)
    "1024"  = range(2048, 8193, 1024)
    "2048"  = range(4096, 16385, 1024)
    "4096"  = range(8192, 30721, 1024)
    "8192"  = range(16384, 61441, 4096)
    "16384" = range(32768, 122881, 8192)
  }
}

# Listener rules. Each route has its own rule, because a rule takes at most five
# patterns. Its priority depends on the route alone, so that a new service changes no
# existing rule; AWS would reject such a change half-way with PriorityInUse.
locals {
  rules = merge([for name, s in var.services : { for route in s.routes : route => name if route != "/*" }]...)

  # If two routes match a path, the first in this order wins: routes without a wildcard,
  # then deeper ones. Within a class the order is arbitrary, spread over 5500
  # priorities.
  route_class    = { for route in keys(local.rules) : route => strcontains(route, "*") || strcontains(route, "?") ? max(1, 9 - length(split("/", route))) : 0 }
  route_priority = { for route in keys(local.rules) : route => local.route_class[route] * 5500 + parseint(substr(sha256(route), 0, 8), 16) % 5500 + 1 }

  # Service that answers what no rule matches; 404 if none.
  catch_all = one([for name, s in var.services : name if contains(s.routes, "/*")])
}
