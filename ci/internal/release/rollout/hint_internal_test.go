package rollout

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

const pulling = "ResourceInitializationError: unable to pull secrets or registry auth: "

// TestHints uses the wording of AWS: from its documentation, and from reports.
func TestHints(t *testing.T) {
	const (
		role     = "User: arn:aws:sts::111122223333:assumed-role/ecsTaskExecutionRole/0ea372c9 is not authorized to perform: "
		secret   = pulling + "execution resource retrieval failed: unable to retrieve secret from asm: service call has been retried 1 time(s): "
		ssm      = pulling + "execution resource retrieval failed: unable to retrieve secrets from ssm: service call has been retried 1 time(s): "
		ecr      = pulling + "execution resource retrieval failed: unable to retrieve ecr registry auth: service call has been retried 3 time(s): "
		logger   = "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to create Cloudwatch log "
		efs      = "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: "
		manifest = "CannotPullContainerError: pull image manifest has been retried 5 time(s): "
		ref      = manifest + "failed to resolve ref 111122223333.dkr.ecr.us-east-1.amazonaws.com/b:v1: "
		layer    = "CannotPullContainerError: ref pull has been retried 1 time(s): failed to copy: httpReadSeeker: failed open: "
		runc     = "Task failed to start: CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
		elb      = "Task failed ELB health checks in tg/ecs-b"
	)
	tests := []struct {
		reason, health, want string
	}{
		{reason: manifest + "image Manifest does not contain descriptor matching platform 'linux/arm64'", want: "another architecture"},
		{reason: runc + "exec /app: exec format error: unknown", want: "another architecture"},

		{reason: ecr + "AccessDeniedException: " + role + "ecr:GetAuthorizationToken on resource: *", want: "may not log in to ECR"},
		{reason: ecr + "operation error ECR: GetAuthorizationToken, https response error StatusCode: 400, RequestID: 2446, api error AccessDeniedException: " + role + "ecr:GetAuthorizationToken", want: "may not log in to ECR"},
		{reason: ecr + `RequestError: send request failed caused by: Post "https://api.ecr.us-east-1.amazonaws.com/": dial tcp 44.213.79.86:443: i/o timeout. Please check your task network configuration.`, want: "cannot reach the registry"},
		{reason: pulling + `The task cannot pull registry auth from Amazon ECR: There is a connection issue between the task and Amazon ECR. Check your task network configuration. operation error ECR: GetAuthorizationToken, exceeded maximum number of attempts, 3, https response error StatusCode: 0, RequestID: , request send failed, Post "https://api.ecr.eu-west-2.amazonaws.com/": dial tcp 172.16.54.241:443: i/o timeout`, want: "cannot reach the registry"},

		{reason: secret + "retrieved secret from Secrets Manager did not contain json key DB_PASS", want: "lacks the JSON key"},
		{reason: secret + `invalid character '\'' looking for beginning of value`, want: "the secret is not JSON"},
		{reason: secret + "failed to fetch secret arn:aws:secretsmanager:us-east-1:111122223333:secret:b-AbCdEf from secrets manager: AccessDeniedException: Access to KMS is not allowed", want: "the KMS key of a secret"},
		{reason: ssm + "AccessDeniedException: " + role + "kms:Decrypt on resource: arn:aws:kms:us-east-1:111122223333:key/1", want: "the KMS key of a secret"},
		{reason: secret + "failed to fetch secret arn:x from secrets manager: AccessDeniedException: " + role + "secretsmanager:GetSecretValue on resource: arn:x", want: "may not read a secret of the task"},
		{reason: secret + "failed to fetch secret arn:x from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret.", want: "does not exist, or has no value"},
		{reason: secret + "failed to fetch secret arn:x from secrets manager: ResourceNotFoundException: Secrets Manager can't find the specified secret value for staging label: AWSCURRENT", want: "does not exist, or has no value"},
		{reason: secret + "failed to fetch secret arn:x from secrets manager: RequestCanceled: request context canceled caused by: context deadline exceeded. Please check your task network configuration.", want: "cannot reach Secrets Manager"},
		{reason: pulling + "unable to retrieve secret from asm: There is a connection issue between the task and AWS Secrets Manager. Check your task network configuration. failed to fetch secret arn:x from secrets manager: operation error Secrets Manager: GetSecretValue, https response error StatusCode: 0, RequestID: , canceled, context deadline exceeded", want: "cannot reach Secrets Manager"},
		{reason: pulling + "execution resource retrieval failed: unable to get registry auth from asm: service call has been retried 1 time(s): AccessDeniedException: " + role + "secretsmanager:GetSecretValue", want: "may not read a secret of the task"},
		{reason: ssm + "AccessDeniedException: " + role + "ssm:GetParameters on resource: arn:x", want: "may not read a parameter"},
		{reason: ssm + "invalid ssm parameters: /b/db-pass", want: "a parameter in the task definition does not exist"},
		{reason: pulling + "unable to retrieve secrets from ssm: The task cannot pull secrets from AWS Systems Manager. There is a connection issue between the task and AWS Systems Manager Parameter Store. Check your task network configuration. RequestCanceled: request context canceled caused by: context deadline exceeded", want: "cannot reach the Parameter Store"},
		{reason: pulling + "pull command failed: : signal: killed", want: "that the subnet reaches ECR, Secrets Manager and SSM"},
		{reason: "ResourceInitializationError: failed to download env files: file download command: non empty error stream: service call has been retried 1 time(s): AccessDenied: Access Denied", want: "environment file"},

		{reason: logger + "stream: ResourceNotFoundException: The specified log group does not exist. : exit status 1", want: "the log group in the task definition does not exist"},
		{reason: logger + "stream: AccessDeniedException: " + role + "logs:CreateLogStream on resource: arn:x", want: "may not write logs"},
		{reason: logger + "group: operation error CloudWatch Logs: CreateLogGroup, https response error StatusCode: 400, api error AccessDeniedException: " + role + "logs:CreateLogGroup", want: "may not write logs"},
		{reason: "ResourceInitializationError: failed to validate logger args: The task cannot find the Amazon CloudWatch log group defined in the task definition. There is a connection issue between the task and Amazon CloudWatch. Check your network configuration. : signal: killed", want: "cannot reach CloudWatch Logs"},
		{reason: "ResourceInitializationError: failed to validate logger args: unable to get awslogs driver arguments: awslogs-region is required", want: "lacks an option of the log driver"},
		{reason: "CannotStartContainerError: Error response from daemon: failed to initialize logging driver: failed to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist.", want: "the log group in the task definition does not exist"},

		{reason: efs + "b'mount.nfs4: mounting fs-1.efs.us-east-1.amazonaws.com:/data failed, reason given by server: No such file or directory' : unsuccessful EFS utils command execution; code: 32", want: "rootDirectory"},
		{reason: efs + "b'mount.nfs4: access denied by server while mounting 127.0.0.1:/' :", want: "file system denies access"},
		{reason: efs + `Failed to resolve "fs-1.efs.us-east-1.amazonaws.com"`, want: "a mount target in each"},
		{reason: efs + "Mount attempt 1/3 failed due to timeout after 15 sec, wait 0 sec before next attempt. b'mount.nfs4: mount system call failed'", want: "a mount target in each"},

		{reason: ref + "not found", want: "is not in the repository"},
		{reason: manifest + "failed to resolve ref docker.io/library/redis:99: docker.io/library/redis:99: not found", want: "the image does not exist in its registry"},
		{reason: ref + "pulling from host 111122223333.dkr.ecr.us-east-1.amazonaws.com failed with status code [manifests v1]: 403 Forbidden", want: "may not pull the image"},
		{reason: "CannotPullContainerError: The task can’t pull the image. Check that the role has the permissions to pull images from the registry.", want: "may not pull the image"},
		{reason: "CannotPullContainerError: The task cannot pull b from the Amazon ECR repository 111122223333.dkr.ecr.us-east-1.amazonaws.com/b. There is a connection issue between the task and Amazon ECR. Check your task network configuration.", want: "cannot reach the registry"},
		{reason: manifest + `failed to resolve ref docker.io/library/b:1: failed to do request: Head "https://registry-1.docker.io/v2/library/b/manifests/1": dial tcp 34.205.13.154:443: i/o timeout`, want: "cannot reach the registry"},
		{reason: layer + "failed to do request: Get 111122223333.dkr.ecr.ap-northeast-1.amazonaws.com/b:1: dial tcp 52.219.199.138:443: i/o timeout", want: "cannot reach the registry"},
		{reason: layer + "unexpected status code https://prod-us-east-1-starport-layer-bucket.s3.us-east-1.amazonaws.com/1: 403 Forbidden", want: "VPC endpoint for s3"},
		{reason: "CannotPullContainerError: Error response from daemon: Get https://111122223333.dkr.ecr.us-east-1.amazonaws.com/v2/: net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)", want: "cannot reach the registry"},
		{reason: `CannotPullContainerError: Error response from daemon: Get "https://1.dkr.ecr.us-west-2.amazonaws.commm/v2/": dial tcp: lookup 1.dkr.ecr.us-west-2.amazonaws.commm on 10.0.0.2:53: no such host`, want: "name does not resolve"},
		{reason: manifest + "failed to resolve ref ghcr.io/a/b:latest: failed to authorize: failed to fetch anonymous token: 401 Unauthorized", want: "repositoryCredentials"},
		{reason: "CannotPullContainerError: Error response from daemon: pull access denied for b, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", want: "repositoryCredentials"},
		{reason: manifest + "toomanyrequests: You have reached your pull rate limit.", want: "limits pulls"},
		{reason: "CannotPullContainerError: ref pull has been retried 1 time(s): failed to extract layer sha256:1: write /b: no space left on device: unknown", want: "ephemeralStorage"},
		{reason: "CannotPullContainerError: ref pull has been retried 1 time(s): failed to unpack image on snapshotter overlayfs: failed to extract layer sha256:c0: failed to get stream processor for application/vnd.in-toto+json: no processor for media-type: unknown"},

		{reason: "Essential container in task exited: OutOfMemoryError: Container killed due to memory usage", want: "ran out of memory"},
		{reason: runc + `exec: "/nonexistent": stat /nonexistent: no such file or directory: unknown`, want: "program in the task definition does not exist"},
		{reason: runc + `exec: "curl": executable file not found in $PATH: unknown`, want: "program in the task definition does not exist"},
		{reason: runc + `error during container init: exec: "/entrypoint.sh": permission denied: unknown`, want: "is not executable"},
		{reason: "CannotStartContainerError: Error response from daemon: unable to find user app: no matching entries in passwd file", want: "the user in the task definition does not exist"},
		{reason: runc + `error during container init: error mounting "/var/lib/volumes/1/api" to rootfs at "/app/settings.json": no such file or directory`},
		{reason: `CannotStartContainerError: Error response from daemon: error gathering device information while adding custom device "/dev/dri/renderD130": no such file or directory`},

		{reason: "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment enabled in subnet 'subnet-0a': InsufficientFreeAddressesInSubnet", want: "no free address"},
		{reason: "Unexpected EC2 error while attempting to tag the network interface: TagPolicyViolation"},
		{reason: "Timeout waiting for network interface provisioning to complete.", want: "which this version did not cause"},
		{reason: "Timeout waiting for EphemeralStorage provisioning to complete.", want: "which this version did not cause"},
		{reason: "Capacity is unavailable at this time. Please try again later or in a different availability zone", want: "AWS has no capacity"},
		{reason: "You've reached the limit on the number of vCPUs you can run concurrently", want: "quota"},
		{reason: "RESOURCE:MEMORY", want: "container instances have no capacity"},
		{reason: "Your Spot Task was interrupted.", want: "Fargate Spot"},
		{reason: "ECS was unable to assume the role 'arn:aws:iam::111122223333:role/b' that was provided for this task.", want: "trusts ecs-tasks.amazonaws.com"},
		{reason: "Task failed container health checks", want: "the container health check fails"},

		{reason: elb, want: "the load balancer's health check of port 8000 fails"},
		{reason: elb, health: "unhealthy", want: "the load balancer's health check of port 8000 fails"},
		{reason: elb, health: "unhealthy (Health checks failed)", want: "nothing listens on port 8000"},
		{reason: elb, health: "unhealthy (Request timed out)", want: "port 8000 does not respond in time"},
		{reason: elb, health: "unhealthy (Health checks failed with these codes: [404])", want: "/health returns 404"},
		{reason: elb, health: "unhealthy (Health checks failed with these codes: [503])", want: "/health returns an error"},
		{reason: "the task runs, but its target is not healthy", health: "unused (Target is in an Availability Zone that is not enabled for the load balancer)", want: "not in the task's zone"},
		{reason: "the task runs, but its target is not healthy", health: "initial (Target registration is in progress)"},

		{reason: "Essential container in task exited"},
		{reason: "Essential container in task exited", health: "unhealthy (Health checks failed)"},
		{reason: "InternalError: unable to attach network interface"},
		{reason: "Task stopped by user"},
		{reason: ""},
	}
	service := platform.Service{Name: "b", Port: 8000, HealthPath: "/health"}
	general := map[string]bool{"": true} // hints that also fit a truncated reason
	for _, reason := range []string{pulling, pulling + "The task cannot pull registry auth from Amazon ECR: There", "CannotPullContainerError: ", efs} {
		general[hintFor(report.Cause{Reason: reason}, service, 1)] = true
	}
	require.Len(t, general, 5)
	for _, tt := range tests {
		got := hintFor(report.Cause{Reason: tt.reason, Health: tt.health}, service, 1)
		if tt.want == "" {
			require.Empty(t, got, tt.reason)
		}
		require.Contains(t, got, tt.want, tt.reason)
		require.Equal(t, tt.reason, leak.Redact(tt.reason), "no reason looks like a secret")
		if len(tt.reason) > 128 {
			cut := hintFor(report.Cause{Reason: tt.reason[:125] + "..."}, service, 1)
			require.True(t, general[cut] || cut == got, "%s\n%s", tt.reason[:128], cut)
		}
	}
	require.Empty(t, hintFor(report.Cause{Reason: elb, Health: "unhealthy (Health checks failed)"}, service, 2), "the target group is ambiguous")
}

// TestProgramOutputHasNoHint checks that program output is not mistaken for a message
// of AWS.
func TestProgramOutputHasNoHint(t *testing.T) {
	for _, words := range []string{
		"panic: dial tcp 10.0.20.5:5432: i/o timeout",
		"redis: dial tcp 10.0.20.9:6379: connect: connection refused",
		"fatal: open /etc/app/config.yaml: no such file or directory",
		"pq: insufficient privilege: permission denied for table orders",
		"kafka: context deadline exceeded",
		"AccessDeniedException: User is not authorized to perform: secretsmanager:GetSecretValue",
		"operation error ECR: GetAuthorizationToken: AccessDenied",
		"CannotPullContainerError: not found",
		"java.lang.OutOfMemoryError: Java heap space",
		"listen tcp :8000: bind: address already in use",
		"plugin.so: exec format error",
		"fork/exec /opt/helper: exec format error",
		"the container health check of redis failed with codes: [404]",
		"license: Capacity is unavailable at this time",
		"Health checks failed: Request timed out",
	} {
		cause := report.Cause{Reason: "Essential container in task exited", StopCode: "EssentialContainerExited", ExitCode: aws.Int32(1)}
		for _, tail := range [][]string{{words}, {"starting", words}, {words, "bye"}} {
			cause.LogTail = tail
			require.Empty(t, hintFor(cause, platform.Service{}, 1), words)
		}
	}
	runtime := report.Cause{Reason: "Essential container in task exited", LogTail: []string{"exec /app: exec format error"}}
	require.Contains(t, hintFor(runtime, platform.Service{}, 1), "another architecture", "a line of the container runtime")
	runtime.LogTail = []string{"exec /docker-entrypoint.sh: no such file or directory"}
	require.Contains(t, hintFor(runtime, platform.Service{}, 1), "does not exist in the image")
	runtime.LogTail = append(runtime.LogTail, "and another line")
	require.Empty(t, hintFor(runtime, platform.Service{}, 1))
}
