# The reference system, as far as its names in AWS are known. What its Terraform
# calls them is not, so the addresses here are made up; it has more, such as NAT.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
  backend "s3" {
    bucket       = "my-terraform-state"
    key          = "ecs-microservices/prod/terraform.tfstate"
    region       = "us-east-1"
    use_lockfile = true
  }
}

provider "aws" {
  region = "us-east-1"
}

# The state is in a bucket that is in the state.
import {
  to = aws_s3_bucket.terraform_state
  id = "my-terraform-state"
}
resource "aws_s3_bucket" "terraform_state" {
  bucket        = "my-terraform-state"
  force_destroy = true
}
resource "aws_s3_bucket_versioning" "terraform_state" {
  bucket = aws_s3_bucket.terraform_state.id
  versioning_configuration {
    status = "Enabled"
  }
}
resource "aws_dynamodb_table" "terraform_locks" {
  name         = "terraform-locks"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "LockID"
  attribute {
    name = "LockID"
    type = "S"
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}
resource "aws_iam_role" "github" {
  for_each = toset(["deploy", "terraform", "build"])
  name     = "github-actions-${each.key}-role"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{
    Effect    = "Allow", Action = "sts:AssumeRoleWithWebIdentity"
    Principal = { Federated = aws_iam_openid_connect_provider.github.arn }
    Condition = { StringLike = { "token.actions.githubusercontent.com:sub" = "repo:acme/*" } }
  }] })
}
resource "aws_iam_role_policy_attachment" "github" {
  for_each   = aws_iam_role.github
  role       = each.value.name
  policy_arn = "arn:aws:iam::aws:policy/AdministratorAccess"
}
resource "aws_iam_role" "execution" {
  name = "ecs-task-execution-role"
  assume_role_policy = jsonencode({ Version = "2012-10-17", Statement = [{
    Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "ecs-tasks.amazonaws.com" }
  }] })
}

locals {
  services = { backend = 8000, frontend = 80 }
  zones    = ["us-east-1a", "us-east-1b"]
}

resource "aws_ecr_repository" "backend" {
  name = "ecs-microservices-backend"
}
resource "aws_ecr_repository" "frontend" {
  name = "ecs-microservices-frontend"
}
resource "aws_cloudwatch_log_group" "backend" {
  name              = "/ecs/ecs-backend"
  retention_in_days = 14
}
resource "aws_cloudwatch_log_group" "frontend" {
  name              = "/ecs/ecs-frontend"
  retention_in_days = 14
}

resource "aws_vpc" "main" {
  cidr_block = "10.0.0.0/16"
}
resource "aws_internet_gateway" "main" {
  vpc_id = aws_vpc.main.id
}
resource "aws_subnet" "public" {
  count             = 2
  vpc_id            = aws_vpc.main.id
  cidr_block        = "10.0.${1 + count.index}.0/24"
  availability_zone = local.zones[count.index]
}
resource "aws_subnet" "private" {
  count             = 2
  vpc_id            = aws_vpc.main.id
  cidr_block        = "10.0.${10 + count.index}.0/24"
  availability_zone = local.zones[count.index]
}
resource "aws_security_group" "tasks" {
  name   = "ecs-tasks"
  vpc_id = aws_vpc.main.id
  ingress {
    from_port   = 0
    to_port     = 65535
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}
resource "aws_lb" "alb" {
  name            = "ecs-alb"
  subnets         = aws_subnet.public[*].id
  security_groups = [aws_security_group.tasks.id]
}
resource "aws_lb_target_group" "service" {
  for_each    = local.services
  name        = "ecs-${each.key}-tg"
  port        = each.value
  protocol    = "HTTP"
  target_type = "ip"
  vpc_id      = aws_vpc.main.id
}
resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.alb.arn
  port              = 80
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service["frontend"].arn
  }
}
resource "aws_lb_listener_rule" "api" {
  listener_arn = aws_lb_listener.http.arn
  condition {
    path_pattern {
      values = ["/api/*"]
    }
  }
  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.service["backend"].arn
  }
}

resource "aws_ecs_cluster" "main" {
  name = "ecs-cluster"
}
resource "aws_ecs_task_definition" "service" {
  for_each                 = local.services
  family                   = "ecs-${each.key}-task"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions = jsonencode([{
    name = each.key, image = "ecs-microservices-${each.key}:latest", essential = true, portMappings = [{ containerPort = each.value }]
  }])
}
resource "aws_ecs_service" "service" {
  for_each        = local.services
  name            = "ecs-${each.key}-service"
  cluster         = aws_ecs_cluster.main.id
  task_definition = aws_ecs_task_definition.service[each.key].arn
  launch_type     = "FARGATE"
  desired_count   = 1
  network_configuration {
    subnets         = aws_subnet.private[*].id
    security_groups = [aws_security_group.tasks.id]
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.service[each.key].arn
    container_name   = each.key
    container_port   = each.value
  }
}
