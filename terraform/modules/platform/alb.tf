# The load balancer is public on purpose.
#trivy:ignore:AWS-0053
resource "aws_lb" "main" {
  name               = "${local.prefix}-alb"
  load_balancer_type = "application"
  internal           = false
  subnets            = [for az in var.azs : aws_subnet.public[az].id]
  security_groups    = [aws_security_group.alb.id]

  drop_invalid_header_fields = true
  desync_mitigation_mode     = "defensive"
  enable_deletion_protection = var.deletion_protection

  # Longer than the page's poll interval, shorter than the keep-alive timeout of backend
  # and Nginx (75 s), so that the load balancer closes idle connections first.
  idle_timeout = 60

  dynamic "access_logs" {
    for_each = aws_s3_bucket.access_logs
    content {
      bucket  = access_logs.value.id
      enabled = true
    }
  }

  # AWS writes a test object as soon as access logs are enabled.
  depends_on = [aws_s3_bucket_policy.access_logs]
}

locals {
  # Target groups. A service whose traffic ECS shifts has two, which take turns.
  alternate     = { for name, s in local.shifted : "${name} alternate" => merge(s, { target_group = s.alternate }) }
  target_groups = { for name in keys(local.web) : name => concat([name], contains(keys(local.shifted), name) ? ["${name} alternate"] : []) }
}

resource "aws_lb_target_group" "service" {
  for_each = merge(local.web, local.alternate)

  name        = each.value.target_group
  port        = each.value.port
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = aws_vpc.main.id

  # Requests take well below a second; AWS's default of 300 s only delays a deployment.
  deregistration_delay = 15

  # A new task gets traffic after 20 s, a failing one loses it after 20 s (AWS's
  # defaults: 150 s and 60 s).
  health_check {
    path                = each.value.health_path
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

# Serves HTTP without a certificate and redirects to HTTPS with one. A certificate needs
# a domain, so ELB.1 is met by setting certificate_arn.
#trivy:ignore:AWS-0054
resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.main.arn
  port              = 80
  # Plain HTTP is served only without a certificate; otherwise this listener redirects.
  protocol = "HTTP"

  dynamic "default_action" {
    for_each = var.certificate_arn == null ? [] : [1]
    content {
      type = "redirect"
      redirect {
        protocol    = "HTTPS"
        port        = "443"
        status_code = "HTTP_301"
      }
    }
  }
  dynamic "default_action" {
    for_each = var.certificate_arn == null ? local.default_forward : []
    content {
      type             = "forward"
      target_group_arn = aws_lb_target_group.service[default_action.value].arn
    }
  }
  dynamic "default_action" {
    for_each = var.certificate_arn == null ? local.default_404 : []
    content {
      type = "fixed-response"
      fixed_response {
        content_type = "application/json"
        message_body = default_action.value
        status_code  = "404"
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  count = var.certificate_arn == null ? 0 : 1

  load_balancer_arn = aws_lb.main.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = var.tls_policy
  certificate_arn   = var.certificate_arn

  dynamic "default_action" {
    for_each = local.default_forward
    content {
      type             = "forward"
      target_group_arn = aws_lb_target_group.service[default_action.value].arn
    }
  }
  dynamic "default_action" {
    for_each = local.default_404
    content {
      type = "fixed-response"
      fixed_response {
        content_type = "application/json"
        message_body = default_action.value
        status_code  = "404"
      }
    }
  }
}

locals {
  front_listener  = var.certificate_arn == null ? aws_lb_listener.http.arn : aws_lb_listener.https[0].arn
  default_forward = local.catch_all == null ? [] : [local.catch_all]
  default_404     = local.catch_all == null ? [jsonencode({ error = "not found" })] : []
}

resource "aws_lb_listener_rule" "route" {
  for_each = local.rules

  listener_arn = local.front_listener
  priority     = local.route_priority[each.key]
  tags         = { Name = each.value }

  condition {
    path_pattern {
      values = [each.key]
    }
  }
  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service[each.value].arn
  }

  lifecycle {
    precondition {
      condition     = !contains(keys(local.same_priority), tostring(local.route_priority[each.key]))
      error_message = lookup(local.same_priority, local.route_priority[each.key], "")
    }
  }
}

# The rules of services whose traffic ECS shifts: one for production and one for test
# traffic. ECS sets the weights of both, which Terraform must leave.
resource "aws_lb_listener_rule" "production" {
  for_each = local.shifted

  listener_arn = local.front_listener
  priority     = local.route_priority[each.value.routes[0]]
  tags         = { Name = each.key }

  condition {
    path_pattern {
      values = each.value.routes
    }
  }
  action {
    type = "forward"
    forward {
      dynamic "target_group" {
        for_each = local.target_groups[each.key]
        content {
          arn    = aws_lb_target_group.service[target_group.value].arn
          weight = target_group.value == each.key ? 100 : 0
        }
      }
    }
  }

  # When an entry's strategy changes, the new rules must be there before the old ones are
  # deleted, in both directions. This order needs the dependency and create_before_destroy.
  depends_on = [aws_lb_listener_rule.route]
  lifecycle {
    create_before_destroy = true
    ignore_changes        = [action]
    precondition {
      condition     = !contains(keys(local.same_priority), tostring(local.route_priority[each.value.routes[0]]))
      error_message = lookup(local.same_priority, local.route_priority[each.value.routes[0]], "")
    }
  }
}

resource "aws_lb_listener_rule" "test" {
  for_each = local.shifted

  listener_arn = aws_lb_listener.test[0].arn
  priority     = local.route_priority[each.value.routes[0]]
  tags         = { Name = each.key }

  condition {
    path_pattern {
      values = each.value.routes
    }
  }
  action {
    type = "forward"
    forward {
      dynamic "target_group" {
        for_each = local.target_groups[each.key]
        content {
          arn    = aws_lb_target_group.service[target_group.value].arn
          weight = target_group.value == each.key ? 100 : 0
        }
      }
    }
  }

  lifecycle {
    ignore_changes = [action]
  }
}

# Test traffic, to new versions before they get production traffic.
#trivy:ignore:AWS-0054
resource "aws_lb_listener" "test" {
  count = length(local.shifted) > 0 ? 1 : 0

  load_balancer_arn = aws_lb.main.arn
  port              = var.test_listener_port
  protocol          = var.certificate_arn == null ? "HTTP" : "HTTPS"
  ssl_policy        = var.certificate_arn == null ? null : var.tls_policy
  certificate_arn   = var.certificate_arn

  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "application/json"
      message_body = jsonencode({ error = "not found" })
      status_code  = "404"
    }
  }
}
