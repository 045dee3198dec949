# The own KMS key of each environment. Alarms need it, because CloudWatch cannot publish to a
# topic that is encrypted with the AWS managed key for SNS. It is created here and not
# by the platform: a role that may create and tag keys could tag any key of the account
# and so gain access to it.
resource "aws_kms_key" "platform" {
  for_each = local.environments

  description             = "Alarms, and by choice images and logs, of ${each.value.cluster}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = local.policies["${each.value.key}key"]
  tags                    = local.tags[each.key]
}

resource "aws_kms_alias" "platform" {
  for_each = local.environments

  name          = "alias/${each.value.prefix}-platform"
  target_key_id = aws_kms_key.platform[each.key].key_id
}

moved {
  from = aws_kms_key.platform
  to   = aws_kms_key.platform["production"]
}

moved {
  from = aws_kms_alias.platform
  to   = aws_kms_alias.platform["production"]
}
