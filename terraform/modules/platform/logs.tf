resource "aws_cloudwatch_log_group" "service" {
  for_each = local.services

  name              = each.value.log_group
  retention_in_days = var.log_retention_days
  kms_key_id        = var.customer_managed_encryption ? data.aws_kms_alias.platform.target_key_arn : null
}

# Otherwise Container Insights creates this log group without a retention period.
resource "aws_cloudwatch_log_group" "insights" {
  name              = "/aws/ecs/containerinsights/${local.cluster}/performance"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.customer_managed_encryption ? data.aws_kms_alias.platform.target_key_arn : null
}

resource "aws_cloudwatch_log_group" "flow" {
  name              = "/vpc/${local.prefix}-flow-logs"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.customer_managed_encryption ? data.aws_kms_alias.platform.target_key_arn : null
}

resource "aws_flow_log" "main" {
  vpc_id                   = aws_vpc.main.id
  traffic_type             = "ALL"
  log_destination_type     = "cloud-watch-logs"
  log_destination          = aws_cloudwatch_log_group.flow.arn
  iam_role_arn             = aws_iam_role.flow_logs.arn
  max_aggregation_interval = 600
  tags                     = { Name = "${local.prefix}-flow-logs" }
}
