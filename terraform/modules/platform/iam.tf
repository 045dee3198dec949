# Roles of the platform. The pipeline's roles are in bootstrap/, so that the role that
# applies this cannot change them.

locals {
  trust_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:ecs:${var.region}:${local.account}:*" }
      }
    }]
  })

  # Trust policies of services that act in this account.
  trust = { for service in ["scheduler", "vpc-flow-logs"] : service => jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "${service}.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  }) }

  repository_arn = "arn:${local.partition}:ecr:${var.region}:${local.images_in}:repository"
  log_group_arn  = "arn:${local.partition}:logs:${var.region}:${local.account}:log-group"
}

# Execution role: pulls a task's image and writes its log. A service with secrets has one
# of its own, which may read exactly these.
resource "aws_iam_role" "execution" {
  name                 = "${local.prefix}-task-execution-role"
  description          = "Starts tasks: pulls images, writes logs"
  assume_role_policy   = local.trust_tasks
  permissions_boundary = local.boundary
}

# AWS's managed policy would allow every repository and log group of the account.
resource "aws_iam_role_policy" "execution" {
  name = "start-tasks"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "LogIn"
        Effect   = "Allow"
        Action   = "ecr:GetAuthorizationToken"
        Resource = "*" # the action supports no resource
      },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = distinct([for s in local.services : "${local.repository_arn}/${s.repository}"])
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = [for s in local.services : "${local.log_group_arn}:${s.log_group}:*"]
      },
    ]
  })
}

locals {
  # What each service reads when a task starts: ARNs of secrets without the JSON key, and
  # ARNs of parameters.
  secret_sources = { for name, s in local.services : name => distinct(concat(values(s.secrets), flatten([for c in s.sidecars : values(c.secrets)]))) }
  secret_arns    = { for name, sources in local.secret_sources : name => distinct([for from in sources : regex("^arn:[^:]+:secretsmanager:[^:]+:[^:]+:secret:[^:]+", from) if can(regex("^arn:[^:]+:secretsmanager:", from))]) }
  parameter_arns = { for name, sources in local.secret_sources : name => distinct([
    for from in sources : startswith(from, "arn:") ? from : "arn:${local.partition}:ssm:${var.region}:${local.account}:parameter/${trimprefix(from, "/")}" if !can(regex("^arn:[^:]+:secretsmanager:", from))
  ]) }
  with_secrets    = { for name, s in local.services : name => s if length(local.secret_sources[name]) > 0 }
  execution_roles = { for name in keys(local.services) : name => contains(keys(local.with_secrets), name) ? aws_iam_role.own_execution[name] : aws_iam_role.execution }
}

resource "aws_iam_role" "own_execution" {
  for_each = local.with_secrets

  name                 = "${each.value.derived}-task-execution-role"
  description          = "Starts tasks of service ${each.key}: pulls images, writes logs, reads secrets"
  assume_role_policy   = local.trust_tasks
  permissions_boundary = local.boundary
}

resource "aws_iam_role_policy" "own_execution" {
  for_each = local.with_secrets

  name = "start-tasks"
  role = aws_iam_role.own_execution[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for statement in [
      {
        Sid      = "LogIn"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = ["*"] # the action supports no resource
      },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = distinct(concat(["${local.repository_arn}/${each.value.repository}"], [for c in each.value.sidecars : "${local.repository_arn}/${local.services[c.image_of].repository}" if c.image_of != ""]))
      },
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${local.log_group_arn}:${each.value.log_group}:*"]
      },
      {
        Sid      = "Secrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = local.secret_arns[each.key]
      },
      {
        Sid      = "Parameters"
        Effect   = "Allow"
        Action   = ["ssm:GetParameters"]
        Resource = local.parameter_arns[each.key]
      },
      # Only needed for secrets that are encrypted with a key of the account. The key's
      # policy must let IAM decide, and the key must have the platform's tag.
      {
        Sid      = "Keys"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = ["arn:${local.partition}:kms:${var.region}:${local.account}:key/*"]
        Condition = { StringEquals = {
          "kms:ViaService"          = ["secretsmanager.${var.region}.amazonaws.com", "ssm.${var.region}.amazonaws.com"]
          "aws:ResourceTag/Project" = [var.project_name]
        } }
      },
    ] : statement if length(statement.Resource) > 0]
  })
}

# Task role: what a service's own code may do in AWS, which is nothing without
# permissions.
resource "aws_iam_role" "task" {
  for_each = local.services

  name                 = "${each.value.derived}-task-role"
  description          = "What the code of service ${each.key} may do in AWS"
  assume_role_policy   = local.trust_tasks
  permissions_boundary = local.boundary
}

locals {
  efs_volumes = { for name, s in local.services : name => [for v in s.volumes : v if v.efs_file_system != ""] }
}

resource "aws_iam_role_policy" "task" {
  for_each = { for name, s in local.services : name => s if length(s.permissions) + length(local.efs_volumes[name]) > 0 }

  name = "permissions"
  role = aws_iam_role.task[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for n, p in each.value.permissions : { for field, value in {
        Sid       = "Permission${n}"
        Effect    = "Allow"
        Action    = p.actions
        Resource  = p.resources
        Condition = length(p.conditions) > 0 ? p.conditions : null
      } : field => value if value != null }],
      [for n, v in local.efs_volumes[each.key] : {
        Sid       = "Volume${n}"
        Effect    = "Allow"
        Action    = concat(["elasticfilesystem:ClientMount"], v.read_only ? [] : ["elasticfilesystem:ClientWrite"])
        Resource  = ["arn:${local.partition}:elasticfilesystem:${var.region}:${local.account}:file-system/${v.efs_file_system}"]
        Condition = { ArnEquals = { "elasticfilesystem:AccessPointArn" = ["arn:${local.partition}:elasticfilesystem:${var.region}:${local.account}:access-point/${v.efs_access_point}"] } }
      }],
    )
  })
}

# Infrastructure role: ECS shifts traffic with it, as AWS's managed policy
# AmazonECSInfrastructureRolePolicyForLoadBalancers allows, but only of these target groups
# and rules. AWS does not document that ECS sends aws:SourceAccount here.
resource "aws_iam_role" "infrastructure" {
  count = length(local.shifted) > 0 ? 1 : 0

  name                 = "${local.prefix}-ecs-infrastructure-role"
  description          = "Shifts traffic between the versions of services"
  permissions_boundary = local.boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "infrastructure" {
  count = length(local.shifted) > 0 ? 1 : 0

  name = "shift-traffic"
  role = aws_iam_role.infrastructure[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Read"
        Effect   = "Allow"
        Action   = ["elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth"]
        Resource = "*" # the actions support no resource
      },
      {
        Sid      = "Register"
        Effect   = "Allow"
        Action   = ["elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets"]
        Resource = flatten([for name in keys(local.shifted) : [for group in local.target_groups[name] : aws_lb_target_group.service[group].arn]])
      },
      {
        Sid      = "Shift"
        Effect   = "Allow"
        Action   = "elasticloadbalancing:ModifyRule"
        Resource = concat([for rule in aws_lb_listener_rule.production : rule.arn], [for rule in aws_lb_listener_rule.test : rule.arn])
      },
    ]
  })
}

resource "aws_iam_role" "flow_logs" {
  name                 = "${local.prefix}-flow-logs-role"
  description          = "Writes the VPC's flow logs"
  permissions_boundary = local.boundary
  assume_role_policy   = local.trust["vpc-flow-logs"]
}

resource "aws_iam_role_policy" "flow_logs" {
  name = "write-flow-logs"
  role = aws_iam_role.flow_logs.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
      Resource = "${local.log_group_arn}:${aws_cloudwatch_log_group.flow.name}:*"
    }]
  })
}
