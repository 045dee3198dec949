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

run "defaults" {
  command = plan

  # reference_network
  assert {
    condition     = aws_vpc.main.cidr_block == "10.0.0.0/16" && aws_vpc.main.enable_dns_support && aws_vpc.main.enable_dns_hostnames
    error_message = "the VPC must be 10.0.0.0/16, with DNS"
  }
  assert {
    condition     = { for az, s in aws_subnet.public : az => s.cidr_block } == { us-east-1a = "10.0.1.0/24", us-east-1b = "10.0.2.0/24" } && { for az, s in aws_subnet.private : az => s.cidr_block } == { us-east-1a = "10.0.10.0/24", us-east-1b = "10.0.11.0/24" }
    error_message = "subnets must be the reference system's"
  }
  # EC2.15
  assert {
    condition     = alltrue([for s in concat(values(aws_subnet.public), values(aws_subnet.private)) : !s.map_public_ip_on_launch])
    error_message = "EC2.15: subnets must not give out public addresses"
  }
  # EC2.2
  assert {
    condition     = length(aws_default_security_group.main.ingress) == 0 && length(aws_default_security_group.main.egress) == 0
    error_message = "EC2.2: the default security group must be empty"
  }
  # EC2.6
  assert {
    condition     = aws_flow_log.main.traffic_type == "ALL" && aws_flow_log.main.log_destination_type == "cloud-watch-logs"
    error_message = "EC2.6: flow logs must be on"
  }

  # one_nat_gateway
  assert {
    condition     = keys(aws_nat_gateway.main) == ["us-east-1a"] && keys(aws_eip.nat) == ["us-east-1a"]
    error_message = "one gateway was asked for"
  }
  assert {
    condition     = keys(aws_route.nat) == ["us-east-1a", "us-east-1b"]
    error_message = "both zones must have a way out"
  }
  assert {
    condition     = keys(aws_vpc_security_group_egress_rule.service_to_internet) == ["backend", "frontend"] && length(aws_vpc_security_group_egress_rule.service_to_s3) == 0
    error_message = "tasks must reach the internet by HTTPS"
  }

  # ways_to_aws
  # EC2.10 requires the endpoint of EC2.
  assert {
    condition     = alltrue([for name in ["ec2", "ecr.api", "ecr.dkr", "logs"] : aws_vpc_endpoint.interface[name].private_dns_enabled && aws_vpc_endpoint.interface[name].service_name == "com.amazonaws.us-east-1.${name}"])
    error_message = "an endpoint is missing"
  }
  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && jsondecode(aws_vpc_endpoint.s3.policy).Statement[0].Resource == "arn:aws:s3:::prod-us-east-1-starport-layer-bucket/*"
    error_message = "S3 must be reachable for image layers, and for nothing else"
  }

  # only_open_ports_are_open
  # EC2.18. The reference system's tasks accepted every port.
  assert {
    condition     = [for r in aws_vpc_security_group_ingress_rule.alb : "${r.from_port}-${r.to_port} ${r.cidr_ipv4}"] == ["80-80 0.0.0.0/0"]
    error_message = "clients must reach port 80 only"
  }
  assert {
    condition     = { for k, r in aws_vpc_security_group_ingress_rule.service : k => "${r.from_port}-${r.to_port}" } == { backend = "8000-8000", frontend = "8080-8080" } && alltrue([for r in aws_vpc_security_group_ingress_rule.service : r.cidr_ipv4 == null])
    error_message = "tasks must be reached on their port only, and by the load balancer only"
  }
  assert {
    condition     = { for k, r in aws_vpc_security_group_egress_rule.alb : k => "${r.from_port}-${r.to_port}" } == { backend = "8000-8000", frontend = "8080-8080" }
    error_message = "the load balancer must reach services only"
  }
  assert {
    condition     = alltrue([for r in aws_vpc_security_group_egress_rule.service_to_internet : r.from_port == 443 && r.to_port == 443])
    error_message = "tasks must leave by HTTPS only"
  }
}

run "a_nat_gateway_in_each_zone" {
  command = plan
  variables {
    nat = "per_az"
  }

  assert {
    condition     = keys(aws_nat_gateway.main) == ["us-east-1a", "us-east-1b"] && local.nat_of == { us-east-1a = "us-east-1a", us-east-1b = "us-east-1b" }
    error_message = "each zone must use its own gateway"
  }
}

run "another_network_without_a_nat_gateway" {
  command = plan
  variables {
    nat             = "none"
    region          = "eu-central-1"
    vpc_cidr        = "10.8.0.0/16"
    azs             = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    public_subnets  = ["10.8.1.0/24", "10.8.2.0/24", "10.8.3.0/24"]
    private_subnets = ["10.8.11.0/24", "10.8.12.0/24", "10.8.13.0/24"]
    allowed_cidrs   = ["192.0.2.0/24"]
  }

  # no_nat_gateway
  assert {
    condition     = length(aws_nat_gateway.main) + length(aws_eip.nat) + length(aws_route.nat) == 0
    error_message = "no gateway was asked for"
  }
  assert {
    condition     = length(aws_vpc_security_group_egress_rule.service_to_internet) == 0
    error_message = "there is no internet to reach"
  }
  assert {
    condition     = keys(aws_vpc_security_group_egress_rule.service_to_endpoints) == ["backend", "frontend"] && keys(aws_vpc_security_group_egress_rule.service_to_s3) == ["backend", "frontend"]
    error_message = "tasks must reach endpoints and S3, or none starts"
  }

  # another_network
  assert {
    condition     = length(aws_subnet.private) == 3 && aws_vpc_endpoint.interface["logs"].service_name == "com.amazonaws.eu-central-1.logs"
    error_message = "region and zones must be followed"
  }
  assert {
    condition     = [for r in aws_vpc_security_group_ingress_rule.alb : r.cidr_ipv4] == ["192.0.2.0/24"]
    error_message = "clients must be those allowed"
  }
}
