# No account is asked: the provider is real, its keys are not, and nothing is applied.
provider "aws" {
  region                      = "us-east-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

run "probe" {
  command = plan
  assert {
    condition     = aws_ecs_cluster.main.name == "ecs-cluster"
    error_message = "name"
  }
  assert {
    condition     = jsondecode(aws_ecs_task_definition.service["backend"].container_definitions)[0].user == "65532:65532"
    error_message = "user"
  }
}
