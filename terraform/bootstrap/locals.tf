# Names, the same as in ../locals.tf and ci/internal/config/platform.
locals {
  prefix            = "ecs"
  cluster           = "${local.prefix}-cluster"
  repository_prefix = "${local.prefix}-microservices"
  boundary          = "${local.prefix}-permissions-boundary"

  state_bucket  = coalesce(var.state_bucket, "${local.repository_prefix}-state-${var.account_id}")
  github_issuer = "token.actions.githubusercontent.com"
  github_prefix = coalesce(var.github_subject_prefix, "repo:${var.github_repository}")
  workflows     = { for role, file in var.github_workflows : role => "${var.github_repository}/.github/workflows/${file}@refs/heads/${var.github_branch}" }

  partition    = data.aws_partition.current.partition
  iam          = "arn:${local.partition}:iam::${var.account_id}"
  ecs          = "arn:${local.partition}:ecs:${var.region}:${var.account_id}"
  logs         = "arn:${local.partition}:logs:${var.region}:${var.account_id}"
  boundary_arn = "${local.iam}:policy/${local.boundary}"

  task_roles = concat(["${local.iam}:role/${local.prefix}-task-execution-role"], [for name in var.services : "${local.iam}:role/${local.prefix}-${name}-task-role"])
}

data "aws_partition" "current" {}

# Variables of the templates in policies/. Each policy is a file of its own, so that it
# can be reviewed as JSON. The output policies has them as AWS gets them.
locals {
  arguments = {
    account      = var.account_id
    partition    = local.partition
    region       = var.region
    project      = var.project_name
    prefix       = local.prefix
    boundary     = local.boundary_arn
    provider_arn = "${local.iam}:oidc-provider/${local.github_issuer}"
    issuer       = local.github_issuer

    cluster             = "${local.ecs}:cluster/${local.cluster}"
    tasks               = "${local.ecs}:task/${local.cluster}/*"
    services            = [for name in var.services : "${local.ecs}:service/${local.cluster}/${local.prefix}-${name}-service"]
    service_deployments = [for name in var.services : "${local.ecs}:service-deployment/${local.cluster}/${local.prefix}-${name}-service/*"]
    service_revisions   = [for name in var.services : "${local.ecs}:service-revision/${local.cluster}/${local.prefix}-${name}-service/*"]
    families            = [for name in var.services : "${local.ecs}:task-definition/${local.prefix}-${name}-task:*"]
    repositories        = [for name in var.services : "arn:${local.partition}:ecr:${var.region}:${var.account_id}:repository/${local.repository_prefix}-${name}"]
    service_logs        = [for name in var.services : "${local.logs}:log-group:/ecs/${local.prefix}-${name}:*"]
    service_log_groups  = flatten([for name in var.services : ["${local.logs}:log-group:/ecs/${local.prefix}-${name}", "${local.logs}:log-group:/ecs/${local.prefix}-${name}:*"]])
    task_roles          = local.task_roles
    platform_roles      = concat(local.task_roles, ["${local.iam}:role/${local.prefix}-flow-logs-role"])

    state_bucket = "arn:${local.partition}:s3:::${local.state_bucket}"
    state_logs   = "arn:${local.partition}:s3:::${local.state_bucket}-logs"
    state_key    = var.state_key
    lock_table   = "arn:${local.partition}:dynamodb:${var.region}:${var.account_id}:table/terraform-locks"
    lock_digest  = "${local.state_bucket}/${var.state_key}-md5"

    environment_subject  = "${local.github_prefix}:environment:${var.github_environment}"
    branch_subject       = "${local.github_prefix}:ref:refs/heads/${var.github_branch}"
    pull_request_subject = "${local.github_prefix}:pull_request"
    ref                  = "refs/heads/${var.github_branch}"
    workflows            = local.workflows
  }

  # Decoding and encoding makes a template that is not valid JSON fail here, with its
  # name, and removes the white space that AWS counts towards its size limits.
  policies = { for name in [
    "trust-build", "trust-deploy", "trust-plan", "trust-apply",
    "build", "deploy", "read", "plan-guard", "apply-state", "apply-network", "apply-services", "apply-guard",
    "boundary", "key", "state-bucket", "state-logs-bucket",
    ] : name => jsonencode(jsondecode(templatefile("${path.module}/policies/${name}.json.tftpl", local.arguments)))
  }
}
