# Needs no AWS account: the provider is real, its credentials are fake, nothing is applied.
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = data.aws_kms_alias.platform
  values = { target_key_arn = "arn:aws:kms:us-east-1:123456789012:key/0a0a0a0a-0000-0000-0000-000000000000" }
}

run "defaults" {
  command = plan

  # containers
  assert {
    condition     = { for k, d in aws_ecs_task_definition.service : k => jsondecode(d.container_definitions)[0].user } == { backend = "65532:65532", frontend = "101:101" }
    error_message = "ECS.20: containers must run as nobody, by the task definition"
  }
  assert {
    condition     = alltrue([for d in aws_ecs_task_definition.service : jsondecode(d.container_definitions)[0].readonlyRootFilesystem])
    error_message = "ECS.5: the root file system must be read-only"
  }
  assert {
    condition     = alltrue([for d in aws_ecs_task_definition.service : !jsondecode(d.container_definitions)[0].privileged && contains(jsondecode(d.container_definitions)[0].linuxParameters.capabilities.drop, "ALL")])
    error_message = "ECS.4: containers must have no privileges"
  }
  assert {
    condition     = alltrue([for d in aws_ecs_task_definition.service : d.network_mode == "awsvpc" && d.pid_mode == null && toset(d.requires_compatibilities) == toset(["FARGATE"])])
    error_message = "ECS.3, ECS.17: tasks must have a network and processes of their own"
  }
  # Fargate's tmpfs, with enough space: Nginx writes its pid file there.
  assert {
    condition     = [for m in jsondecode(aws_ecs_task_definition.service["frontend"].container_definitions)[0].linuxParameters.tmpfs : m.containerPath] == ["/tmp"]
    error_message = "Nginx needs a writable /tmp"
  }
  assert {
    condition     = alltrue([for d in aws_ecs_task_definition.service : jsondecode(d.container_definitions)[0].logConfiguration.logDriver == "awslogs" && jsondecode(d.container_definitions)[0].logConfiguration.options["awslogs-region"] == "us-east-1" && jsondecode(d.container_definitions)[0].logConfiguration.options["awslogs-stream-prefix"] == "ecs"])
    error_message = "ECS.9: containers must log"
  }
  assert {
    condition     = alltrue([for k, d in aws_ecs_task_definition.service : jsondecode(d.container_definitions)[0].logConfiguration.options["awslogs-group"] == "/ecs/ecs-${k}" && jsondecode(d.container_definitions)[0].name == k])
    error_message = "log group and container must bear the service's name"
  }
  # A release sets VERSION only in containers that declare it.
  assert {
    condition     = alltrue([for d in aws_ecs_task_definition.service : [for e in jsondecode(d.container_definitions)[0].environment : e.name] == ["PORT", "VERSION"]])
    error_message = "containers must declare VERSION; ECS.8: and hold no secret"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.service["backend"].container_definitions)[0].healthCheck.command == ["CMD", "/server", "healthcheck"] && strcontains(jsondecode(aws_ecs_task_definition.service["frontend"].container_definitions)[0].healthCheck.command[1], "http://127.0.0.1:8080/healthz")
    error_message = "containers must be asked for their health"
  }
  assert {
    condition     = alltrue([for d in aws_ecs_task_definition.service : jsondecode(d.container_definitions)[0].stopTimeout == 30])
    error_message = "tasks must have the time to finish requests"
  }
  assert {
    condition     = alltrue([for d in aws_ecs_task_definition.service : d.skip_destroy && !d.track_latest])
    error_message = "revisions must stay for a rollback, and a release must not show as drift"
  }
  assert {
    condition     = alltrue([for d in aws_ecs_task_definition.service : d.cpu == "256" && d.memory == "512" && d.runtime_platform[0].cpu_architecture == "X86_64"])
    error_message = "sizes must be the reference system's"
  }

  # services
  assert {
    condition     = alltrue([for s in aws_ecs_service.service : s.deployment_circuit_breaker[0].enable && s.deployment_circuit_breaker[0].rollback])
    error_message = "a failing deployment must be rolled back"
  }
  assert {
    condition     = alltrue([for k, s in aws_ecs_service.service : s.alarms[0].enable && s.alarms[0].rollback && s.alarms[0].alarm_names == toset(["ecs-${k}-service-errors"])])
    error_message = "errors must roll a deployment back"
  }
  assert {
    condition     = alltrue([for s in aws_ecs_service.service : !s.network_configuration[0].assign_public_ip])
    error_message = "ECS.2: tasks must have no public address"
  }
  assert {
    condition     = alltrue([for s in aws_ecs_service.service : s.launch_type == "FARGATE" && s.platform_version == "LATEST"])
    error_message = "ECS.10: tasks must run on the latest platform"
  }
  assert {
    condition     = alltrue([for s in aws_ecs_service.service : s.deployment_minimum_healthy_percent == 100 && s.deployment_maximum_percent == 200 && s.availability_zone_rebalancing == "ENABLED" && !s.enable_execute_command])
    error_message = "deployments must not take capacity away, and nobody needs a shell"
  }
  # Before the first image no task can start.
  assert {
    condition     = alltrue([for s in aws_ecs_service.service : s.desired_count == 0])
    error_message = "services must be created without tasks"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.service["backend"].container_definitions)[0].image == "123456789012.dkr.ecr.us-east-1.amazonaws.com/ecs-microservices-backend:set-by-a-release"
    error_message = "the image is a release's to set"
  }

  # roles
  assert {
    condition     = alltrue([for r in concat([aws_iam_role.execution, aws_iam_role.flow_logs], values(aws_iam_role.task)) : r.permissions_boundary == "arn:aws:iam::123456789012:policy/ecs-permissions-boundary"])
    error_message = "every role must have the boundary, or the apply role cannot make it"
  }
  assert {
    condition     = alltrue([for r in concat([aws_iam_role.execution], values(aws_iam_role.task)) : jsondecode(r.assume_role_policy).Statement[0].Principal.Service == "ecs-tasks.amazonaws.com" && jsondecode(r.assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012"])
    error_message = "tasks of this account alone may assume them"
  }
  assert {
    condition = alltrue([for policy in [aws_iam_role_policy.execution.policy, aws_iam_role_policy.flow_logs.policy] : alltrue([for s in jsondecode(policy).Statement :
      alltrue([for action in flatten([s.Action]) : !strcontains(action, "*")]) && (jsonencode(s.Resource) != jsonencode("*") || jsonencode(s.Action) == jsonencode("ecr:GetAuthorizationToken"))
    ])])
    error_message = "IAM.1, IAM.21: a role may do more than it needs"
  }
}

run "choices" {
  command = plan
  variables {
    initial_images            = { backend = "sha256:0000000000000000000000000000000000000000000000000000000000000000" }
    cpu_architecture          = "ARM64"
    permissions_boundary_name = null
  }

  # rebuilt_from_images_that_are_there
  assert {
    condition     = aws_ecs_service.service["backend"].desired_count == 2 && aws_ecs_service.service["frontend"].desired_count == 0
    error_message = "what has an image must start, what has none must not"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.service["backend"].container_definitions)[0].image == "123456789012.dkr.ecr.us-east-1.amazonaws.com/ecs-microservices-backend@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    error_message = "the image must be pinned by its digest"
  }
  assert {
    condition     = alltrue([for d in aws_ecs_task_definition.service : d.runtime_platform[0].cpu_architecture == "ARM64"])
    error_message = "the processor must be the one asked for"
  }

  # roles_of_a_human
  assert {
    condition     = aws_iam_role.execution.permissions_boundary == null
    error_message = "no boundary was asked for"
  }
}
