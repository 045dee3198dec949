output "services" {
  description = "The services with the names of their resources."
  value       = local.services

  precondition {
    condition     = length(local.problems) == 0
    error_message = "${join("; ", local.problems)}."
  }
}

output "route_priority" {
  description = "Priorities of the listener rules, by route."
  value       = local.route_priority
}
