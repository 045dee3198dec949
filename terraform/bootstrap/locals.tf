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

  # Entries may name their service or schedule, family and repository.
  service_names    = concat([for name in var.services : "${local.prefix}-${name}-service"], [for name in var.adopted.services : name])
  schedule_names   = concat([for name in var.services : "${local.prefix}-${name}-schedule"], [for name in var.adopted.services : name])
  family_names     = concat([for name in var.services : "${local.prefix}-${name}-task"], [for name in var.adopted.families : name])
  repository_names = concat([for name in var.services : "${local.repository_prefix}-${name}"], [for name in var.adopted.repositories : name])

  task_roles = concat(
    ["${local.iam}:role/${local.prefix}-task-execution-role"],
    flatten([for name in var.services : [for role in ["task-role", "task-execution-role"] : "${local.iam}:role/${local.prefix}-${name}-${role}"]]),
  )
  schedule_roles = [for name in var.services : "${local.iam}:role/${local.prefix}-${name}-schedule-role"]
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
    services            = [for name in local.service_names : "${local.ecs}:service/${local.cluster}/${name}"]
    service_deployments = [for name in local.service_names : "${local.ecs}:service-deployment/${local.cluster}/${name}/*"]
    service_revisions   = [for name in local.service_names : "${local.ecs}:service-revision/${local.cluster}/${name}/*"]
    families            = [for name in local.family_names : "${local.ecs}:task-definition/${name}:*"]
    repositories        = [for name in local.repository_names : "arn:${local.partition}:ecr:${var.region}:${var.account_id}:repository/${name}"]
    schedules           = [for name in local.schedule_names : "arn:${local.partition}:scheduler:${var.region}:${var.account_id}:schedule/default/${name}"]
    queues              = [for name in var.services : "arn:${local.partition}:sqs:${var.region}:${var.account_id}:${local.prefix}-${name}-dlq"]
    service_logs        = [for name in var.services : "${local.logs}:log-group:/ecs/${local.prefix}-${name}:*"]
    service_log_groups  = flatten([for name in var.services : ["${local.logs}:log-group:/ecs/${local.prefix}-${name}", "${local.logs}:log-group:/ecs/${local.prefix}-${name}:*"]])
    task_roles          = local.task_roles
    schedule_roles      = local.schedule_roles
    flow_logs_role      = "${local.iam}:role/${local.prefix}-flow-logs-role"
    platform_roles      = concat(local.task_roles, local.schedule_roles, ["${local.iam}:role/${local.prefix}-flow-logs-role"])
    secrets = flatten([for name in var.secrets : [
      "arn:${local.partition}:secretsmanager:${var.region}:${var.account_id}:secret:${name}",
      "arn:${local.partition}:ssm:${var.region}:${var.account_id}:parameter/${name}",
    ]])
    task_actions = [for action in var.task_actions : action]

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
    "build", "deploy", "read", "plan-guard", "apply-state", "apply-network", "apply-services", "apply-jobs", "apply-guard",
    "boundary", "key", "state-bucket", "state-logs-bucket",
    ] : name => jsonencode(jsondecode(templatefile("${path.module}/policies/${name}.json.tftpl", local.arguments)))
  }
}
