# Four roles, one for each kind of job. A build job cannot deploy, a plan job cannot
# apply, and no job can change these roles.

locals {
  roles = {
    build  = { name = "github-actions-build-role", text = "Pushes images" }
    deploy = { name = "github-actions-deploy-role", text = "Releases images" }
    plan   = { name = "github-actions-plan-role", text = "Reads the platform and its state" }
    apply  = { name = "github-actions-terraform-role", text = "Changes the platform, as reviewed" }
  }

  # Managed policies, because together they exceed the size limit of a role's inline
  # policies.
  grants = {
    build  = ["build"]
    deploy = ["deploy"]
    plan   = ["read", "plan-guard"]
    apply  = ["read", "apply-state", "apply-network", "apply-services", "apply-jobs", "apply-guard"]
  }
  attachments = merge([for role, policies in local.grants : { for policy in policies : "${role} ${policy}" => { role = role, policy = policy } }]...)
}

resource "aws_iam_role" "ci" {
  for_each = local.roles

  name                 = each.value.name
  description          = each.value.text
  assume_role_policy   = local.policies["trust-${each.key}"]
  max_session_duration = 3600

  # The trust policies name the OIDC provider by ARN, which creates no dependency by
  # itself.
  depends_on = [aws_iam_openid_connect_provider.github]
}

resource "aws_iam_policy" "ci" {
  for_each = toset(flatten(values(local.grants)))

  name        = "${local.prefix}-ci-${each.key}"
  description = "Pipeline: ${each.key}"
  policy      = local.policies[each.key]
}

resource "aws_iam_role_policy_attachment" "ci" {
  for_each = local.attachments

  role       = aws_iam_role.ci[each.value.role].name
  policy_arn = aws_iam_policy.ci[each.value.policy].arn
}

# The most that a role of the platform can be granted: what starting tasks and jobs
# needs, secrets and parameters of the given names, and the given actions on resources of
# the account that are not the pipeline's.
resource "aws_iam_policy" "boundary" {
  name        = local.boundary
  description = "Boundary of every role that the apply role makes"
  policy      = local.policies["boundary"]
}
