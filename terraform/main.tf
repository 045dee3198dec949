# The platform of the services in services.auto.tfvars.json.
provider "aws" {
  region = module.platform.region

  default_tags {
    tags = module.platform.tags
  }
}

module "platform" {
  source = "./modules/platform"

  services                    = var.services
  initial_images              = var.initial_images
  cpu_architecture            = var.cpu_architecture
  service_overrides           = var.service_overrides
  project_name                = var.project_name
  environment                 = var.environment
  name_prefix                 = var.name_prefix
  account_id                  = var.account_id
  repository                  = var.repository
  region                      = var.region
  permissions_boundary_name   = var.permissions_boundary_name
  registry_account            = var.registry_account
  pull_accounts               = var.pull_accounts
  vpc_cidr                    = var.vpc_cidr
  azs                         = var.azs
  public_subnets              = var.public_subnets
  private_subnets             = var.private_subnets
  nat                         = var.nat
  vpc_endpoints               = var.vpc_endpoints
  domain_name                 = var.domain_name
  certificate_arn             = var.certificate_arn
  tls_policy                  = var.tls_policy
  allowed_cidrs               = var.allowed_cidrs
  test_listener_port          = var.test_listener_port
  test_listener_cidr_blocks   = var.test_listener_cidr_blocks
  deletion_protection         = var.deletion_protection
  alb_access_logs             = var.alb_access_logs
  waf                         = var.waf
  waf_rate_limit              = var.waf_rate_limit
  log_retention_days          = var.log_retention_days
  images_to_keep              = var.images_to_keep
  customer_managed_encryption = var.customer_managed_encryption
  container_insights          = var.container_insights
  alarm_emails                = var.alarm_emails
  alarm_thresholds            = var.alarm_thresholds
  autoscaling                 = var.autoscaling
}
