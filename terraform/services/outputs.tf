output "services" {
  description = "The services with the names of their resources."
  value       = local.services

  precondition {
    condition     = length(local.problems) == 0
    error_message = "${join("; ", local.problems)}."
  }
}
