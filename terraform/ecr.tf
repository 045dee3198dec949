# With ECR's key, unless customer_managed_encryption asks for one of the account's
# (ECR.5): requests to KMS cost.
#trivy:ignore:AWS-0033
resource "aws_ecr_repository" "service" {
  for_each = local.services

  name                 = each.value.repository
  image_tag_mutability = "IMMUTABLE" # a commit's tag is never moved, and "latest" is not needed
  force_delete         = false

  image_scanning_configuration {
    scan_on_push = true
  }
  encryption_configuration {
    encryption_type = var.customer_managed_encryption ? "KMS" : "AES256"
    kms_key         = var.customer_managed_encryption ? data.aws_kms_alias.platform.target_key_arn : null
  }
}

# ECR's rules know pushes and tags, not what runs. So:
# - The newest images_to_keep stay. What runs would be deleted only after that many
#   newer images were pushed to the same repository without being released. Every
#   push belongs to a release, and unchanged services are not pushed at all.
# - Untagged are the parts of an image: the manifest of each platform, which ECR
#   keeps while the index that names it is there, and bills of materials, which go
#   with their image. A rule is needed for what an expired index leaves behind.
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
