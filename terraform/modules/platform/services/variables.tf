variable "services" {
  description = "The platform's variable services."
  type        = any # with the type of the platform's variable
  nullable    = false
}

variable "prefix" {
  description = "Prefix of all names."
  type        = string
  nullable    = false
}

variable "cluster" {
  description = "Name of the cluster of entries that name none."
  type        = string
  nullable    = false
}

variable "repository_prefix" {
  description = "Prefix of repository names."
  type        = string
  nullable    = false
}

variable "region" {
  description = "AWS region of the services, and so of their secrets."
  type        = string
  nullable    = false
}
