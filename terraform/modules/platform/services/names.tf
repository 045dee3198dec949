# Names of an entry's resources. ci/internal/config/platform derives the same.
#
# Names that no pipeline looks up (roles, alarms, security groups) are derived from the
# entry's name even if it names its service or family, because the apply role may only
# create roles and alarms with such names.
locals {
  services = { for name, s in var.services : name => merge(s, {
    service      = s.service != "" ? s.service : "${var.prefix}-${name}-service"
    family       = s.family != "" ? s.family : "${var.prefix}-${name}-task"
    container    = s.container != "" ? s.container : name
    cluster      = s.cluster != "" ? s.cluster : var.cluster
    repository   = s.repository != "" ? s.repository : local.build_repository[local.build[name]]
    schedule_of  = s.service != "" ? s.service : "${var.prefix}-${name}-schedule"
    log_group    = "/ecs/${var.prefix}-${name}"
    target_group = "${var.prefix}-${name}-tg"
    alternate    = "${var.prefix}-${name}-t2" # target group of every other version, if traffic is shifted
    derived      = "${var.prefix}-${name}"

    desired_count = s.desired_count != null ? s.desired_count : s.schedule == "" ? 1 : 0

    web    = s.port != 0
    job    = s.schedule != ""
    shifts = local.shifts[name]
    health_checked = (s.health_check == null
      ? s.port != 0 && contains(["go", "nginx"], s.kind)
      : try(s.health_check.command, []) != tolist(["NONE"])
    )
  }) }

  # A text that is equal for entries with the same image.
  build = { for name, s in var.services : name => jsonencode([
    s.kind, s.path, s.kind == "go" && s.main == "" ? "./cmd/server" : s.main, s.build_tags, s.files,
    s.kind == "dockerfile" ? abspath("/${s.path}/${s.dockerfile != "" ? s.dockerfile : "Dockerfile"}") : s.dockerfile,
    s.target, s.build_args, s.build_secrets, s.image,
  ]) }

  # Entries with the same image share the repository of the first of them by name.
  build_names = { for name, text in local.build : text => name... }
  build_repository = { for text, names in local.build_names :
    text => var.services[names[0]].repository != "" ? var.services[names[0]].repository : "${var.repository_prefix}-${names[0]}"
  }
}
