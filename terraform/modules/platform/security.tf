# Allowed traffic: clients to the load balancer, the load balancer to each service's
# port, services to AWS, and to EFS if they have a volume of it. Services cannot connect to
# each other.

locals {
  front_ports = var.certificate_arn == null ? [80] : [80, 443]
  front_rules = { for pair in setproduct(local.front_ports, var.allowed_cidrs) : "${pair[0]} ${pair[1]}" => { port = pair[0], cidr = pair[1] } }
}

resource "aws_security_group" "alb" {
  name        = "${local.prefix}-alb"
  description = "The load balancer: open to clients, reaches services"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${local.prefix}-alb" }
}

resource "aws_vpc_security_group_ingress_rule" "alb" {
  for_each = local.front_rules

  security_group_id = aws_security_group.alb.id
  description       = "Clients"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
}

resource "aws_vpc_security_group_ingress_rule" "alb_test" {
  for_each = length(local.shifted) > 0 ? coalesce(var.test_listener_cidr_blocks, var.allowed_cidrs) : []

  security_group_id = aws_security_group.alb.id
  description       = "Tests of new versions"
  ip_protocol       = "tcp"
  from_port         = var.test_listener_port
  to_port           = var.test_listener_port
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_egress_rule" "alb" {
  for_each = local.web

  security_group_id            = aws_security_group.alb.id
  description                  = "Service ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = aws_security_group.service[each.key].id
}

resource "aws_security_group" "service" {
  for_each = local.services

  name        = "${each.value.derived}-service-tasks"
  description = "Tasks of service ${each.key}"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${each.value.derived}-service-tasks" }
}

resource "aws_vpc_security_group_ingress_rule" "service" {
  for_each = local.web

  security_group_id            = aws_security_group.service[each.key].id
  description                  = "Load balancer"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = aws_security_group.alb.id
}

# NAT exists for HTTPS to any address; nat = "none" uses the two rules below instead.
#trivy:ignore:AWS-0104
resource "aws_vpc_security_group_egress_rule" "service_to_internet" {
  for_each = var.nat == "none" ? {} : local.services

  security_group_id = aws_security_group.service[each.key].id
  description       = "AWS and other services, by HTTPS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "service_to_endpoints" {
  for_each = var.nat == "none" ? local.services : {}

  security_group_id            = aws_security_group.service[each.key].id
  description                  = "VPC endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.endpoints.id
}

resource "aws_vpc_security_group_egress_rule" "service_to_s3" {
  for_each = var.nat == "none" ? local.services : {}

  security_group_id = aws_security_group.service[each.key].id
  description       = "Image layers in S3"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_id    = aws_vpc_endpoint.s3.prefix_list_id
}

# EFS's mount targets must be in this network, with a security group that is open to that
# of the service.
resource "aws_vpc_security_group_egress_rule" "service_to_efs" {
  for_each = { for name, s in local.services : name => s if anytrue([for v in s.volumes : v.efs_file_system != ""]) }

  security_group_id = aws_security_group.service[each.key].id
  description       = "EFS"
  ip_protocol       = "tcp"
  from_port         = 2049
  to_port           = 2049
  cidr_ipv4         = var.vpc_cidr
}

resource "aws_security_group" "endpoints" {
  name        = "${local.prefix}-endpoints"
  description = "VPC endpoints: open to tasks"
  vpc_id      = aws_vpc.main.id
  tags        = { Name = "${local.prefix}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each = local.services

  security_group_id            = aws_security_group.endpoints.id
  description                  = "Tasks of service ${each.key}"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = aws_security_group.service[each.key].id
}
