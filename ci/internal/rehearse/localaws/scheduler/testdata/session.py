"""Manages a schedule of an embedded AWS with an unmodified boto3 and AWS CLI.

Usage: session.py ENDPOINT CLUSTER_ARN ROLE_ARN QUEUE_ARN
Prints one JSON document with what was seen.
"""
import json
import os
import subprocess
import sys

import boto3
from botocore.exceptions import ClientError

endpoint, cluster, role, queue = sys.argv[1:]
keys = dict(aws_access_key_id="AKIAPYTHON", aws_secret_access_key="x", region_name="us-east-1")
c = boto3.Session(**keys).client("scheduler", endpoint_url=endpoint)
definition = cluster.replace(":cluster/jobs", ":task-definition/ecs-job-task:")
target = {
    "Arn": cluster, "RoleArn": role, "DeadLetterConfig": {"Arn": queue}, "RetryPolicy": {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 600},
    "EcsParameters": {
        "TaskDefinitionArn": definition + "1", "TaskCount": 1, "Tags": [{"key": "a", "value": "1"}],
        "CapacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}],
        "NetworkConfiguration": {"awsvpcConfiguration": {"Subnets": ["subnet-1"], "SecurityGroups": ["sg-1"], "AssignPublicIp": "DISABLED"}},
    },
}
fixed = dict(Name="ecs-job-schedule", ScheduleExpression="cron(0 3 * * ? *)", ScheduleExpressionTimezone="Europe/Berlin",
             FlexibleTimeWindow={"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}, State="DISABLED")
seen = {"arn": c.create_schedule(Target=target, **fixed)["ScheduleArn"]}
got = c.get_schedule(Name="ecs-job-schedule")
assert got["Target"] == target, got["Target"]
got["Target"]["EcsParameters"]["TaskDefinitionArn"] = definition + "2"
c.update_schedule(Target=got["Target"], StartDate=got["CreationDate"], **fixed)
assert c.get_schedule(Name="ecs-job-schedule", GroupName="default")["StartDate"].tzinfo
seen["names"] = [s["Name"] for page in c.get_paginator("list_schedules").paginate() for s in page["Schedules"]]
groups = c.list_schedule_groups()["ScheduleGroups"]
seen["groups"] = [g["Name"] for g in groups]
c.tag_resource(ResourceArn=groups[0]["Arn"], Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
c.untag_resource(ResourceArn=groups[0]["Arn"], TagKeys=["b"])
seen["tags"] = c.list_tags_for_resource(ResourceArn=groups[0]["Arn"])["Tags"]
try:
    c.get_schedule(Name="nope")
except c.exceptions.ResourceNotFoundException as e:
    seen["missing"] = [e.response["Error"]["Code"], e.response["Error"]["Message"], e.response["ResponseMetadata"]["HTTPStatusCode"]]
try:
    c.create_schedule(Target=target, **{**fixed, "ScheduleExpression": "hourly"})
except ClientError as e:
    seen["invalid"] = e.response["Error"]["Code"]

env = {**os.environ, "AWS_ACCESS_KEY_ID": "AKIACLI", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
cli = json.loads(subprocess.check_output(["aws", "--endpoint-url", endpoint, "scheduler", "get-schedule", "--name", "ecs-job-schedule", "--output", "json"], env=env))
subprocess.check_call(["aws", "--endpoint-url", endpoint, "scheduler", "delete-schedule", "--name", "ecs-job-schedule"], env=env)
seen["cli state"], seen["cli zone"] = cli["State"], cli["ScheduleExpressionTimezone"]
seen["cli definition"] = cli["Target"]["EcsParameters"]["TaskDefinitionArn"]
seen["cli provider"] = cli["Target"]["EcsParameters"]["CapacityProviderStrategy"][0]["capacityProvider"]
seen["cli retries"] = cli["Target"]["RetryPolicy"]["MaximumRetryAttempts"]
assert not c.list_schedules()["Schedules"]
print(json.dumps(seen))
