# Rules for the entries, in the order of ci/internal/config/platform/validate.go.
# TestRulesAgree in ci/test/terraform compares the two.
#
# Terraform ignores unknown fields of an entry, takes "80" for 80, and has no list of time
# zones. The pipeline rejects all three.

locals {
  patterns = {
    name           = "^[a-z][a-z0-9-]{0,23}[a-z0-9]$" # so that every derived name is valid
    path           = "^[^/]+(/[^/]+)*$"
    variable       = "^[A-Za-z_][A-Za-z0-9_]*$"
    ecs_name       = "^[A-Za-z0-9_-]{1,255}$"
    repository     = "^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$"
    digest_image   = "^[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$"
    tagged_image   = "^[a-z0-9][a-z0-9._:/-]*:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$"
    secret_arn     = "^arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@-]+(?::[^:]*:[^:]*:[^:]*)?$"
    parameter_arn  = "^arn:aws[a-z-]*:ssm:([a-z0-9-]+):[0-9]{12}:parameter/[A-Za-z0-9_./-]+$"
    parameter_name = "^/?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$"
    user           = "^[A-Za-z0-9_-]+(:[A-Za-z0-9_-]+)?$"
    rate           = "^rate\\((1 (minute|hour|day)|([2-9]|[1-9][0-9]+) (minutes|hours|days))\\)$"
    cron           = "^cron\\(${local.cron.minutes} ${local.cron.hours} (\\? ${local.cron.months} ${local.cron.weekdays}|${local.cron.days} ${local.cron.months} \\?) ${local.cron.years}\\)$"
    timezone       = "^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
    action         = "^(\\*|[a-z0-9-]+:[A-Za-z0-9*?]+)$"
    resource       = "^(\\*|arn:([^:]*:){4}.+)$"
    everything     = "^(\\*|[a-z0-9-]+:[*?]+|arn:([^:]*:){4}[*?/:]+)$" # all actions or resources
    build_tag      = "^[A-Za-z0-9_.]+$"
    efs            = "^fs-[0-9a-f]{8,40}$"
    access_point   = "^fsap-[0-9a-f]{8,40}$"
  }

  # Fields of a cron expression: values, ranges and steps, and more.
  cron = { for field, of in {
    minutes  = ["[0-5]?[0-9]", ""]
    hours    = ["(2[0-3]|[01]?[0-9])", ""]
    days     = ["(3[01]|[12][0-9]|0?[1-9])", "|L(-[0-9]+)?|LW|[0-9]+W"]
    months   = ["(1[0-2]|0?[1-9]|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)", ""]
    weekdays = ["([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)", "|L|([1-7]|[A-Z]{3})(L|#[1-5])"]
    years    = ["(19[7-9][0-9]|2[01][0-9]{2})", ""]
    } : field => replace("ITEM(,ITEM)*", "ITEM",
    "((\\*|${of[0]}(-${of[0]})?)?(/[1-9][0-9]*)|\\*|${of[0]}(-${of[0]})?${of[1]})",
  ) }

  # Partitions of regions that are not in aws, by the beginning of the region.
  region_partition = "^(cn|us-gov|us-iso[bf]?|eu-isoe|eusc)-"
  partitions = {
    cn        = "aws-cn", "us-gov" = "aws-us-gov", "us-iso" = "aws-iso", "us-isob" = "aws-iso-b", "us-isof" = "aws-iso-f"
    "eu-isoe" = "aws-iso-e", eusc = "aws-eusc"
  }

  kinds = ["go", "nginx", "dockerfile", "image"]

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

  problems = concat(
    flatten([for name in keys(var.services) : [for problem in compact(flatten([
      can(regex(local.patterns.name, name)) ? "" : "the name must be 2 to 25 lower-case letters, digits and hyphens",
      local.build_problems[name], local.name_problems[name], local.traffic_problems[name], local.size_problems[name], local.schedule_problems[name], local.strategy_problems[name],
      local.permission_problems[name], local.container_problems[name], local.volume_problems[name], local.release_task_problems[name],
    ])) : "service \"${name}\": ${problem}"]]),
    local.shared_problems, local.order_problems,
  )

  # Text that must be unique, by what it is.
  unique = {
    family  = { for name, s in local.services : s.family => name... }
    service = { for name, s in local.services : s.job ? "/${s.schedule_of}" : "${s.cluster}/${s.service}" => name... }
    route   = { for pair in flatten([for name, s in var.services : [for route in s.routes : { name = name, route = route }]]) : pair.route => pair.name... }
  }
  repository_builds = { for name, s in local.services : s.repository => local.build[name]... }
  shared_problems = concat(
    flatten([for what, taken in local.unique : [for text, names in taken :
      "services ${join(" and ", [for name in names : "\"${name}\""])} both have ${what} \"${what == "service" ? split("/", text)[1] : text}\": give ${what == "route" ? "it to one of them" : "one of them another"}"
    if length(names) > 1]]),
    [for repository, builds in local.repository_builds :
      "services ${join(" and ", [for name, s in local.services : "\"${name}\"" if s.repository == repository])} both have repository \"${repository}\" for different images: give one of them another"
    if length(distinct(builds)) > 1],
  )
}

locals {
  build_problems = { for name, s in var.services : name => [
    contains(local.kinds, s.kind) ? "" : "kind \"${s.kind}\" must be one of ${join(", ", local.kinds)}",

    s.kind == "image" && s.image == "" ? "kind \"image\" needs image: name one with a tag or digest" : "",
    s.kind == "image" && s.image != "" && !can(regex(local.patterns.digest_image, s.image)) && !can(regex(local.patterns.tagged_image, s.image))
    ? "image \"${s.image}\" must have a registry's path and a tag or digest, such as nginx:1.29" : "",
    s.kind == "image" && s.path != "" ? "path does not apply to kind \"image\": remove it" : "",
    s.kind != "image" && s.path != "." && !(can(regex(local.patterns.path, s.path)) && length(setintersection(split("/", s.path), [".", ".."])) == 0)
    ? "path \"${s.path}\" must name a folder inside the source tree" : "",

    [for field in [
      { name = "main", set = s.main != "", kind = "go" },
      { name = "build_tags", set = length(s.build_tags) > 0, kind = "go" },
      { name = "files", set = length(s.files) > 0, kind = "go" },
      { name = "dockerfile", set = s.dockerfile != "", kind = "dockerfile" },
      { name = "target", set = s.target != "", kind = "dockerfile" },
      { name = "build_args", set = length(s.build_args) > 0, kind = "dockerfile" },
      { name = "build_secrets", set = length(s.build_secrets) > 0, kind = "dockerfile" },
      { name = "image", set = s.image != "", kind = "image" },
    ] : "${field.name} applies to kind \"${field.kind}\" only: remove it" if field.set && s.kind != field.kind],

    s.main == "" || s.main == "." || can(regex("^\\./[^/]+(/[^/]+)*$", s.main)) && length(setintersection(slice(split("/", "${s.main}/"), 1, length(split("/", s.main))), [".", ".."])) == 0
    ? "" : "main \"${s.main}\" must be a package below path, such as \"./cmd/server\"",
    [for tag in s.build_tags : "build tag \"${tag}\" must be letters, digits, dots and underscores" if !can(regex(local.patterns.build_tag, tag))],
    [for file in s.files : !can(regex(local.patterns.path, file)) || length(setintersection(split("/", file), [".", ".."])) > 0
      ? "files \"${file}\" must be a file or folder below path, such as \"templates\""
      : split("/", file)[0] == "server" ? "files \"${file}\" cannot be in the image, where /server is the binary: move it to another folder" : ""
    ],
    s.dockerfile != "" && (startswith(s.dockerfile, "/") || local.dockerfile_leaves[name]) ? "dockerfile \"${s.dockerfile}\" must be a file inside the source tree, relative to path" : "",
    [for variable in concat(keys(s.build_args), s.build_secrets) :
      "build argument or secret \"${variable}\" must be letters, digits and underscores, not beginning with a digit"
    if !can(regex(local.patterns.variable, variable))],
    [for variable, value in s.build_args : "build_args.${variable} is null: give a value, or remove it" if value == null],
  ] }

  # Whether a ".." in a Dockerfile's path goes above the source tree: how deep each
  # folder of the path is.
  dockerfile_steps = { for name, s in var.services : name => [for part in split("/", "${s.path}/${s.dockerfile}") : part == ".." ? -1 : contains(["", "."], part) ? 0 : 1] }
  dockerfile_leaves = { for name, steps in local.dockerfile_steps : name => anytrue([for n in range(length(steps)) :
    sum(slice(steps, 0, n + 1)) < 0
  ]) }

  name_problems = { for name, s in var.services : name => [
    [for field, value in { service = s.service, family = s.family, container = s.container, cluster = s.cluster } :
      "${field} \"${value}\" must be 1 to 255 letters, digits, hyphens and underscores"
    if value != "" && !can(regex(local.patterns.ecs_name, value))],
    s.repository == "" || length(s.repository) >= 2 && length(s.repository) <= 256 && can(regex(local.patterns.repository, s.repository))
    ? "" : "repository \"${s.repository}\" is no name of an ECR repository: write it like team/api",
    s.port != 0 && length(local.services[name].target_group) > 32
    ? "name_prefix \"${var.prefix}\" is too long: ${local.services[name].target_group} has more than 32 characters" : "",
  ] }

  traffic_problems = { for name, s in var.services : name => s.port == 0 ? [
    length(s.routes) > 0 ? "routes without port: give the port that the container listens on" : "",
    s.health_path != "" ? "health_path without port: give port and routes, or remove it" : "",
    s.grace_period != null ? "grace_period without port: it applies to the load balancer's health checks; remove it" : "",
    ] : flatten([
      s.port >= (contains(["dockerfile", "image"], s.kind) ? 1 : 1024) && s.port <= 65535
      ? "" : "port ${s.port} must be between ${contains(["dockerfile", "image"], s.kind) ? 1 : 1024} and 65535 (containers run unprivileged)",
      startswith(s.health_path, "/") ? "" : "health_path \"${s.health_path}\" must begin with \"/\"",
      length(s.routes) > 0 ? "" : "routes is empty: name at least one path pattern, such as \"/${name}/*\", or remove port and health_path for a worker",
      [for route in s.routes : "route \"${route}\" must begin with \"/\" and have at most 128 characters" if !startswith(route, "/") || length(route) > 128],
  ]) }

  # Numbers and their bounds. null means that the field is absent.
  bounds = { for name, s in var.services : name => concat(
    [
      { field = "desired_count", value = local.services[name].desired_count, low = 0, high = 5000 },
      { field = "spot", value = s.spot, low = 0, high = 100 },
      { field = "min_count", value = s.min_count, low = 0, high = local.services[name].desired_count },
      { field = "max_count", value = s.max_count, low = local.services[name].desired_count, high = 5000 },
      { field = "grace_period", value = s.port == 0 ? null : s.grace_period, low = 0, high = 2147483647 },
      { field = "strategy: step_bake_minutes", value = try(s.strategy.step_bake_minutes, null), low = 0, high = 1440 },
      { field = "strategy: bake_minutes", value = try(s.strategy.bake_minutes, null), low = 0, high = 1440 },
      { field = "strategy: failure_threshold: value", value = try(s.strategy.failure_threshold.value, null), low = 1, high = 5000 },
      { field = "release_task: timeout", value = try(s.release_task.timeout, null), low = 1, high = 86400 },
    ],
    # 0 means the default.
    [for field in flatten([
      { field = "ephemeral_storage", value = s.ephemeral_storage, low = 21, high = 200 },
      { field = "scaling: cpu", value = try(s.scaling.cpu, 0), low = 1, high = 100 },
      { field = "scaling: memory", value = try(s.scaling.memory, 0), low = 1, high = 100 },
      { field = "scaling: requests_per_task", value = try(s.scaling.requests_per_task, 0), low = 1, high = 1000000 },
      [for volume, v in s.volumes : { field = "volume \"${volume}\": tmpfs_size", value = v.tmpfs_size, low = 1, high = s.memory }],
      [for sidecar, c in s.sidecars : [
        { field = "sidecar \"${sidecar}\": port", value = c.port, low = 1, high = 65535 },
        { field = "sidecar \"${sidecar}\": cpu", value = c.cpu, low = 1, high = s.cpu },
        { field = "sidecar \"${sidecar}\": memory", value = c.memory, low = 6, high = s.memory },
      ]],
      [for at, c in merge({ "" = s }, { for sidecar, c in s.sidecars : "sidecar \"${sidecar}\": " => c }) : [
        { field = "${at}stop_timeout", value = c.stop_timeout, low = 2, high = 120 },
        { field = "${at}health_check: interval", value = try(c.health_check.interval, 0), low = 5, high = 300 },
        { field = "${at}health_check: timeout", value = try(c.health_check.timeout, 0), low = 2, high = 60 },
        { field = "${at}health_check: retries", value = try(c.health_check.retries, 0), low = 1, high = 10 },
        { field = "${at}health_check: start_period", value = try(c.health_check.start_period, 0), low = 0, high = 300 },
      ]],
    ]) : field if try(field.value, 0) != 0],
  ) }

  # ECS's limits: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentConfiguration.html
  strategies = ["rolling", "blue_green", "canary", "linear"]
  thresholds = ["count", "bounded_percent", "unbounded_percent"]

  strategy_problems = { for name, s in var.services : name => flatten([for strategy in s.strategy == null ? [] : [s.strategy] :
    !contains(local.strategies, strategy.type) ? ["strategy: type \"${strategy.type}\" must be one of ${join(", ", local.strategies)}"] : flatten([
      s.schedule == "" ? "" : "strategy needs a service, and a job has none: remove it",
      [for field in [
        { name = "percent", set = strategy.percent != 0, of = ["canary", "linear"] },
        { name = "step_bake_minutes", set = strategy.step_bake_minutes != null, of = ["canary", "linear"] },
        { name = "bake_minutes", set = strategy.bake_minutes != null, of = ["blue_green", "canary", "linear"] },
        { name = "early_success_percent", set = strategy.early_success_percent != 0, of = ["rolling"] },
        { name = "failure_threshold", set = strategy.failure_threshold != null, of = ["rolling"] },
      ] : "strategy: ${field.name} does not apply to type \"${strategy.type}\": remove it" if field.set && !contains(field.of, strategy.type)],
      [for least in [strategy.type == "linear" ? 3 : 0.1] :
        "strategy: percent ${strategy.percent} must be between ${least} and 100"
      if strategy.percent != 0 && (strategy.percent < least || strategy.percent > 100)],
      abs(strategy.percent * 10 - floor(strategy.percent * 10 + 0.5)) < 0.000001 ? "" : "strategy: percent ${strategy.percent} must be in tenths, such as 2.5",
      contains([0, 100], strategy.early_success_percent)
      ? "" : "strategy: early_success_percent ${strategy.early_success_percent} must be 100: the platform keeps 100 % of tasks healthy, and ECS allows no less",
      strategy.failure_threshold == null || contains(local.thresholds, try(strategy.failure_threshold.type, ""))
      ? "" : "strategy: failure_threshold: type \"${try(strategy.failure_threshold.type, "")}\" must be one of ${join(", ", local.thresholds)}",
      local.shifts[name] && length(s.routes) > 5
      ? "${length(s.routes)} routes are too many for strategy \"${strategy.type}\": ECS shifts one listener rule, which has at most 5 patterns; use fewer, or type \"rolling\"" : "",
  ])]) }

  # The task's own size and that of the task before a release.
  sizes = { for name, s in var.services : name => concat(
    [{ at = "", cpu = s.cpu, memory = s.memory }],
    s.release_task == null ? [] : [{
      at     = "release_task: "
      cpu    = try(s.release_task.cpu, 0) != 0 ? s.release_task.cpu : s.cpu
      memory = try(s.release_task.memory, 0) != 0 ? s.release_task.memory : s.memory
    }],
  ) }

  size_problems = { for name, s in var.services : name => flatten([
    [for size in local.sizes[name] : contains(keys(local.fargate_memory), tostring(size.cpu))
      ? (contains(local.fargate_memory[tostring(size.cpu)], size.memory) ? "" : "${size.at}memory ${size.memory} is not available with cpu ${size.cpu}: want one of ${join(", ", local.fargate_memory[tostring(size.cpu)])}")
      : "${size.at}cpu ${size.cpu} is not a Fargate size: want one of ${join(", ", [for cpu in sort(formatlist("%5s", keys(local.fargate_memory))) : trimspace(cpu)])}"
    ],
    [for b in local.bounds[name] : "${b.field} ${b.value} must be between ${b.low} and ${b.high}" if try(b.value < b.low || b.value > b.high, false)],
    [for b in concat(local.bounds[name], [{ field = "port", value = s.port }]) : "${b.field} ${b.value} must be a whole number" if try(b.value != floor(b.value), false)],
    contains(["", "X86_64", "ARM64"], s.architecture) ? "" : "architecture \"${s.architecture}\" must be X86_64 or ARM64",
    try(s.scaling.requests_per_task, 0) != 0 && s.port == 0 ? "scaling: requests_per_task needs a port: a worker has no requests" : "",
  ]) }

  schedule_problems = { for name, s in var.services : name => s.schedule == "" ? [
    s.schedule_timezone == "" ? "" : "schedule_timezone without schedule: remove it",
    ] : [
    can(regex(local.patterns.rate, s.schedule)) || can(regex(local.patterns.cron, s.schedule))
    ? "" : "schedule \"${s.schedule}\" is no expression of EventBridge Scheduler: write it like \"rate(5 minutes)\" or \"cron(0 3 * * ? *)\"",
    s.schedule_timezone == "" || can(regex(local.patterns.timezone, s.schedule_timezone)) && s.schedule_timezone != "Local"
    ? "" : "schedule_timezone \"${s.schedule_timezone}\" is no time zone: write it like \"Europe/Berlin\"",
    s.port == 0 && local.services[name].desired_count == 0 && s.min_count == null && s.max_count == null && s.scaling == null
    ? "" : "a job with a schedule has no port, desired_count, min_count, max_count or scaling: remove them",
  ] }

  permission_problems = { for name, s in var.services : name => flatten([for n, p in s.permissions : [
    length(p.actions) > 0 && length(p.resources) > 0 ? "" : "permissions[${n}] needs actions and resources",
    [for action in p.actions : "permissions[${n}]: action \"${action}\" must be like \"s3:GetObject\"" if !can(regex(local.patterns.action, action))],
    [for resource in p.resources : "permissions[${n}]: resource \"${resource}\" must be an ARN, or \"*\"" if !can(regex(local.patterns.resource, resource))],
    [for name in concat(p.actions, p.resources) : "permissions[${n}] has the action or resource \"${name}\": name what the code needs, or give a reason"
    if trimspace(p.reason) == "" && can(regex(local.patterns.everything, name))],
  ]]) }
}

locals {
  container_problems = { for name, s in var.services : name => flatten([
    length(s.sidecars) >= 10 ? "${length(s.sidecars)} sidecars are too many: a task has at most 10 containers" : "",
    s.health_check != null && try(s.health_check.path, "") != "" && (s.port == 0 || s.kind == "go")
    ? "health_check: path needs a port and wget in the image, which kind \"go\" has not: give a command" : "",
    [for variable in keys(s.environment) : "environment sets ${variable}, which the pipeline sets: remove it" if contains(["PORT", "VERSION"], variable)],

    # The main container and the sidecars.
    [for at, c in merge({ "" = s }, { for sidecar, c in s.sidecars : "sidecar \"${sidecar}\": " => c }) : [
      [for variable in keys(c.environment) : "${at}environment \"${variable}\" must be letters, digits and underscores, not beginning with a digit" if !can(regex(local.patterns.variable, variable))],
      [for variable, value in c.environment : "${at}environment \"${variable}\" has a NUL character: remove it" if can(regex("\\x00", value))],
      [for variable, value in c.environment : "${at}environment.${variable} is null: give a value, or remove it" if value == null],
      [for variable in setintersection(keys(c.environment), keys(c.secrets)) : "${at}${variable} is in environment and secrets: remove one"],
      [for variable in keys(c.secrets) : "${at}secret \"${variable}\" must be letters, digits and underscores, not beginning with a digit" if !can(regex(local.patterns.variable, variable))],
      [for variable, from in c.secrets :
        "${at}secret ${variable} must be the ARN of a Secrets Manager secret, with a JSON key as arn:…:secret:NAME:KEY::, or the name of a parameter"
      if !anytrue([for pattern in ["secret_arn", "parameter_arn", "parameter_name"] : can(regex(local.patterns[pattern], from))])],
      [for variable, part in { for variable, from in c.secrets : variable => split(":", from) if can(regex(local.patterns.secret_arn, from)) || can(regex(local.patterns.parameter_arn, from)) } :
        [for partition in [try(local.partitions[regex(local.region_partition, part[3])[0]], "aws")] :
          "${at}secret ${variable} is in partition ${part[1]}, but region ${part[3]} is in ${partition}: correct the ARN"
      if part[1] != partition]],
      [for variable, from in c.secrets : "${at}secret ${variable} is in region ${split(":", from)[3]}, and the service in ${var.region}: use a secret of the same region"
      if startswith(from, "arn:") && try(split(":", from)[3] != var.region, false)],
      c.user == "" || can(regex(local.patterns.user, c.user)) ? "" : "${at}user \"${c.user}\" must be like \"1000:1000\"",

      [for check in c.health_check == null ? [] : [c.health_check] : [
        (length(check.command) == 0) == (check.path == "") ? "${at}health_check: give either command or path" : "",
        check.path == "" || startswith(check.path, "/") ? "" : "${at}health_check: path \"${check.path}\" must begin with \"/\"",
        length(check.command) == 0 || join(" ", check.command) == "NONE" || length(check.command) > 1 && contains(["CMD", "CMD-SHELL"], try(check.command[0], ""))
        ? "" : "${at}health_check: command must begin with \"CMD\" or \"CMD-SHELL\", or be [\"NONE\"]",
      ]],
    ]],

    [for sidecar, c in s.sidecars : [
      can(regex(local.patterns.ecs_name, sidecar)) && sidecar != local.services[name].container
      ? "" : "sidecar \"${sidecar}\": the name must be letters, digits, hyphens and underscores, and not that of the main container",
      (c.image == "") == (c.image_of == "") ? "sidecar \"${sidecar}\": give either image or image_of" : "",
      c.image == "" || can(regex(local.patterns.digest_image, c.image)) ? "" : "sidecar \"${sidecar}\": image \"${c.image}\" must have a digest, such as collector@sha256:…",
      c.image_of == "" || contains(keys(var.services), c.image_of) ? "" : "sidecar \"${sidecar}\": image_of \"${c.image_of}\" is no entry of the services file",
      c.port != 0 && c.port == s.port ? "sidecar \"${sidecar}\": port ${c.port} is that of the main container: give it another" : "",
      try(c.health_check.path, "") == "" ? "" : "sidecar \"${sidecar}\": health_check: path applies to the main container: give a command",
    ]],

    [for d in local.dependencies[name] : [
      !contains(keys(local.waits[name]), d.on)
      ? "container \"${d.container}\" depends on \"${d.on}\", which is no container of the entry: it has ${join(", ", keys(local.waits[name]))}" : "",
      contains(["START", "COMPLETE", "SUCCESS", "HEALTHY"], d.condition)
      ? "" : "container \"${d.container}\" depends on \"${d.on}\" with the condition \"${d.condition}\": want START, COMPLETE, SUCCESS or HEALTHY",
      d.condition == "HEALTHY" && !d.checked ? "container \"${d.container}\" depends on \"${d.on}\" being HEALTHY, but that has no health_check: give it one" : "",
      contains(["COMPLETE", "SUCCESS"], d.condition) && d.essential
      ? "container \"${d.container}\" depends on \"${d.on}\" to end, but that is essential, so the task would end with it: set essential to false" : "",
    ]],
    length(local.circles[name]) == 0 ? "" : "containers \"${join("\", \"", local.circles[name])}\" depend on each other in a circle: remove one dependency",
  ]) }

  circles = { for name, waits in local.waits_16 : name => [for container, on in waits : container if contains(on, container)] }

  # depends_on of containers.
  depends_on = { for name, s in var.services : name => merge({ for sidecar, c in s.sidecars : sidecar => c.depends_on }, { (local.services[name].container) = s.depends_on }) }

  # Dependencies of containers, with what matters of the container that is waited for.
  dependencies = { for name, s in var.services : name => flatten([
    for container, conditions in local.depends_on[name] : [
      for on, condition in conditions : {
        container = container, on = on, condition = condition
        essential = try(s.sidecars[on].essential, true)
        checked   = contains(keys(s.sidecars), on) ? try(length(s.sidecars[on].health_check.command) > 0 && join(" ", s.sidecars[on].health_check.command) != "NONE", false) : local.services[name].health_checked
      }
    ]
  ]) }

  # The containers that each container waits for, over at most 1, 2, 4, 8 and 16 steps.
  # A task has at most 10 containers.
  waits    = { for name, containers in local.depends_on : name => { for container, conditions in containers : container => keys(conditions) } }
  waits_2  = { for name, waits in local.waits : name => { for container, on in waits : container => distinct(concat(on, flatten([for other in on : lookup(waits, other, [])]))) } }
  waits_4  = { for name, waits in local.waits_2 : name => { for container, on in waits : container => distinct(concat(on, flatten([for other in on : lookup(waits, other, [])]))) } }
  waits_8  = { for name, waits in local.waits_4 : name => { for container, on in waits : container => distinct(concat(on, flatten([for other in on : lookup(waits, other, [])]))) } }
  waits_16 = { for name, waits in local.waits_8 : name => { for container, on in waits : container => distinct(concat(on, flatten([for other in on : lookup(waits, other, [])]))) } }

  volume_problems = { for name, s in var.services : name => flatten([
    [for volume, v in s.volumes : [
      can(regex(local.patterns.ecs_name, volume)) ? "" : "volume \"${volume}\": the name must be 1 to 255 letters, digits, hyphens and underscores",
      can(regex("^(/[^/]+)+$", v.mount_path)) && length(setintersection(split("/", v.mount_path), [".", ".."])) == 0
      ? "" : "volume \"${volume}\": mount_path \"${v.mount_path}\" must be an absolute path, such as /data",
      (v.efs_file_system == "") == (v.efs_access_point == "") ? "" : "volume \"${volume}\": give both efs_file_system and efs_access_point",
      v.efs_file_system == "" || can(regex(local.patterns.efs, v.efs_file_system)) ? "" : "volume \"${volume}\": efs_file_system \"${v.efs_file_system}\" must be like fs-0123456789abcdef0",
      v.efs_access_point == "" || can(regex(local.patterns.access_point, v.efs_access_point)) ? "" : "volume \"${volume}\": efs_access_point \"${v.efs_access_point}\" must be like fsap-0123456789abcdef0",
      v.efs_file_system != "" && v.tmpfs_size != 0 ? "volume \"${volume}\": it is either of EFS or in memory: remove tmpfs_size or efs_file_system" : "",
      [for container in v.containers : "volume \"${volume}\": container \"${container}\" is not in the entry" if !contains(keys(local.waits[name]), container)],
    ]],
    [for mount, volumes in { for m in local.mounts[name] : "${m.container} at ${m.path}" => m.volume... } :
      "volume \"${volumes[1]}\": container ${mount} has volume \"${volumes[0]}\", too: give one of them another mount_path"
    if length(volumes) > 1],
  ]) }

  # Where containers mount volumes.
  mounts = { for name, s in var.services : name => flatten([for volume, v in s.volumes : [
    for container in length(v.containers) > 0 ? v.containers : [local.services[name].container] : { volume = volume, container = container, path = v.mount_path }
  ]]) }

  release_task_problems = { for name, s in var.services : name => s.release_task == null ? [] : [
    length(try(s.release_task.command, [])) > 0 ? "" : "release_task has no command: give one, such as [\"migrate\"]",
    s.schedule == "" ? "" : "release_task needs a service, and a job has none: give it to another entry",
  ] }
}
