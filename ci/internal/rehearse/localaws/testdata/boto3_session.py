"""Drives an embedded AWS with an unmodified boto3: one service, deployed twice, and tasks of several containers.

Usage: boto3_session.py ENDPOINT GOOD_IMAGE BETTER_IMAGE BAD_IMAGE
Prints one JSON document with what was seen.
"""
import json
import sys
import time

import boto3

endpoint, good, better, bad = sys.argv[1:]
session = boto3.Session(aws_access_key_id="AKIAPYTHON", aws_secret_access_key="x", region_name="us-east-1")
ecs, elb, logs, sts, ecr = (session.client(n, endpoint_url=endpoint) for n in ("ecs", "elbv2", "logs", "sts", "ecr"))
seen = {"arn": sts.get_caller_identity()["Arn"], "repositories": [r["repositoryName"] for r in ecr.describe_repositories()["repositories"]]}

ecs.create_cluster(clusterName="py")
logs.create_log_group(logGroupName="/py")
lb = elb.create_load_balancer(Name="py", Subnets=["subnet-1"])["LoadBalancers"][0]
tg = elb.create_target_group(
    Name="py", Protocol="HTTP", Port=8000, VpcId="vpc-1", TargetType="ip", HealthCheckPath="/health",
    HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2,
)["TargetGroups"][0]["TargetGroupArn"]
elb.modify_target_group_attributes(TargetGroupArn=tg, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}])
elb.create_listener(LoadBalancerArn=lb["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=[{"Type": "forward", "TargetGroupArn": tg}])


def register(image):
    return ecs.register_task_definition(
        family="py", networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
        executionRoleArn="arn:aws:iam::000000000000:role/exec",
        containerDefinitions=[{
            "name": "app", "image": image, "portMappings": [{"containerPort": 8000}],
            "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/py", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "ecs"}},
        }],
    )["taskDefinition"]["taskDefinitionArn"]


def service():
    return ecs.describe_services(cluster="py", services=["py"])["services"][0]


def stable():
    ecs.get_waiter("services_stable").wait(cluster="py", services=["py"], WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})


ecs.create_service(
    cluster="py", serviceName="py", taskDefinition=register(good), desiredCount=2, launchType="FARGATE",
    networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
    loadBalancers=[{"targetGroupArn": tg, "containerName": "app", "containerPort": 8000}],
    deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}},
)
stable()  # tells that the tasks run, which is not yet that they are healthy
elb.get_waiter("target_in_service").wait(TargetGroupArn=tg, WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
seen["health"] = [h["TargetHealth"]["State"] for h in elb.describe_target_health(TargetGroupArn=tg)["TargetHealthDescriptions"]]
ecs.update_service(cluster="py", service="py", taskDefinition=register(better))
seen["rolling"] = [d["status"] for d in service()["deployments"]]
stable()
broken = register(bad)
ecs.update_service(cluster="py", service="py", taskDefinition=broken)
deadline = time.time() + 20
while time.time() < deadline and (service()["taskDefinition"] == broken or service()["deployments"][0]["rolloutState"] != "COMPLETED"):
    time.sleep(0.05)
stable()
seen["events"] = [e["message"] for e in service()["events"]]
stopped = ecs.list_tasks(cluster="py", serviceName="py", desiredStatus="STOPPED")["taskArns"]
failed = [t for t in ecs.describe_tasks(cluster="py", tasks=stopped)["tasks"] if t["stopCode"] == "EssentialContainerExited"]
seen["failed"] = [[t["stoppedReason"], t["containers"][0]["exitCode"]] for t in failed]
stream = "ecs/app/" + failed[0]["taskArn"].split("/")[-1]
seen["log"] = [e["message"] for e in logs.get_log_events(logGroupName="/py", logStreamName=stream, startFromHead=True)["events"]]
seen["history"] = [d["status"] for d in ecs.list_service_deployments(cluster="py", service="py")["serviceDeployments"]]
seen["deregistered"] = ecs.deregister_task_definition(taskDefinition=broken)["taskDefinition"]["status"]

# Blue/green: the traffic moves to a second target group when a pause is continued.
green = elb.create_target_group(
    Name="py-green", Protocol="HTTP", Port=8000, VpcId="vpc-1", TargetType="ip", HealthCheckPath="/health",
    HealthCheckIntervalSeconds=5, HealthCheckTimeoutSeconds=2,
)["TargetGroups"][0]["TargetGroupArn"]
listener = elb.describe_listeners(LoadBalancerArn=lb["LoadBalancerArn"])["Listeners"][0]["ListenerArn"]
rule = elb.describe_rules(ListenerArn=listener)["Rules"][0]["RuleArn"]
ecs.update_service(
    cluster="py", service="py", taskDefinition=register(good),
    loadBalancers=[{"targetGroupArn": tg, "containerName": "app", "containerPort": 8000, "advancedConfiguration": {
        "alternateTargetGroupArn": green, "productionListenerRule": rule, "roleArn": "arn:aws:iam::000000000000:role/infrastructure",
    }}],
    deploymentConfiguration={"strategy": "CANARY", "canaryConfiguration": {"canaryPercent": 5, "canaryBakeTimeInMinutes": 0}, "lifecycleHooks": [
        {"targetType": "PAUSE", "lifecycleStages": ["POST_PRODUCTION_TRAFFIC_SHIFT"], "timeoutConfiguration": {"timeoutInMinutes": 30}},
    ]},
)


def shift(wanted):
    deadline = time.time() + 20
    while True:
        arn = ecs.list_service_deployments(cluster="py", service="py")["serviceDeployments"][0]["serviceDeploymentArn"]
        found = ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"][0]
        if wanted(found) or time.time() > deadline:
            return found
        time.sleep(0.05)


paused = shift(lambda d: [h["status"] for h in d.get("lifecycleHookDetails", [])] == ["AWAITING_ACTION"])
seen["paused"] = [paused["lifecycleStage"], paused["lifecycleHookDetails"][0]["timeoutAction"], paused["targetServiceRevision"]["requestedProductionTrafficWeight"]]
ecs.continue_service_deployment(serviceDeploymentArn=paused["serviceDeploymentArn"], hookId=paused["lifecycleHookDetails"][0]["hookId"])
finished = shift(lambda d: d["status"] == "SUCCESSFUL")
revision = ecs.describe_service_revisions(serviceRevisionArns=[finished["targetServiceRevision"]["arn"]])["serviceRevisions"][0]
weights = elb.describe_rules(RuleArns=[rule])["Rules"][0]["Actions"][0]["ForwardConfig"]["TargetGroups"]
seen["shifted"] = [
    finished["status"], revision["resolvedConfiguration"]["loadBalancers"][0]["targetGroupArn"] == green,
    {w["TargetGroupArn"] == green: w["Weight"] for w in weights} == {True: 100, False: 0},
]

# Tasks: overrides, client tokens, several containers, capacity providers.
ecs.put_cluster_capacity_providers(
    cluster="py", capacityProviders=["FARGATE", "FARGATE_SPOT"],
    defaultCapacityProviderStrategy=[{"capacityProvider": "FARGATE", "base": 1, "weight": 0}, {"capacityProvider": "FARGATE_SPOT", "weight": 1}],
)
seen["providers"] = ecs.describe_clusters(clusters=["py"])["clusters"][0]["capacityProviders"]


def container(name, image, **more):
    options = {"awslogs-group": "/py", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "ecs"}
    return {"name": name, "image": image, "logConfiguration": {"logDriver": "awslogs", "options": options}, **more}


pod = ecs.register_task_definition(
    family="pod", networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
    executionRoleArn="arn:aws:iam::000000000000:role/exec",
    containerDefinitions=[
        container("init", bad, essential=False),
        container("main", good, portMappings=[{"containerPort": 8000}], dependsOn=[{"containerName": "init", "condition": "COMPLETE"}]),
    ],
)["taskDefinition"]["taskDefinitionArn"]


def run(**more):
    return ecs.run_task(
        cluster="py", taskDefinition=pod, networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}}, **more,
    )["tasks"]


def wait(kind, tasks):
    ecs.get_waiter(kind).wait(cluster="py", tasks=[t["taskArn"] for t in tasks], WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
    return ecs.describe_tasks(cluster="py", tasks=[t["taskArn"] for t in tasks], include=["TAGS"])["tasks"]


migration = {
    "clientToken": "release-1", "startedBy": "release-1", "tags": [{"key": "Run", "value": "1"}],
    "overrides": {"cpu": "512", "memory": "1024", "containerOverrides": [
        {"name": "main", "command": ["exit", "3"], "environment": [{"name": "VERSION", "value": "overridden"}]},
    ]},
}
first = run(**migration)
done = wait("tasks_stopped", first)[0]
seen["migration"] = {
    "stopCode": done["stopCode"], "codes": {c["name"]: c["exitCode"] for c in done["containers"]}, "cpu": done["cpu"],
    "provider": done["capacityProviderName"], "tags": done["tags"], "same": [t["taskArn"] for t in run(**migration)] == [done["taskArn"]],
}
try:
    run(**{**migration, "startedBy": "release-2"})
except ecs.exceptions.ConflictException as e:
    seen["conflict"] = e.response["resourceIds"] == [done["taskArn"]]
started = wait("tasks_running", run(count=2))
seen["spread"] = sorted(t["capacityProviderName"] for t in started)
ecs.stop_task(cluster="py", task=started[0]["taskArn"], reason="enough")
ended = wait("tasks_stopped", started[:1])[0]
seen["stopped"] = [ended["stopCode"], ended["stoppedReason"]]
for name, call in {
    "both": lambda: run(launchType="FARGATE", capacityProviderStrategy=[{"capacityProvider": "FARGATE"}]),
    "container": lambda: run(overrides={"containerOverrides": [{"name": "web"}]}),
    "unknown cluster": lambda: ecs.describe_services(cluster="none", services=["py"]),
    "unknown operation": lambda: ecs.list_account_settings(),
    "unknown action": lambda: elb.describe_account_limits(),
    "unknown service": lambda: session.client("s3", endpoint_url=endpoint).list_buckets(),
}.items():
    try:
        call()
    except Exception as e:  # every one is to be botocore's ClientError with AWS's code
        seen[name] = e.response["Error"]["Code"]
json.dump(seen, sys.stdout)
