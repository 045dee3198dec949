# The resources were in this configuration before modules/bootstrap had them. A state of then
# moves without a change.

moved {
  from = aws_dynamodb_table.locks
  to   = module.bootstrap.aws_dynamodb_table.locks
}

moved {
  from = aws_iam_openid_connect_provider.github
  to   = module.bootstrap.aws_iam_openid_connect_provider.github
}

moved {
  from = aws_iam_policy.boundary
  to   = module.bootstrap.aws_iam_policy.boundary
}

moved {
  from = aws_iam_policy.ci
  to   = module.bootstrap.aws_iam_policy.ci
}

moved {
  from = aws_iam_role.ci
  to   = module.bootstrap.aws_iam_role.ci
}

moved {
  from = aws_iam_role_policy_attachment.ci
  to   = module.bootstrap.aws_iam_role_policy_attachment.ci
}

moved {
  from = aws_kms_alias.platform
  to   = module.bootstrap.aws_kms_alias.platform
}

moved {
  from = aws_kms_key.platform
  to   = module.bootstrap.aws_kms_key.platform
}

moved {
  from = aws_s3_bucket.state
  to   = module.bootstrap.aws_s3_bucket.state
}

moved {
  from = aws_s3_bucket.state_logs
  to   = module.bootstrap.aws_s3_bucket.state_logs
}

moved {
  from = aws_s3_bucket_lifecycle_configuration.state
  to   = module.bootstrap.aws_s3_bucket_lifecycle_configuration.state
}

moved {
  from = aws_s3_bucket_lifecycle_configuration.state_logs
  to   = module.bootstrap.aws_s3_bucket_lifecycle_configuration.state_logs
}

moved {
  from = aws_s3_bucket_logging.state
  to   = module.bootstrap.aws_s3_bucket_logging.state
}

moved {
  from = aws_s3_bucket_ownership_controls.state
  to   = module.bootstrap.aws_s3_bucket_ownership_controls.state
}

moved {
  from = aws_s3_bucket_ownership_controls.state_logs
  to   = module.bootstrap.aws_s3_bucket_ownership_controls.state_logs
}

moved {
  from = aws_s3_bucket_policy.state
  to   = module.bootstrap.aws_s3_bucket_policy.state
}

moved {
  from = aws_s3_bucket_policy.state_logs
  to   = module.bootstrap.aws_s3_bucket_policy.state_logs
}

moved {
  from = aws_s3_bucket_public_access_block.state
  to   = module.bootstrap.aws_s3_bucket_public_access_block.state
}

moved {
  from = aws_s3_bucket_public_access_block.state_logs
  to   = module.bootstrap.aws_s3_bucket_public_access_block.state_logs
}

moved {
  from = aws_s3_bucket_server_side_encryption_configuration.state
  to   = module.bootstrap.aws_s3_bucket_server_side_encryption_configuration.state
}

moved {
  from = aws_s3_bucket_server_side_encryption_configuration.state_logs
  to   = module.bootstrap.aws_s3_bucket_server_side_encryption_configuration.state_logs
}

moved {
  from = aws_s3_bucket_versioning.state
  to   = module.bootstrap.aws_s3_bucket_versioning.state
}

moved {
  from = aws_s3_bucket_versioning.state_logs
  to   = module.bootstrap.aws_s3_bucket_versioning.state_logs
}
