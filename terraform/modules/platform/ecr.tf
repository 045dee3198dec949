locals {
  # Repositories by key. The key of one with a derived name is the rest of its name, so
  # that it stays the same whichever entries share the repository.
  repositories = { for repository in distinct([for s in local.services : s.repository]) :
    startswith(repository, "${local.repository_prefix}-") ? trimprefix(repository, "${local.repository_prefix}-") : "repository ${repository}" => repository if local.own_registry
  }
}

# Encrypted with ECR's key; customer_managed_encryption selects a KMS key of the account
# (ECR.5), which costs KMS requests.
#trivy:ignore:AWS-0033
resource "aws_ecr_repository" "service" {
  for_each = local.repositories

  name                 = each.value
  image_tag_mutability = "IMMUTABLE" # a commit's tag never moves, and "latest" is not used
  force_delete         = false

  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = var.customer_managed_encryption ? "KMS" : "AES256"
    kms_key         = var.customer_managed_encryption ? data.aws_kms_alias.platform.target_key_arn : null
  }
}

# Lifecycle rules of ECR see pushes and tags, not which image runs. So:
# - The newest images_to_keep images stay. The running image would expire only after
#   that many newer images were pushed to its repository and not released. Every push
#   belongs to a release, and unchanged services are not pushed.
# - Untagged manifests are parts of an image: the manifest of each platform, which ECR
#   keeps while an index refers to it, and bills of materials, which are deleted with
#   their image. The rule deletes what an expired index leaves behind.
# https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
resource "aws_ecr_lifecycle_policy" "service" {
  for_each = aws_ecr_repository.service

  repository = each.value.name
  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Parts of images that are gone"
        selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 30 }
        action       = { type = "expire" }
      },
      {
        rulePriority = 2
        description  = "Releases that nobody goes back to"
        selection    = { tagStatus = "tagged", tagPatternList = ["*"], countType = "imageCountMoreThan", countNumber = var.images_to_keep }
        action       = { type = "expire" }
      },
    ]
  })
}

# Accounts of other environments pull from these repositories; their roles decide which of
# their own may.
resource "aws_ecr_repository_policy" "pull" {
  for_each = length(var.pull_accounts) > 0 ? aws_ecr_repository.service : {}

  repository = each.value.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Pull"
      Effect    = "Allow"
      Principal = { AWS = [for account in sort(var.pull_accounts) : "arn:${local.partition}:iam::${account}:root"] }
      Action = [
        "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:DescribeImageScanFindings", "ecr:DescribeRepositories", "ecr:GetDownloadUrlForLayer",
      ]
    }]
  })
}
