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

  log_group_arn = "arn:${local.partition}:logs:${var.region}:${local.account}:log-group"
}

# Execution role: pulls a task's image and writes its log.
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
        Resource = [for s in local.services : "arn:${local.partition}:ecr:${var.region}:${local.account}:repository/${s.repository}"]
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

# Task role: what a service's own code may do in AWS. Empty until you attach a policy.
resource "aws_iam_role" "task" {
  for_each = local.services

  name                 = "${each.value.family}-role"
  description          = "What the code of service ${each.key} may do in AWS"
  assume_role_policy   = local.trust_tasks
  permissions_boundary = local.boundary
}

resource "aws_iam_role" "flow_logs" {
  name                 = "${local.prefix}-flow-logs-role"
  description          = "Writes the VPC's flow logs"
  permissions_boundary = local.boundary
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
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
