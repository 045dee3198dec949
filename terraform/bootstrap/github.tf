# AWS knows GitHub's certificate authorities; it needs no thumbprint.
resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://${local.github_issuer}"
  client_id_list = ["sts.amazonaws.com"]
}
