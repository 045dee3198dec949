package rollout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Patterns for what failed. Fargate truncates long reasons, some after 128 characters, so
// patterns match the beginning rather than the end.
var (
	denied      = regexp.MustCompile(`(?i)AccessDenied|not authorized|\b40[13]\b|no basic auth|access denied|has the permissions`)
	unreachable = regexp.MustCompile(`(?i)connection issue|i/o timeout|context deadl|context cancel|request canceled|RequestCanceled|Client\.Timeout|send request f|connection (?:timed out|refused|reset)|TLS handshake timeout|signal: killed|network configuration`)
	missing     = regexp.MustCompile(`(?i)not found|NotFound|does not exist|can't find|manifest unknown`)
)

// Patterns for the dependency that failed.
var (
	ecrLogin        = regexp.MustCompile(`(?i)ecr registry auth|registry auth from Amazon ECR|ecr: ?GetAuthorizationToken`)
	secret          = regexp.MustCompile(`(?i)from asm\b|secrets? ?manager`)
	parameter       = regexp.MustCompile(`(?i)from ssm\b|ssm: ?GetParameters|Systems Manager`)
	fetchingSecrets = regexp.MustCompile(`(?i)unable to pull secrets|from [as]sm\b|secrets? ?manager|Systems Manager`)
	logs            = regexp.MustCompile(`(?i)validate logger args|initialize logging driver|CloudWatch log`)
	efs             = regexp.MustCompile(`(?i)EFS utils|mount\.nfs4`)
	pull            = regexp.MustCompile(`CannotPullContainer`)
)

// hintRule is a hint for causes that match all patterns.
type hintRule struct {
	patterns []*regexp.Regexp
	text     string // "" for a cause without a hint
}

// stopReasonHints are hints by the stop reason and code of a task and the reason of a
// container. The first match counts, so special causes come before general ones. What a
// program logs is not matched.
//
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
var stopReasonHints = []hintRule{
	{
		matchAll(regexp.MustCompile(`(?i)does not contain desc|no match for platform|exec format error`)),
		"the image is for another architecture than the task: build for the task definition's runtimePlatform (slipway build --platform linux/amd64,linux/arm64)",
	},

	{matchAll(ecrLogin, denied), "the execution role may not log in to ECR: allow it ecr:GetAuthorizationToken"},
	{matchAll(ecrLogin, unreachable), unreachableRegistry},
	{matchAll(ecrLogin), "the task cannot log in to ECR: give its subnet a NAT or a VPC endpoint for ecr.api, and allow its execution role ecr:GetAuthorizationToken"},

	{
		matchAll(fetchingSecrets, regexp.MustCompile(`(?i)\bKMS\b|kms:Decrypt|KMS[A-Z]\w+Exception`)),
		"the KMS key of a secret cannot be used: enable the key, and allow the execution role kms:Decrypt with it",
	},
	{
		matchAll(regexp.MustCompile(`(?i)did not contain json key`)),
		"the secret lacks the JSON key in the task definition: add the key to the secret, or correct valueFrom",
	},
	{
		matchAll(secret, regexp.MustCompile(`(?i)invalid character`)),
		"the secret is not JSON, but the task definition needs a key of it: store JSON, or end valueFrom with the secret's ARN",
	},
	{
		matchAll(secret, denied),
		"the execution role may not read a secret of the task: allow it secretsmanager:GetSecretValue on that ARN",
	},
	{
		matchAll(secret, missing),
		"a secret in the task definition does not exist, or has no value: compare valueFrom with Secrets Manager in this region",
	},
	{matchAll(secret, unreachable), "the task cannot reach Secrets Manager: give its subnet a NAT or a VPC endpoint for secretsmanager, and allow port 443 out of its security group"},
	{
		matchAll(parameter, denied),
		"the execution role may not read a parameter of the task: allow it ssm:GetParameters on that ARN",
	},
	{
		matchAll(regexp.MustCompile(`(?i)invalid (?:ssm )?parameters`)),
		"a parameter in the task definition does not exist: compare valueFrom with the Parameter Store in this region",
	},
	{matchAll(parameter, unreachable), "the task cannot reach the Parameter Store: give its subnet a NAT or a VPC endpoint for ssm, and allow port 443 out of its security group"},
	{
		matchAll(regexp.MustCompile(`(?i)download env files`)),
		"an environment file cannot be read from S3: check that it exists, that the execution role may s3:GetObject, and that the subnet reaches S3",
	},
	{
		matchAll(fetchingSecrets),
		"the task cannot fetch its secrets or log in to ECR: check that the subnet reaches ECR, Secrets Manager and SSM (NAT or VPC endpoints), and that the execution role may use them",
	},

	{matchAll(logs, denied), "the execution role may not write logs: allow it logs:CreateLogStream and logs:PutLogEvents, and logs:CreateLogGroup with awslogs-create-group"},
	{matchAll(logs, unreachable), "the task cannot reach CloudWatch Logs: give its subnet a NAT or a VPC endpoint for logs, and allow port 443 out of its security group"},
	{
		matchAll(logs, missing),
		"the log group in the task definition does not exist in its awslogs-region: create it",
	},
	{
		matchAll(regexp.MustCompile(`(?i)awslogs-\w+ is required|unable to get awslogs driver arg`)),
		"the task definition lacks an option of the log driver: set awslogs-group, awslogs-region and awslogs-stream-prefix",
	},

	{
		matchAll(efs, regexp.MustCompile(`(?i)No such file or directory`)),
		"the rootDirectory of a volume does not exist on the EFS file system: create it, or use an access point",
	},
	{
		matchAll(efs, denied),
		"the EFS file system denies access: allow the task role elasticfilesystem:ClientMount in the file system's policy",
	},
	{matchAll(efs), "the EFS file system cannot be mounted: check that it has a mount target in each zone, that its security group allows port 2049 from the task, and that the VPC has DNS hostnames"},

	{
		matchAll(pull, regexp.MustCompile(`(?i)no space left`)),
		"the image does not fit into the task's ephemeral storage: raise ephemeralStorage in the task definition",
	},
	{matchAll(pull, regexp.MustCompile(`(?i)failed to (?:unpack|extract)|media.type`)), ""}, // the image is invalid
	{
		matchAll(pull, regexp.MustCompile(`(?i)toomanyrequests|too many requests|pull rate limit`)),
		"the registry limits pulls: copy the image to ECR (a pull-through cache rule does), or log in with repositoryCredentials",
	},
	{
		matchAll(pull, regexp.MustCompile(`(?i)no such host`)),
		"the registry's name does not resolve: check the image's address, and that the VPC has DNS",
	},
	{
		matchAll(pull, regexp.MustCompile(`starport-layer-bucket`), denied),
		"S3 denies access to the image's layers: allow ECR's bucket in the policy of the VPC endpoint for s3",
	},
	{matchAll(pull, unreachable), unreachableRegistry},
	{
		matchAll(pull, regexp.MustCompile(`(?i)\.dkr\.ecr\.|ecr:|has the permissions`), denied),
		"the execution role may not pull the image: allow it ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer (and in the repository's policy, if it is in another account)",
	},
	{
		matchAll(pull, denied),
		"the registry denies access to the image: check that it exists, and set repositoryCredentials in the task definition",
	},
	{
		matchAll(pull, regexp.MustCompile(`(?:docker\.io|public\.ecr\.aws|ghcr\.io|quay\.io|gcr\.io|registry\.k8s\.io|mcr\.microsoft\.com)/`), missing),
		"the image does not exist in its registry: correct its name or tag in the task definition",
	},
	{
		matchAll(pull, missing),
		"the image is not in the repository: publish it again, and check that the lifecycle policy keeps enough images",
	},
	{
		matchAll(pull),
		"the image cannot be pulled: check that it exists, that the execution role may pull it, and that the subnet reaches the registry",
	},

	{
		matchAll(regexp.MustCompile(`(?i)OutOfMemory|killed due to memory`)),
		"the container ran out of memory: raise the service's memory, or limit what it uses (GOMEMLIMIT)",
	},
	{
		matchAll(regexp.MustCompile(`exec:? \S+: (?:stat \S+: )?(?:no such file or directory|executable file not found)`)),
		"the program in the task definition does not exist in the image: compare entryPoint and command with the image",
	},
	{
		matchAll(regexp.MustCompile(`exec: \S+: permission denied`)),
		"the program in the task definition is not executable: set its mode to 0755 in the image",
	},
	{
		matchAll(regexp.MustCompile(`unable to find user`)),
		"the user in the task definition does not exist in the image: use a numeric id, or create the user in the image",
	},

	{
		matchAll(regexp.MustCompile(`(?i)InsufficientFreeAddresses|insufficient free addresses`)),
		"the subnet has no free address for the task: stop unused tasks, or add a subnet",
	},
	{
		matchAll(regexp.MustCompile(`(?i)Timeout waiting for (?:network interface|EphemeralStorage)`)),
		"AWS did not prepare the task in time, which this version did not cause: deploy again",
	},
	{
		matchAll(regexp.MustCompile(`(?i)Capacity is unavailable`)),
		"AWS has no capacity for the task now: deploy again later, or give the service subnets in more zones",
	},
	{
		matchAll(regexp.MustCompile(`(?i)reached the limit on the number of`)),
		"the account's Fargate quota is used up: raise it in Service Quotas, or stop unused tasks",
	},
	{
		matchAll(regexp.MustCompile(`RESOURCE:(?:CPU|MEMORY|ENI)`)),
		"the cluster's container instances have no capacity for the task: add some, or lower its cpu or memory",
	},
	{
		matchAll(regexp.MustCompile(`SpotInterruption|Spot [Tt]ask was interrupted`)),
		"Fargate Spot reclaimed the task's capacity, which this version did not cause: deploy again, or give the service a base of FARGATE",
	},
	{
		matchAll(regexp.MustCompile(`(?i)unable to assume the role`)),
		"ECS cannot assume a role of the task: check that it exists and trusts ecs-tasks.amazonaws.com",
	},
	{
		matchAll(regexp.MustCompile(`(?i)container health check`)),
		"the container health check fails: run its command in the image",
	},
}

// defaultCheckHint is the hint for a Go service whose entry has no health_check.
const defaultCheckHint = `the container health check "/server healthcheck" fails: add this subcommand to the program, or give the entry a health_check, with the command ["NONE"] for none`

const unreachableRegistry = "the task cannot reach the registry: give its subnet a NAT or VPC endpoints for ecr.api, ecr.dkr and s3, and allow port 443 out of its security group"

func matchAll(all ...*regexp.Regexp) []*regexp.Regexp { return all }

// mainCheckFailed matches the reason of a task without "(container NAME)", which a sidecar
// has.
var mainCheckFailed = regexp.MustCompile(`container health checks?(?: fails)?$`)

// unhealthyTarget matches the reason of a task whose target is unhealthy.
var unhealthyTarget = regexp.MustCompile(`ELB health checks|target is not healthy`)

// targetHealthHints are hints by the health of an unhealthy target.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/check-target-health.html
var targetHealthHints = []hintRule{
	{matchAll(regexp.MustCompile(`codes: \[404\]`)), "the health path {path} returns 404: check that this version serves it"},
	{matchAll(regexp.MustCompile(`codes: \[`)), "the health path {path} returns an error: see the service's log"},
	{matchAll(regexp.MustCompile(`timed out`)), "port {port} does not respond in time: raise healthCheckGracePeriodSeconds if the program starts slowly, and check that the security group allows the load balancer"},
	{matchAll(regexp.MustCompile(`Health checks failed`)), "nothing listens on port {port}: the program must listen on it, on all addresses"},
	{matchAll(regexp.MustCompile(`Availability Zone that is not enabled`)), "the load balancer is not in the task's zone: give it a subnet in that zone"},
	{matchAll(regexp.MustCompile(`^unhealthy|^$`)), "the load balancer's health check of port {port} fails: the program must listen on it, on all addresses, and the security group must allow the load balancer"},
}

// execFailure matches the only line in the log of a container whose program the container
// runtime cannot start.
var execFailure = regexp.MustCompile(`^exec \S+: (?:exec format error|no such file or directory)$`)

// hintFor returns the hint for a cause, or "". Log lines are not matched, except for
// one of the container runtime.
func hintFor(cause report.Cause, service platform.Service, targetGroups int) string {
	text := cause.Reason + " " + cause.StopCode
	if len(cause.LogTail) == 1 && execFailure.MatchString(cause.LogTail[0]) {
		text += " " + cause.LogTail[0]
	}
	if service.Kind == platform.Go && service.HealthCheck == nil && service.HasHealthCheck() && mainCheckFailed.MatchString(cause.Reason) {
		return defaultCheckHint
	}
	if hint, ok := findHint(stopReasonHints, text); ok {
		return hint
	}
	if unhealthyTarget.MatchString(cause.Reason) && targetGroups > 0 {
		if targetGroups > 1 { // port and path may be those of another group
			return ""
		}
		hint, _ := findHint(targetHealthHints, cause.Health)
		return strings.NewReplacer("{port}", fmt.Sprint(service.Port), "{path}", service.HealthPath).Replace(hint)
	}
	if cause.StopCode == string(types.TaskStopCodeEssentialContainerExited) && cause.ExitCode != nil && *cause.ExitCode == 0 {
		return "the program ended by itself: a service's program must keep running, and one that ends is a job (schedule) or a release_task"
	}
	if cause.Signal == "SIGKILL" {
		return "the container was killed: it ran out of memory, or did not stop within its stopTimeout"
	}
	return ""
}

func findHint(rules []hintRule, text string) (string, bool) {
	for _, rule := range rules {
		if !slices.ContainsFunc(rule.patterns, func(pattern *regexp.Regexp) bool { return !pattern.MatchString(text) }) {
			return rule.text, true
		}
	}
	return "", false
}

// signals are the names of signals that end containers.
var signals = map[int32]string{
	1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM",
}

// signalOf returns the name of the signal for an exit code above 128, or "".
func signalOf(code *int32) string {
	if code == nil || *code <= 128 {
		return ""
	}
	return signals[*code-128]
}
