# The platform's own key. Alarms need it: CloudWatch cannot write to a topic that
# is encrypted with AWS's key for SNS. customer_managed_encryption uses it for more.
resource "aws_kms_key" "platform" {
  description             = "Alarms, and by choice images and logs, of ${local.cluster}"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Without it nobody could ever change the key again. It gives the account's
        # own policies their say, and nothing to anybody by itself.
        Sid       = "AccountDecides"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "AlarmsWrite"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
      },
      {
        Sid       = "LogsWrite"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
        Resource  = "*"
        Condition = {
          ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:${local.partition}:logs:${var.region}:${local.account}:log-group:*" }
        }
      },
    ]
  })
}

resource "aws_kms_alias" "platform" {
  name          = "alias/${local.prefix}-platform"
  target_key_id = aws_kms_key.platform.key_id
}
