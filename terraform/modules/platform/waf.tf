# Web application firewall of the load balancer, created if waf is true.

locals {
  waf_rules = { # by priority
    1 = "AWSManagedRulesAmazonIpReputationList"
    2 = "AWSManagedRulesKnownBadInputsRuleSet"
    3 = "AWSManagedRulesCommonRuleSet"
  }
}

resource "aws_wafv2_web_acl" "main" {
  count = var.waf ? 1 : 0

  name        = "${local.prefix}-alb"
  description = "Before ${local.prefix}-alb"
  scope       = "REGIONAL"

  default_action {
    allow {}
  }

  rule {
    name     = "rate"
    priority = 0
    action {
      block {}
    }
    statement {
      rate_based_statement {
        limit              = var.waf_rate_limit
        aggregate_key_type = "IP"
      }
    }
    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "${local.prefix}-alb-rate"
      sampled_requests_enabled   = true
    }
  }

  dynamic "rule" {
    for_each = var.waf ? local.waf_rules : {} # so that they are decoded only with a firewall: their schema is the largest
    content {
      name     = rule.value
      priority = rule.key
      override_action {
        none {}
      }
      statement {
        managed_rule_group_statement {
          vendor_name = "AWS"
          name        = rule.value
        }
      }
      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = "${local.prefix}-alb-${rule.value}"
        sampled_requests_enabled   = true
      }
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = "${local.prefix}-alb"
    sampled_requests_enabled   = true
  }
}

resource "aws_wafv2_web_acl_association" "alb" {
  count = var.waf ? 1 : 0

  resource_arn = aws_lb.main.arn
  web_acl_arn  = aws_wafv2_web_acl.main[0].arn
}
