# The platform's own KMS key. Alarms need it, because CloudWatch cannot publish to a
# topic that is encrypted with the AWS managed key for SNS. It is created here and not
# by the platform: a role that may create and tag keys could tag any key of the account
# and so gain access to it.
resource "aws_kms_key" "platform" {
  description             = "Alarms, and by choice images and logs, of ${local.cluster}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = local.policies["key"]
}

resource "aws_kms_alias" "platform" {
  name          = "alias/${local.prefix}-platform"
  target_key_id = aws_kms_key.platform.key_id
}
