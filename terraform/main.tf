# The platform of the services in services.auto.tfvars.json. A root that slipway init writes
# is the same, with the module by its version.
variable "services" {
  description = "The services, by name."
  type        = any
}

variable "environment" {
  description = "Environment, if there are files environments/NAME.tfvars.json."
  type        = string
  default     = null
}

variable "settings" {
  description = "Inputs of the platform for one command: -var 'settings={deletion_protection=false}'. They override those in the call below and in the environment's file."
  type        = any
  default     = {}
}

provider "aws" {
  region = module.environment.region

  default_tags {
    tags = module.environment.tags
  }
}

module "environment" {
  source = "./modules/environment"

  services = var.services
  settings = merge(
    { region = "us-east-1", repository = "slipway" },
    jsondecode(var.environment == null ? "{}" : file("${path.root}/environments/${var.environment}.tfvars.json")),
    var.settings,
  )
}
