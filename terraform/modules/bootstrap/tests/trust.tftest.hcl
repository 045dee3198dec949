# Needs no AWS account: the provider is real, its credentials are fake, nothing is applied.
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

variables {
  account_id        = "123456789012"
  github_repository = "acme/shop"
}

run "defaults" {
  command = plan

  # every_trust_names_audience_and_subject
  # Who may assume the roles. The reference system checked no aud, had a wildcard in
  # sub, and expected a branch in the sub of jobs that have an environment there.
  assert {
    condition = alltrue([for role in ["build", "deploy", "plan", "apply"] : alltrue([for s in jsondecode(output.policies["trust-${role}"]).Statement :
      s.Action == "sts:AssumeRoleWithWebIdentity"
      && keys(s.Condition) == ["StringEquals"]
      && s.Condition.StringEquals["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
      && !strcontains(jsonencode(s.Condition), "*")
      && s.Principal.Federated == "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    ])])
    error_message = "every trust must be by StringEquals on aud and sub, without a wildcard"
  }
  assert {
    condition     = !strcontains(jsonencode(values(output.policies)), "ForAllValues")
    error_message = "ForAllValues is true of nothing at all"
  }

  # deploy_and_apply_run_in_the_environment
  assert {
    condition = jsondecode(output.policies["trust-deploy"]).Statement[0].Condition.StringEquals == {
      "token.actions.githubusercontent.com:aud"              = "sts.amazonaws.com"
      "token.actions.githubusercontent.com:sub"              = "repo:acme/shop:environment:production"
      "token.actions.githubusercontent.com:ref"              = "refs/heads/main"
      "token.actions.githubusercontent.com:job_workflow_ref" = "acme/shop/.github/workflows/deliver.yml@refs/heads/main"
    }
    error_message = output.policies["trust-deploy"]
  }
  assert {
    condition = jsondecode(output.policies["trust-apply"]).Statement[0].Condition.StringEquals == {
      "token.actions.githubusercontent.com:aud"              = "sts.amazonaws.com"
      "token.actions.githubusercontent.com:sub"              = "repo:acme/shop:environment:production"
      "token.actions.githubusercontent.com:ref"              = "refs/heads/main"
      "token.actions.githubusercontent.com:job_workflow_ref" = "acme/shop/.github/workflows/infrastructure.yml@refs/heads/main"
    }
    error_message = output.policies["trust-apply"]
  }

  # build_runs_on_the_branch_and_plan_on_pull_requests_too
  assert {
    condition     = jsondecode(output.policies["trust-build"]).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == "repo:acme/shop:ref:refs/heads/main"
    error_message = output.policies["trust-build"]
  }
  assert {
    condition     = jsonencode(jsondecode(output.policies["trust-plan"]).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"]) == jsonencode(["repo:acme/shop:pull_request", "repo:acme/shop:ref:refs/heads/main"])
    error_message = output.policies["trust-plan"]
  }
}

run "immutable_subjects" {
  command = plan
  variables {
    github_subject_prefix = "repo:acme@1234/shop@5678"
  }

  assert {
    condition     = jsondecode(output.policies["trust-deploy"]).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == "repo:acme@1234/shop@5678:environment:production"
    error_message = output.policies["trust-deploy"]
  }
  assert {
    condition     = strcontains(output.policies["trust-plan"], "repo:acme@1234/shop@5678:pull_request")
    error_message = output.policies["trust-plan"]
  }
}
