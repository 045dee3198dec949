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

  # load_balancer
  assert {
    condition     = !aws_lb.main.internal && aws_lb.main.load_balancer_type == "application"
    error_message = "the load balancer must be public"
  }
  assert {
    condition     = aws_lb.main.drop_invalid_header_fields
    error_message = "ELB.4: invalid headers must be dropped"
  }
  assert {
    condition     = aws_lb.main.enable_deletion_protection
    error_message = "ELB.6: the load balancer must be protected from deletion"
  }
  assert {
    condition     = contains(["defensive", "strictest"], aws_lb.main.desync_mitigation_mode)
    error_message = "ELB.12: desync must be mitigated"
  }
  assert {
    condition     = length(aws_subnet.public) >= 2
    error_message = "ELB.13: the load balancer must be in several zones"
  }
  assert {
    condition     = length(aws_lb.main.access_logs) == 0 && length(aws_wafv2_web_acl.main) == 0
    error_message = "what costs is off by default"
  }

  # a_bad_task_is_out_in_half_a_minute
  assert {
    condition     = alltrue([for g in aws_lb_target_group.service : g.deregistration_delay == "15" && g.target_type == "ip"])
    error_message = "draining must take 15 s"
  }
  assert {
    condition     = alltrue([for g in aws_lb_target_group.service : g.health_check[0].interval == 10 && g.health_check[0].healthy_threshold == 2 && g.health_check[0].unhealthy_threshold == 2 && g.health_check[0].matcher == "200" && g.health_check[0].timeout < g.health_check[0].interval])
    error_message = "health must be judged every 10 s, by two answers"
  }
  assert {
    condition     = { for k, g in aws_lb_target_group.service : k => g.health_check[0].path } == { backend = "/health", frontend = "/healthz" }
    error_message = "health must be asked for where the service answers it"
  }

  # http
  # In the reference system the frontend answered /health with 200 and HTML, and the
  # documented /api/health returned 404. Both belong to the backend.
  assert {
    condition     = aws_lb_listener.http.port == 80 && aws_lb_listener.http.default_action[0].type == "forward" && length(aws_lb_listener.https) == 0
    error_message = "port 80 must serve"
  }
  assert {
    condition     = toset(keys(aws_lb_listener_rule.route)) == toset(["/api", "/api/*", "/health"]) && toset(values(local.rules)) == toset(["backend"]) && local.catch_all == "frontend"
    error_message = "/api, /api/* and /health are the backend's, the rest the frontend's"
  }
  assert {
    condition     = length(distinct([for r in aws_lb_listener_rule.route : r.priority])) == 3 && alltrue([for r in aws_lb_listener_rule.route : r.priority >= 1 && r.priority <= 50000])
    error_message = "priorities must differ, and be AWS's"
  }
  assert {
    condition     = aws_lb_listener_rule.route["/api"].priority < aws_lb_listener_rule.route["/api/*"].priority
    error_message = "a route without a wildcard must come first"
  }
}

run "https" {
  command = plan
  variables {
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/0a0a0a0a-0000-0000-0000-000000000000"
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].type == "redirect" && aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS" && aws_lb_listener.http.default_action[0].redirect[0].status_code == "HTTP_301"
    error_message = "ELB.1: port 80 must redirect"
  }
  assert {
    condition     = aws_lb_listener.https[0].port == 443 && aws_lb_listener.https[0].protocol == "HTTPS" && aws_lb_listener.https[0].ssl_policy == "ELBSecurityPolicy-TLS13-1-2-Res-2021-06" && aws_lb_listener.https[0].default_action[0].type == "forward"
    error_message = "ELB.17: port 443 must serve, with a current policy"
  }
  assert {
    condition     = toset([for r in aws_vpc_security_group_ingress_rule.alb : r.from_port]) == toset([80, 443])
    error_message = "both ports must be open"
  }
}

run "choices" {
  command = plan
  variables {
    certificate_arn     = "arn:aws:acm:us-east-1:123456789012:certificate/0a0a0a0a-0000-0000-0000-000000000000"
    tls_policy          = "ELBSecurityPolicy-TLS13-1-3-2021-06"
    alb_access_logs     = true
    waf                 = true
    deletion_protection = false
  }

  # https_1_3_only
  assert {
    condition     = aws_lb_listener.https[0].ssl_policy == "ELBSecurityPolicy-TLS13-1-3-2021-06"
    error_message = "the policy must be the one asked for"
  }

  # by_choice
  # ELB.5 and ELB.16 on; ELB.6 (deletion protection) off, as before a destroy.
  assert {
    condition     = !aws_lb.main.enable_deletion_protection
    error_message = "protection must be off"
  }
  assert {
    condition     = aws_s3_bucket.access_logs[0].bucket == "ecs-alb-logs-123456789012-us-east-1" && aws_lb.main.access_logs[0].enabled
    error_message = "ELB.5: access logs must be written"
  }
  assert {
    condition     = aws_s3_bucket_public_access_block.access_logs[0].block_public_policy && aws_s3_bucket_public_access_block.access_logs[0].restrict_public_buckets && aws_s3_bucket_versioning.access_logs[0].versioning_configuration[0].status == "Enabled" && aws_s3_bucket_lifecycle_configuration.access_logs[0].rule[0].expiration[0].days == 14
    error_message = "the bucket must be closed, versioned and emptied"
  }
  assert {
    condition     = aws_wafv2_web_acl.main[0].scope == "REGIONAL" && length(aws_wafv2_web_acl.main[0].rule) == 4 && length(aws_wafv2_web_acl_association.alb) == 1
    error_message = "ELB.16: the firewall must stand before the load balancer"
  }
}
