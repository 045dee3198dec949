# Needs no AWS account: the provider is real, its credentials are fake, nothing is applied.
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  account_id        = "123456789012"
  github_repository = "acme/shop"
}

# Grants of the roles. Go tests evaluate the same documents against the calls of a
# release; these assertions hold regardless of what the pipeline calls.

run "defaults" {
  command = plan

  # nobody_is_administrator
  # IAM.1, IAM.21.
  assert {
    condition = alltrue(flatten([for name in flatten(values(output.role_policies)) : [for s in jsondecode(output.policies[name]).Statement : [for action in flatten([s.Action]) :
      s.Effect == "Deny" || !strcontains(action, "*")
    ]]]))
    error_message = "an allowed action has a wildcard"
  }
  # A managed policy may have 6144 characters, a role ten managed policies.
  assert {
    condition     = alltrue([for name in flatten(values(output.role_policies)) : length(output.policies[name]) <= 6144])
    error_message = "too long for AWS: ${jsonencode({ for name in flatten(values(output.role_policies)) : name => length(output.policies[name]) if length(output.policies[name]) > 6144 })}"
  }
  assert {
    condition     = alltrue([for policies in values(output.role_policies) : length(policies) <= 10])
    error_message = "a role takes ten policies"
  }

  # any_resource_only_where_aws_has_no_narrower_one
  assert {
    condition = alltrue(flatten([for name in ["build", "deploy", "read", "apply-state", "apply-network", "apply-services", "apply-jobs"] : [for s in jsondecode(output.policies[name]).Statement :
      jsonencode(s.Resource) != jsonencode("*") || can(s.Condition) || alltrue([for action in flatten([s.Action]) : contains(["cloudwatch:GetMetricData", "ecr:GetAuthorizationToken"], action) || can(regex("^[a-z0-9-]+:(Describe|List)", action))])
    ]]))
    error_message = "a change is allowed on every resource, without a condition"
  }

  # deploy_may_release
  # The reference system's deploy role lacked ecs:RegisterTaskDefinition and
  # ecs:DescribeTaskDefinition.
  assert {
    condition = alltrue([for action in [
      "ecr:GetAuthorizationToken", "ecr:PutImage", "ecr:DescribeImages", "ecs:DescribeTaskDefinition", "ecs:ListTaskDefinitions", "ecs:RegisterTaskDefinition",
      "ecs:TagResource", "ecs:UpdateService", "ecs:DescribeServices", "ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment", "ecs:ContinueServiceDeployment",
      "ecs:DescribeServiceRevisions", "ecs:ListTasks", "ecs:DescribeTasks", "ecs:RunTask", "ecs:StopTask", "iam:PassRole", "logs:FilterLogEvents", "logs:GetLogEvents",
      "elasticloadbalancing:DescribeTargetHealth", "scheduler:GetSchedule", "scheduler:UpdateSchedule",
    ] : contains(flatten([for s in jsondecode(output.policies["deploy"]).Statement : s.Action]), action)])
    error_message = "the deploy role lacks an action that a release takes"
  }

  # deploy_may_do_nothing_else
  assert {
    condition = alltrue([for action in flatten([for s in jsondecode(output.policies["deploy"]).Statement : s.Action]) :
      !contains(["ecs:StartTask", "scheduler:CreateSchedule", "scheduler:DeleteSchedule", "ecs:ExecuteCommand", "ecs:DeregisterTaskDefinition", "ecs:DeleteTaskDefinitions", "ecs:DeleteService", "ecs:CreateService", "ecr:BatchDeleteImage", "ecr:DeleteRepository"], action)
      && (!startswith(action, "iam:") || action == "iam:PassRole") && !startswith(action, "s3:") && !startswith(action, "ec2:")
    ])
    error_message = "the deploy role may do what no release does"
  }
  assert {
    condition     = alltrue([for s in jsondecode(output.policies["deploy"]).Statement : alltrue([for r in flatten([s.Resource]) : can(regex({ "ecs-tasks.amazonaws.com" = "-task-(execution-)?role$", "scheduler.amazonaws.com" = "-schedule-role$", "ecs.amazonaws.com" = "-ecs-infrastructure-role$" }[s.Condition.StringEquals["iam:PassedToService"]], r))]) if contains(flatten([s.Action]), "iam:PassRole")])
    error_message = "roles may be passed to tasks, schedules and what shifts traffic only, each its own"
  }
  assert {
    condition     = alltrue([for s in jsondecode(output.policies["deploy"]).Statement : try(s.Condition.ArnEquals["ecs:cluster"], "") == "arn:aws:ecs:us-east-1:123456789012:cluster/ecs-cluster" && can(s.Condition.ArnLikeIfExists["ecs:task-definition"]) if contains(flatten([s.Action]), "ecs:UpdateService")])
    error_message = "services may be updated in the cluster, to the families' revisions"
  }
  assert {
    condition = [for s in jsondecode(output.policies["deploy"]).Statement : [s.Resource, s.Condition.ArnEquals["ecs:cluster"]] if contains(flatten([s.Action]), "ecs:RunTask")] == [
      [["arn:aws:ecs:us-east-1:123456789012:task-definition/ecs-*-task:*"], "arn:aws:ecs:us-east-1:123456789012:cluster/ecs-cluster"]
    ]
    error_message = "tasks of the families may be run, in the cluster"
  }
  assert {
    condition     = alltrue([for s in jsondecode(output.policies["deploy"]).Statement : try(s.Condition.StringEquals["ecs:CreateAction"], "") == (strcontains(jsonencode(s.Resource), ":task/") ? "RunTask" : "RegisterTaskDefinition") if contains(flatten([s.Action]), "ecs:TagResource")])
    error_message = "tags may be set as a revision is registered or a task is run, and not later"
  }

  # build_pushes_images_only
  assert {
    condition     = alltrue([for action in flatten([for s in jsondecode(output.policies["build"]).Statement : s.Action]) : startswith(action, "ecr:") && !strcontains(action, "Delete")])
    error_message = "the build role may do more than push"
  }

  # plan_reads_the_state_and_nothing_secret
  assert {
    condition = alltrue([for action in flatten([for s in jsondecode(output.policies["read"]).Statement : s.Action]) :
      can(regex("^[a-z0-9-]+:(Describe|List|Get)", action)) && !contains(["secretsmanager:GetSecretValue", "ssm:GetParameter", "kms:Decrypt"], action)
    ])
    error_message = "the plan role may change something, or read a secret"
  }
  assert {
    condition     = [for s in jsondecode(output.policies["read"]).Statement : s.Resource if contains(flatten([s.Action]), "s3:GetObject")] == ["arn:aws:s3:::ecs-microservices-state-123456789012/ecs-microservices/prod/terraform.tfstate"]
    error_message = "the plan role may read the state's object only"
  }
  assert {
    condition     = anytrue([for s in jsondecode(output.policies["plan-guard"]).Statement : s.Effect == "Deny" && try(s.NotResource, "") == "arn:aws:s3:::ecs-microservices-state-123456789012/ecs-microservices/prod/terraform.tfstate"])
    error_message = "all other objects must be denied"
  }
  assert {
    condition     = toset(output.role_policies.plan) == toset(["read", "plan-guard"])
    error_message = "the plan role has other policies"
  }

  # apply_cannot_widen_itself
  assert {
    condition = alltrue([for s in jsondecode(output.policies["apply-services"]).Statement :
      try(s.Condition.StringEquals["iam:PermissionsBoundary"], "") == "arn:aws:iam::123456789012:policy/ecs-permissions-boundary"
      if contains(flatten([s.Action]), "iam:CreateRole") || contains(flatten([s.Action]), "iam:PutRolePolicy")
    ])
    error_message = "roles may be made within the boundary only"
  }
  assert {
    condition     = alltrue([for s in jsondecode(output.policies["apply-services"]).Statement : alltrue([for r in flatten([s.Resource]) : !strcontains(r, "github-actions")])])
    error_message = "the pipeline's roles are not the apply role's"
  }
  assert {
    condition = alltrue([for action in ["iam:AttachRolePolicy", "iam:CreatePolicyVersion", "iam:UpdateAssumeRolePolicy", "iam:DeleteRolePermissionsBoundary", "iam:UpdateOpenIDConnectProviderThumbprint", "s3:PutBucketPolicy", "s3:PutBucketVersioning", "s3:DeleteObjectVersion", "dynamodb:DeleteTable"] :
      contains(flatten([for s in jsondecode(output.policies["apply-guard"]).Statement : s.Action if s.Effect == "Deny"]), action)
    ])
    error_message = "a guard is missing"
  }
  assert {
    condition     = alltrue([for name in ["apply-network", "apply-services", "apply-jobs", "apply-state", "read"] : alltrue([for action in flatten([for s in jsondecode(output.policies[name]).Statement : s.Action]) : !contains(["iam:AttachRolePolicy", "iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:CreateUser", "kms:CreateKey", "kms:PutKeyPolicy", "sts:AssumeRole"], action)])])
    error_message = "the apply role could get at more than its own"
  }
  assert {
    condition     = contains(output.role_policies.apply, "apply-guard")
    error_message = "the apply role has no guard"
  }

  # apply_creates_in_its_own_only
  # The caller chooses the tags of a request. They may allow access to what the request
  # creates, but never to what already exists, such as the VPC of a new subnet.
  assert {
    condition = alltrue(flatten([for s in jsondecode(output.policies["apply-network"]).Statement : [for action in flatten([s.Action]) : [for resource in flatten([s.Resource]) :
      action == {
        "vpc" = "ec2:CreateVpc", "subnet" = "ec2:CreateSubnet", "route-table" = "ec2:CreateRouteTable", "security-group" = "ec2:CreateSecurityGroup", "elastic-ip" = "ec2:AllocateAddress"
      }[replace(resource, "/^.*:|[/].*$/", "")]
      if contains(["vpc", "subnet", "route-table", "security-group", "elastic-ip"], replace(resource, "/^.*:|[/].*$/", ""))
    ]] if can(s.Condition.StringEquals["aws:RequestTag/Project"]) && !contains(flatten([s.Action]), "ec2:CreateTags")]))
    error_message = "a tag of the caller's choice opens what is somebody else's"
  }
  assert {
    condition = alltrue([for s in jsondecode(output.policies["apply-network"]).Statement : can(s.Condition.StringEquals["ec2:CreateAction"]) || can(s.Condition.StringEquals["aws:ResourceTag/Project"]) || s.Sid == "CloseTheDefaultGroupWhichIsBornUntagged"
    if contains(flatten([s.Action]), "ec2:CreateTags")])
    error_message = "tags may be set as something is created, or on what has them"
  }
}

run "enumerated_services" {
  command = plan
  variables {
    services     = ["backend", "frontend"]
    adopted      = { services = ["team-api"], families = ["team_api"], repositories = ["team/api"] }
    secrets      = ["shop/*"]
    task_actions = ["s3:GetObject"]
  }

  assert {
    condition = alltrue([for s in jsondecode(output.policies["deploy"]).Statement : toset(flatten([s.Resource])) == toset(["arn:aws:ecr:us-east-1:123456789012:repository/ecs-microservices-backend", "arn:aws:ecr:us-east-1:123456789012:repository/ecs-microservices-frontend", "arn:aws:ecr:us-east-1:123456789012:repository/team/api"])
    if contains(flatten([s.Action]), "ecr:PutImage")])
    error_message = "listed services alone may be pushed"
  }
  assert {
    condition     = alltrue([for name in flatten(values(output.role_policies)) : length(output.policies[name]) <= 6144])
    error_message = "too long for AWS"
  }

  # boundary
  assert {
    condition     = length(output.policies["boundary"]) <= 6144
    error_message = "too long for AWS"
  }
  assert {
    condition = toset(flatten([for s in jsondecode(output.policies["boundary"]).Statement : s.Resource if s.Sid == "OwnSecrets"])) == toset([
      "arn:aws:secretsmanager:us-east-1:123456789012:secret:shop/*", "arn:aws:ssm:us-east-1:123456789012:parameter/shop/*",
    ])
    error_message = "secrets of these names alone may be read"
  }
  assert {
    condition     = [for s in jsondecode(output.policies["boundary"]).Statement : flatten([s.Action]) if s.Resource == "*" && s.Sid == "OwnWork"] == [["s3:GetObject"]]
    error_message = "tasks may be allowed these actions alone"
  }
}
