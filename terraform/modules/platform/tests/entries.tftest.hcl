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

# The optional fields of entries. Which entries are rejected is in TestRulesAgree of
# ci/test/terraform.
variables {
  services = {
    api = {
      path      = "api", kind = "go", port = 8000, health_path = "/health", routes = ["/api/*"], cpu = 512, memory = 1024, desired_count = 2
      min_count = 1, max_count = 6, spot = 70, scaling = { cpu = 50, requests_per_task = 100 }, architecture = "ARM64", ephemeral_storage = 50
      command   = ["serve"], environment = { LOG_LEVEL = "debug" }, user = "1000:1000", stop_timeout = 120, grace_period = 60
      secrets = {
        KEY = "arn:aws:secretsmanager:us-east-1:123456789012:secret:ecs/db-AbCdEf:key::", PASSWORD = "arn:aws:secretsmanager:us-east-1:123456789012:secret:ecs/db-AbCdEf:password::"
        URL = "/ecs/url"
      }
      permissions = [{ actions = ["s3:GetObject"], resources = ["arn:aws:s3:::shop/*"], conditions = { Bool = { "aws:SecureTransport" = ["true"] } } }]
      sidecars = {
        otel = {
          image        = "public.ecr.aws/otel/collector@sha256:0000000000000000000000000000000000000000000000000000000000000000", essential = true, port = 4317, cpu = 64, memory = 128
          health_check = { command = ["CMD", "/healthcheck"], start_period = 60 }, secrets = { TOKEN = "otel" }
        }
        migrate = { image_of = "web", command = ["migrate"] }
      }
      depends_on = { otel = "HEALTHY", migrate = "SUCCESS" }
      volumes = {
        data   = { mount_path = "/data", efs_file_system = "fs-0123456789abcdef0", efs_access_point = "fsap-0123456789abcdef0" }
        shared = { mount_path = "/shared", containers = ["api", "otel"], read_only = true }
        cache  = { mount_path = "/cache", tmpfs_size = 64 }
      }
    }
    clean = { path = "api", kind = "go", cpu = 256, memory = 512, schedule = "cron(0 3 * * ? *)", schedule_timezone = "Europe/Berlin" }
    shop = {
      path         = "shop", kind = "dockerfile", port = 80, health_path = "/up", routes = ["/shop/*"], cpu = 256, memory = 512, desired_count = 1
      health_check = { path = "/ready", interval = 30 }
    }
    team = {
      kind    = "image", image = "nginx:1.29", port = 80, health_path = "/", routes = ["/team/*"], cpu = 256, memory = 512, desired_count = 1
      service = "team-api", family = "team_api", container = "app", repository = "team/api"
    }
    web    = { path = "web", kind = "nginx", port = 8080, health_path = "/healthz", routes = ["/*"], cpu = 256, memory = 512, desired_count = 1, health_check = { command = ["NONE"] } }
    worker = { path = "api", kind = "go", command = ["work"], cpu = 256, memory = 512, desired_count = 1, readonly_root_filesystem = false }
  }
}

run "entries" {
  command = plan

  # containers
  assert {
    condition     = [for c in jsondecode(aws_ecs_task_definition.service["api"].container_definitions) : c.name] == ["api", "migrate", "otel"]
    error_message = "the main container must be the first"
  }
  assert {
    condition = alltrue([for c in slice(jsondecode(aws_ecs_task_definition.service["api"].container_definitions), 0, 1) :
      c.command == ["serve"] && c.user == "1000:1000" && c.stopTimeout == 120 && c.linuxParameters.capabilities.drop == ["ALL"] && c.readonlyRootFilesystem
      && [for e in c.environment : e.name] == ["LOG_LEVEL", "PORT", "VERSION"] && [for s in c.secrets : s.name] == ["KEY", "PASSWORD", "URL"]
      && c.dependsOn == [{ condition = "SUCCESS", containerName = "migrate" }, { condition = "HEALTHY", containerName = "otel" }]
      && [for m in c.mountPoints : "${m.sourceVolume} ${m.containerPath} ${m.readOnly}"] == ["data /data false", "shared /shared true"]
      && [for m in c.linuxParameters.tmpfs : "${m.containerPath} ${m.size}"] == ["/cache 64"]
    ])
    error_message = "the main container must have the entry's settings: ${aws_ecs_task_definition.service["api"].container_definitions}"
  }
  assert {
    condition = alltrue([for c in jsondecode(aws_ecs_task_definition.service["api"].container_definitions) :
      !c.essential && c.image == "123456789012.dkr.ecr.us-east-1.amazonaws.com/ecs-microservices-web:set-by-a-release" && c.user == "101:101" && c.environment == []
    if c.name == "migrate"])
    error_message = "a sidecar of an entry's image must have its placeholder and user"
  }
  assert {
    condition = alltrue([for c in jsondecode(aws_ecs_task_definition.service["api"].container_definitions) :
      c.essential && c.cpu == 64 && c.memory == 128 && c.portMappings[0].containerPort == 4317 && c.healthCheck.startPeriod == 60 && c.healthCheck.interval == 10
      && !c.readonlyRootFilesystem && !can(c.user) && c.linuxParameters.capabilities.drop == ["MKNOD", "NET_RAW"] && c.secrets == [{ name = "TOKEN", valueFrom = "otel" }]
    if c.name == "otel"])
    error_message = "a sidecar must have its settings"
  }
  assert {
    condition = { for name, d in aws_ecs_task_definition.service : name => try(jsondecode(d.container_definitions)[0].healthCheck.command, ["NONE"]) } == {
      api    = ["CMD", "/server", "healthcheck"]
      clean  = ["NONE"]
      shop   = ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1:80/ready || exit 1"]
      team   = ["NONE"]
      web    = ["NONE"]
      worker = ["NONE"]
    }
    error_message = "web services of kind go and nginx alone have a health check by default"
  }
  assert {
    condition     = [for name in ["clean", "worker"] : [for e in jsondecode(aws_ecs_task_definition.service[name].container_definitions)[0].environment : e.name]] == [["VERSION"], ["VERSION"]]
    error_message = "PORT is for containers with a port, VERSION for all"
  }
  assert {
    condition     = { for name, d in aws_ecs_task_definition.service : name => jsondecode(d.container_definitions)[0].readonlyRootFilesystem } == { api = true, clean = true, shop = false, team = false, web = true, worker = false }
    error_message = "images from elsewhere alone may write to their root file system by default"
  }

  # task
  assert {
    condition     = aws_ecs_task_definition.service["api"].runtime_platform[0].cpu_architecture == "ARM64" && aws_ecs_task_definition.service["web"].runtime_platform[0].cpu_architecture == "X86_64" && aws_ecs_task_definition.service["api"].ephemeral_storage[0].size_in_gib == 50
    error_message = "architecture and disk must be the entry's"
  }
  assert {
    condition = { for v in aws_ecs_task_definition.service["api"].volume : v.name => [for efs in v.efs_volume_configuration : [efs.file_system_id, efs.transit_encryption, efs.authorization_config[0].access_point_id, efs.authorization_config[0].iam]] } == {
      data = [["fs-0123456789abcdef0", "ENABLED", "fsap-0123456789abcdef0", "ENABLED"]], shared = []
    }
    error_message = "EFS must be encrypted in transit, and authorised by IAM"
  }
  assert {
    condition     = keys(aws_vpc_security_group_egress_rule.service_to_efs) == ["api"] && aws_vpc_security_group_egress_rule.service_to_efs["api"].from_port == 2049 && aws_vpc_security_group_egress_rule.service_to_efs["api"].cidr_ipv4 == "10.0.0.0/16"
    error_message = "a service with EFS must reach it"
  }

  # services
  assert {
    condition     = keys(aws_ecs_service.service) == ["api", "shop", "team", "web", "worker"] && [for names in [keys(aws_lb_target_group.service), keys(aws_vpc_security_group_ingress_rule.service), keys(aws_vpc_security_group_egress_rule.alb)] : names == ["api", "shop", "team", "web"]] == [true, true, true]
    error_message = "a worker must have no target group, a job no service"
  }
  assert {
    condition     = length(aws_ecs_service.service["worker"].load_balancer) == 0 && length(aws_ecs_service.service["worker"].alarms) == 0 && aws_ecs_service.service["worker"].health_check_grace_period_seconds == null && aws_ecs_service.service["worker"].deployment_circuit_breaker[0].rollback
    error_message = "a worker's deployment must not wait for a load balancer"
  }
  assert {
    condition     = [for a in aws_cloudwatch_metric_alarm.service : a.alarm_name if strcontains(a.alarm_name, "worker")] == ["ecs-worker-service-cpu", "ecs-worker-service-memory"] && aws_cloudwatch_metric_alarm.worker["worker"].alarm_name == "ecs-worker-service-tasks"
    error_message = "a worker has alarms of its tasks"
  }
  assert {
    condition     = { for c in aws_ecs_service.service["api"].capacity_provider_strategy : c.capacity_provider => c.weight } == { FARGATE = 30, FARGATE_SPOT = 70 } && aws_ecs_service.service["web"].launch_type == "FARGATE" && aws_ecs_cluster_capacity_providers.main[0].capacity_providers == toset(["FARGATE", "FARGATE_SPOT"])
    error_message = "Spot must have its share"
  }
  assert {
    condition     = aws_ecs_service.service["api"].health_check_grace_period_seconds == 60 && aws_ecs_service.service["web"].health_check_grace_period_seconds == 30
    error_message = "the grace period must be the entry's"
  }
  assert {
    condition     = { for name, t in aws_appautoscaling_target.service : name => "${t.min_capacity}-${t.max_capacity}" } == { api = "1-6", shop = "1-4", team = "1-4", web = "1-4", worker = "1-4" }
    error_message = "services must scale between their own counts"
  }
  assert {
    condition = { for key, p in aws_appautoscaling_policy.service : key => p.target_tracking_scaling_policy_configuration[0].target_value if startswith(key, "api ") || startswith(key, "worker ") } == {
      "api cpu" = 50, "api memory" = 75, "api requests" = 100, "worker cpu" = 60, "worker memory" = 75
    }
    error_message = "services must scale by their own targets, workers not by requests"
  }

  # names
  assert {
    condition     = aws_ecs_service.service["team"].name == "team-api" && aws_ecs_task_definition.service["team"].family == "team_api" && one(aws_ecs_service.service["team"].load_balancer).container_name == "app" && aws_ecr_repository.service["repository team/api"].name == "team/api"
    error_message = "names must be the entry's"
  }
  assert {
    condition     = aws_iam_role.task["team"].name == "ecs-team-task-role" && aws_cloudwatch_metric_alarm.service["team errors"].alarm_name == "ecs-team-service-errors"
    error_message = "roles and alarms must have names that the apply role may create"
  }
  assert {
    condition     = keys(aws_ecr_repository.service) == ["api", "repository team/api", "shop", "web"] && output.repository_urls != null
    error_message = "entries with the same image must share its repository"
  }

  # roles
  assert {
    condition = { for s in jsondecode(aws_iam_role_policy.own_execution["api"].policy).Statement : s.Sid => s.Resource if contains(["Secrets", "Parameters", "Pull"], s.Sid) } == {
      Secrets    = ["arn:aws:secretsmanager:us-east-1:123456789012:secret:ecs/db-AbCdEf"]
      Parameters = ["arn:aws:ssm:us-east-1:123456789012:parameter/ecs/url", "arn:aws:ssm:us-east-1:123456789012:parameter/otel"]
      Pull       = ["arn:aws:ecr:us-east-1:123456789012:repository/ecs-microservices-api", "arn:aws:ecr:us-east-1:123456789012:repository/ecs-microservices-web"]
    }
    error_message = "exactly the named secrets may be read: ${aws_iam_role_policy.own_execution["api"].policy}"
  }
  assert {
    condition     = keys(aws_iam_role.own_execution) == ["api"] && alltrue([for r in concat(values(aws_iam_role.own_execution), values(aws_iam_role.schedule)) : r.permissions_boundary == "arn:aws:iam::123456789012:policy/ecs-permissions-boundary"])
    error_message = "services with secrets alone have a role of their own, within the boundary"
  }
  assert {
    condition     = !strcontains(aws_iam_role_policy.execution.policy, "secret")
    error_message = "the shared role must read no secret"
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.task["api"].policy).Statement == [
      { Sid = "Permission0", Effect = "Allow", Action = ["s3:GetObject"], Resource = ["arn:aws:s3:::shop/*"], Condition = { Bool = { "aws:SecureTransport" = ["true"] } } },
      {
        Sid       = "Volume0", Effect = "Allow", Action = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"], Resource = ["arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-0123456789abcdef0"],
        Condition = { ArnEquals = { "elasticfilesystem:AccessPointArn" = ["arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-0123456789abcdef0"] } }
      },
    ] && keys(aws_iam_role_policy.task) == ["api"]
    error_message = "a task may do what its entry says"
  }

  # jobs
  assert {
    condition     = { for name, s in aws_scheduler_schedule.job : s.name => "${s.schedule_expression} ${s.schedule_expression_timezone} ${s.state} ${s.group_name}" } == { ecs-clean-schedule = "cron(0 3 * * ? *) Europe/Berlin DISABLED default" }
    error_message = "a job without an image must not run"
  }
  assert {
    condition     = one(aws_scheduler_schedule.job["clean"].target[0].ecs_parameters).launch_type == "FARGATE" && !one(one(aws_scheduler_schedule.job["clean"].target[0].ecs_parameters).network_configuration).assign_public_ip
    error_message = "a job must run as a service does"
  }
  assert {
    condition     = aws_sqs_queue.job["clean"].name == "ecs-clean-dlq" && aws_sqs_queue.job["clean"].sqs_managed_sse_enabled && aws_cloudwatch_metric_alarm.job["clean"].dimensions == tomap({ QueueName = "ecs-clean-dlq" })
    error_message = "SQS.1: a run that does not start must be reported, encrypted"
  }
  assert {
    condition = { for s in jsondecode(aws_iam_role_policy.schedule["clean"].policy).Statement : s.Sid => [s.Action, s.Resource] } == {
      Run       = ["ecs:RunTask", "arn:aws:ecs:us-east-1:123456789012:task-definition/ecs-clean-task:*"]
      Tag       = ["ecs:TagResource", "arn:aws:ecs:us-east-1:123456789012:task/ecs-cluster/*"]
      PassRoles = ["iam:PassRole", ["arn:aws:iam::123456789012:role/ecs-task-execution-role", "arn:aws:iam::123456789012:role/ecs-clean-task-role"]]
      Report    = ["sqs:SendMessage", "arn:aws:sqs:us-east-1:123456789012:ecs-clean-dlq"]
    }
    error_message = "a schedule may run its job, and nothing else: ${aws_iam_role_policy.schedule["clean"].policy}"
  }
  assert {
    condition     = jsondecode(aws_iam_role.schedule["clean"].assume_role_policy).Statement[0].Principal.Service == "scheduler.amazonaws.com" && jsondecode(aws_iam_role.schedule["clean"].assume_role_policy).Statement[0].Condition.StringEquals["aws:SourceAccount"] == "123456789012"
    error_message = "EventBridge Scheduler of this account alone may assume it"
  }
}

run "a_job_with_an_image" {
  command = plan
  variables {
    initial_images = { clean = "sha256:0000000000000000000000000000000000000000000000000000000000000000" }
  }

  assert {
    condition     = aws_scheduler_schedule.job["clean"].state == "ENABLED"
    error_message = "a job with an image must run"
  }
}

run "another_cluster" {
  command = plan
  variables {
    services = {
      web = { path = "web", kind = "nginx", port = 8080, health_path = "/healthz", routes = ["/*"], cpu = 256, memory = 512, desired_count = 1, cluster = "shop" }
    }
  }
  expect_failures = [aws_ecs_task_definition.service]
}
