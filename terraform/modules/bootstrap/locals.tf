# Names, the same as in ../platform/locals.tf and ci/internal/config/platform.
locals {
  environments = { for name, e in var.environments : name => {
    prefix            = e.name_prefix
    cluster           = "${e.name_prefix}-cluster"
    repository_prefix = "${e.name_prefix}-microservices"
    boundary          = "${e.name_prefix}-permissions-boundary"
    state_key         = coalesce(e.state_key, var.state_key)
    github            = coalesce(e.github_environment, name == "production" ? var.github_environment : name)
    adopted           = coalesce(e.adopted, name == "production" ? var.adopted : { services = [], families = [], repositories = [] })
    secrets           = coalesce(e.secrets, name == "production" ? var.secrets : ["${e.name_prefix}/*"])
    registry          = coalesce(e.registry_account, var.account_id)
    own_registry      = coalesce(e.registry_account, var.account_id) == var.account_id
    share_images      = e.share_images
    promote_from      = e.promote_from
    promoted_by       = e.promoted_by
    promoted          = length(e.promoted_by) + length([for target in var.environments : target if target.promote_from == name]) > 0
    previews          = e.previews

    # Begins the keys of what is below for each environment.
    key = name == "production" ? "" : "${name}-"
  } }

  # With several environments, the tag Environment separates what has no name in its ARN.
  several = length(var.environments) > 1

  # Tags of what belongs to an environment. The provider sets the rest.
  tags = { for name in keys(var.environments) : name => name == var.environment ? null : { Environment = name } }

  state_bucket  = coalesce(var.state_bucket, "ecs-microservices-state-${var.account_id}")
  github_issuer = "token.actions.githubusercontent.com"
  github_prefix = coalesce(var.github_subject_prefix, "repo:${var.github_repository}")
  workflows     = { for role, file in var.github_workflows : role => length(regexall("/", file)) > 0 ? file : "${var.github_repository}/.github/workflows/${file}@refs/heads/${var.github_branch}" }

  partition = data.aws_partition.current.partition
  iam       = "arn:${local.partition}:iam::${var.account_id}"
  ecs       = "arn:${local.partition}:ecs:${var.region}:${var.account_id}"
  elb       = "arn:${local.partition}:elasticloadbalancing:${var.region}:${var.account_id}"
  logs      = "arn:${local.partition}:logs:${var.region}:${var.account_id}"

  # Entries may name their service or schedule, family and repository.
  names = { for name, e in local.environments : name => {
    services     = concat([for service in var.services : "${e.prefix}-${service}-service"], [for adopted in e.adopted.services : adopted])
    schedules    = concat([for service in var.services : "${e.prefix}-${service}-schedule"], [for adopted in e.adopted.services : adopted])
    families     = concat([for service in var.services : "${e.prefix}-${service}-task"], [for adopted in e.adopted.families : adopted])
    repositories = concat([for service in var.services : "${e.repository_prefix}-${service}"], [for adopted in e.adopted.repositories : adopted])
    task_roles = concat(
      ["${local.iam}:role/${e.prefix}-task-execution-role"],
      flatten([for service in var.services : [for role in ["task-role", "task-execution-role"] : "${local.iam}:role/${e.prefix}-${service}-${role}"]]),
    )
    schedule_roles = [for service in var.services : "${local.iam}:role/${e.prefix}-${service}-schedule-role"]
  } }
}

data "aws_partition" "current" {}

# Variables of the templates in policies/. Each policy is a file of its own, so that it
# can be reviewed as JSON. The output policies has them as AWS gets them.
locals {
  account_arguments = {
    account      = var.account_id
    partition    = local.partition
    region       = var.region
    project      = var.project_name
    provider_arn = "${local.iam}:oidc-provider/${local.github_issuer}"
    issuer       = local.github_issuer
    task_actions = [for action in var.task_actions : action]

    state_bucket = "arn:${local.partition}:s3:::${local.state_bucket}"
    state_logs   = "arn:${local.partition}:s3:::${local.state_bucket}-logs"
    lock_table   = "arn:${local.partition}:dynamodb:${var.region}:${var.account_id}:table/terraform-locks"
    access_logs  = [for e in local.environments : "arn:${local.partition}:s3:::${e.prefix}-alb-logs-${var.account_id}-*"]

    # What limits the platforms' and the pipeline's roles.
    limits = flatten([for e in local.environments : ["${local.iam}:policy/${e.boundary}", "${local.iam}:policy/${e.prefix}-ci-*"]])

    branch_subject       = "${local.github_prefix}:ref:refs/heads/${var.github_branch}"
    pull_request_subject = "${local.github_prefix}:pull_request"
    ref                  = "refs/heads/${var.github_branch}"
    workflows            = local.workflows
  }

  arguments = { for name, e in local.environments : name => merge(local.account_arguments, {
    prefix   = e.prefix
    boundary = "${local.iam}:policy/${e.boundary}"

    # Conditions on the tags of what is there, and of what is created.
    own     = merge({ "aws:ResourceTag/Project" = var.project_name }, local.several ? { "aws:ResourceTag/Environment" = name } : {})
    created = merge({ "aws:RequestTag/Project" = var.project_name }, local.several ? { "aws:RequestTag/Environment" = name } : {})
    # The same, of what may have no tags.
    own_if_tagged = local.several ? { "aws:ResourceTag/Environment" = name, "aws:RequestTag/Environment" = name } : {}
    own_locks     = local.several ? { "dynamodb:LeadingKeys" = ["${local.state_bucket}/${e.state_key}", "${local.state_bucket}/${e.state_key}-md5"] } : {}

    cluster             = "${local.ecs}:cluster/${e.cluster}"
    tasks               = "${local.ecs}:task/${e.cluster}/*"
    services            = [for service in local.names[name].services : "${local.ecs}:service/${e.cluster}/${service}"]
    service_deployments = [for service in local.names[name].services : "${local.ecs}:service-deployment/${e.cluster}/${service}/*"]
    service_revisions   = [for service in local.names[name].services : "${local.ecs}:service-revision/${e.cluster}/${service}/*"]
    families            = [for family in local.names[name].families : "${local.ecs}:task-definition/${family}:*"]
    repositories        = [for repository in local.names[name].repositories : "arn:${local.partition}:ecr:${var.region}:${var.account_id}:repository/${repository}"]
    images              = [for repository in local.names[name].repositories : "arn:${local.partition}:ecr:${var.region}:${e.registry}:repository/${repository}"]
    own_registry        = e.own_registry
    share_images        = e.share_images
    schedules           = [for schedule in local.names[name].schedules : "arn:${local.partition}:scheduler:${var.region}:${var.account_id}:schedule/default/${schedule}"]
    queues              = [for service in var.services : "arn:${local.partition}:sqs:${var.region}:${var.account_id}:${e.prefix}-${service}-dlq"]
    service_logs        = [for service in var.services : "${local.logs}:log-group:/ecs/${e.prefix}-${service}:*"]
    service_log_groups  = flatten([for service in var.services : ["${local.logs}:log-group:/ecs/${e.prefix}-${service}", "${local.logs}:log-group:/ecs/${e.prefix}-${service}:*"]])
    task_roles          = local.names[name].task_roles
    schedule_roles      = local.names[name].schedule_roles
    flow_logs_role      = "${local.iam}:role/${e.prefix}-flow-logs-role"
    infrastructure_role = "${local.iam}:role/${e.prefix}-ecs-infrastructure-role"
    shifted             = concat([for service in var.services : "${local.elb}:targetgroup/${e.prefix}-${service}-t?/*"], ["${local.elb}:listener-rule/app/${e.prefix}-alb/*"])
    platform_roles      = concat(local.names[name].task_roles, local.names[name].schedule_roles, [for role in ["flow-logs-role", "ecs-infrastructure-role"] : "${local.iam}:role/${e.prefix}-${role}"])
    secrets = flatten([for secret in e.secrets : [
      "arn:${local.partition}:secretsmanager:${var.region}:${var.account_id}:secret:${secret}",
      "arn:${local.partition}:ssm:${var.region}:${var.account_id}:parameter/${secret}",
    ]])

    state_key = e.state_key

    environment_subject = "${local.github_prefix}:environment:${e.github}"
    promotion_subjects  = [for github in e.promoted_by : "${local.github_prefix}:environment:${github}"]

    # What a preview may create, and change if it has the tag slipway:preview.
    preview_services      = "${local.ecs}:service/${e.cluster}/${e.prefix}-pr*"
    preview_deployments   = [for kind in ["service-deployment", "service-revision"] : "${local.ecs}:${kind}/${e.cluster}/${e.prefix}-pr*/*"]
    preview_families      = "${local.ecs}:task-definition/${e.prefix}-pr*:*"
    preview_target_groups = "${local.elb}:targetgroup/${e.prefix}-pr*/*"
    preview_rules         = "${local.elb}:listener-rule/app/${e.prefix}-alb/*"
    listeners             = "${local.elb}:listener/app/${e.prefix}-alb/*"
  }) }

  # The policies of an environment, by their key.
  documents = merge([for name, e in local.environments : { for template in concat(
    [
      "trust-build", "trust-deploy", "trust-plan", "trust-apply",
      "build", "deploy", "read", "plan-guard", "apply-state", "apply-network", "apply-services", "apply-jobs", "apply-guard",
      "boundary", "key",
    ],
    e.promoted ? ["promote"] : [],
    length(e.promoted_by) > 0 ? ["trust-promote"] : [],
    e.previews ? ["preview", "trust-preview"] : [],
  ) : "${e.key}${template}" => { environment = name, template = template } }]...)

  # Decoding and encoding makes a template that is not valid JSON fail here, with its
  # name, and removes the white space that AWS counts towards its size limits.
  policies = merge(
    { for key, d in local.documents : key => jsonencode(jsondecode(templatefile("${path.module}/policies/${d.template}.json.tftpl", local.arguments[d.environment]))) },
    { for name in ["state-bucket", "state-logs-bucket"] : name => jsonencode(jsondecode(templatefile("${path.module}/policies/${name}.json.tftpl", local.account_arguments))) },
  )
}
