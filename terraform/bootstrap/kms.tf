# The platform's own key. Alarms need it: CloudWatch cannot write to a topic that
# is encrypted with AWS's key for SNS. It is made here because whoever may create and
# tag keys could tag, and so take over, any key of the account.
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
