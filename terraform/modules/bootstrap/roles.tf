# Four roles for each environment, one for each kind of job. A build job cannot deploy, a
# plan job cannot apply, no job can change these roles, and none of one environment can
# change another.

locals {
  role_texts = {
    build   = "Pushes images"
    deploy  = "Releases images"
    plan    = "Reads the platform and its state"
    apply   = "Changes the platform, as reviewed"
    promote = "Reads what runs and its images, to promote it"
    preview = "Makes and removes previews of pull requests"
  }

  # Policies of each role, by key. They are managed policies, because together they exceed
  # the size limit of a role's inline policies.
  role_policies = { for name, e in local.environments : name => {
    build   = ["${e.key}build"]
    deploy  = concat(["${e.key}deploy"], e.promote_from == null ? [] : ["${local.environments[coalesce(e.promote_from, name)].key}promote"])
    plan    = ["${e.key}read", "${e.key}plan-guard"]
    apply   = [for policy in ["read", "apply-state", "apply-network", "apply-services", "apply-jobs", "apply-guard"] : "${e.key}${policy}"]
    promote = length(e.promoted_by) > 0 ? ["${e.key}promote"] : []
    preview = e.previews ? ["${e.key}preview"] : []
  } }
  roles = merge([for name, e in local.environments : { for role, policies in local.role_policies[name] : "${e.key}${role}" => {
    environment = name
    name        = "github-actions-${e.key}${role == "apply" ? "terraform" : role}-role"
    text        = local.role_texts[role]
    trust       = "${e.key}trust-${role}"
    policies    = policies
  } if length(policies) > 0 }]...)

  grants      = { for role, r in local.roles : role => r.policies }
  attachments = merge([for role, policies in local.grants : { for policy in policies : "${role} ${policy}" => { role = role, policy = policy } }]...)
}

resource "aws_iam_role" "ci" {
  for_each = local.roles

  name                 = each.value.name
  description          = each.value.text
  assume_role_policy   = local.policies[each.value.trust]
  max_session_duration = 3600
  tags                 = local.tags[each.value.environment]

  # The trust policies name the OIDC provider by ARN, which creates no dependency by
  # itself.
  depends_on = [aws_iam_openid_connect_provider.github]
}

resource "aws_iam_policy" "ci" {
  for_each = toset(flatten(values(local.grants)))

  name        = "${local.environments[local.documents[each.key].environment].prefix}-ci-${local.documents[each.key].template}"
  description = "Pipeline: ${each.key}"
  policy      = local.policies[each.key]
  tags        = local.tags[local.documents[each.key].environment]
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
  for_each = local.environments

  name        = each.value.boundary
  description = "Boundary of every role that the apply role makes"
  policy      = local.policies["${each.value.key}boundary"]
  tags        = local.tags[each.key]
}

moved {
  from = aws_iam_policy.boundary
  to   = aws_iam_policy.boundary["production"]
}
