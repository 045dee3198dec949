# Container definitions. Terraform owns all of a task definition but images and VERSION:
# a release replaces those.

locals {
  # Images that task definitions begin with, by entry.
  images = { for name, s in local.services : name => "${local.registry}/${s.repository}${try("@${var.initial_images[name]}", ":set-by-a-release")}" }

  # Containers by service and name, the main one first by its key.
  containers = merge([for name, s in local.services : merge(
    { "${name} ${s.container}" = {
      service   = name, name = s.container, kind = s.kind, main = true, essential = true, port = s.port, cpu = 0, memory = 0
      image     = local.images[name]
      command   = s.command, environment = s.environment, secrets = s.secrets, user = s.user, depends_on = s.depends_on
      read_only = s.readonly_root_filesystem, stop_timeout = s.stop_timeout, health_check = s.health_check, health_checked = s.health_checked
    } },
    { for sidecar, c in s.sidecars : "${name} ${sidecar}" => {
      service        = name, name = sidecar, kind = c.image_of == "" ? "image" : local.services[c.image_of].kind, main = false, essential = c.essential
      port           = c.port, cpu = c.cpu, memory = c.memory
      image          = c.image != "" ? c.image : local.images[c.image_of]
      command        = c.command, environment = c.environment, secrets = c.secrets, user = c.user, depends_on = c.depends_on
      read_only      = c.readonly_root_filesystem, stop_timeout = c.stop_timeout, health_check = c.health_check
      health_checked = c.health_check != null && try(join(" ", c.health_check.command), "") != "NONE"
    } },
  )]...)

  # Where each container mounts volumes.
  mounts = { for key, c in local.containers : key => {
    for volume, v in local.services[c.service].volumes : volume => v
    if length(v.containers) == 0 ? c.main : contains(v.containers, c.name)
  } }

  # The images of these kinds run as these users. Images from elsewhere run as the user
  # that they name.
  kind_users = { go = "65532:65532", nginx = "101:101" }
  users      = { for key, c in local.containers : key => c.user != "" ? c.user : lookup(local.kind_users, c.kind, null) }

  # A container of an unprivileged user has no capabilities. One that may run as root
  # has Docker's default ones, which entrypoints need to change owners and users, without
  # those for devices and raw packets.
  dropped = { for key, user in local.users : key => user == null || try(contains(["0", "root"], split(":", user)[0]), false) ? ["MKNOD", "NET_RAW"] : ["ALL"] }

  # Volumes in memory. Fargate supports them since January 2026. Nginx has one for its
  # pid file and temporary files: an empty volume would belong to root, and Nginx's user
  # could not write to it.
  tmpfs = { for key, c in local.containers : key => concat(
    c.kind == "nginx" && !contains([for v in local.mounts[key] : v.mount_path], "/tmp")
    ? [{ containerPath = "/tmp", size = 64, mountOptions = ["nosuid", "nodev", "noexec", "mode=1777"] }] : [],
    [for v in local.mounts[key] : { containerPath = v.mount_path, size = v.tmpfs_size, mountOptions = concat(["nosuid", "nodev", "mode=1777"], v.read_only ? ["ro"] : []) } if v.tmpfs_size != 0],
  ) }

  health_commands = { for key, c in local.containers : key => (
    try(length(c.health_check.command), 0) > 0 ? c.health_check.command
    : c.kind == "go" ? ["CMD", "/server", "healthcheck"] # the image has no shell
    : ["CMD-SHELL", "wget -q -O /dev/null http://127.0.0.1:${c.port}${try(coalesce(c.health_check.path), local.services[c.service].health_path)} || exit 1"]
  ) }

  definitions = { for key, c in local.containers : key => { for field, value in {
    name      = c.name
    image     = c.image
    essential = c.essential
    command   = length(c.command) > 0 ? c.command : null
    user      = local.users[key]
    cpu       = c.cpu != 0 ? c.cpu : null
    memory    = c.memory != 0 ? c.memory : null

    readonlyRootFilesystem = coalesce(c.read_only, contains(keys(local.kind_users), c.kind))
    privileged             = false
    linuxParameters = { for field, value in {
      capabilities = { add = [], drop = local.dropped[key] }
      tmpfs        = length(local.tmpfs[key]) > 0 ? local.tmpfs[key] : null
    } : field => value if value != null }

    portMappings = c.port == 0 ? [] : [{ containerPort = c.port, hostPort = c.port, protocol = "tcp" }]
    environment = concat(
      c.main && c.port != 0 ? [{ name = "PORT", value = tostring(c.port) }] : [],
      c.main ? [{ name = "VERSION", value = "unreleased" }] : [], # replaced with the commit by a release
      [for variable, value in c.environment : { name = variable, value = value }],
    )
    secrets   = length(c.secrets) > 0 ? [for variable, from in c.secrets : { name = variable, valueFrom = from }] : null
    dependsOn = length(c.depends_on) > 0 ? [for on, condition in c.depends_on : { containerName = on, condition = condition }] : null

    # Longer than the backend's DRAIN_TIMEOUT (20 s), so that the backend stops by
    # itself.
    stopTimeout = c.stop_timeout != 0 ? c.stop_timeout : 30
    healthCheck = !c.health_checked ? null : {
      command     = local.health_commands[key]
      interval    = try(c.health_check.interval, 0) != 0 ? c.health_check.interval : 10
      timeout     = try(c.health_check.timeout, 0) != 0 ? c.health_check.timeout : 5
      retries     = try(c.health_check.retries, 0) != 0 ? c.health_check.retries : 3
      startPeriod = try(c.health_check.start_period, 0) != 0 ? c.health_check.start_period : 10
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.service[c.service].name
        awslogs-region        = var.region
        awslogs-stream-prefix = "ecs"
        # A log service that does not respond must not block the container. The oldest
        # lines are dropped when the buffer is full.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }

    # Defaults that the API adds. Without them every plan shows a change.
    mountPoints    = [for volume, v in local.mounts[key] : { sourceVolume = volume, containerPath = v.mount_path, readOnly = v.read_only } if v.tmpfs_size == 0]
    volumesFrom    = []
    systemControls = []
  } : field => value if value != null } }
}
