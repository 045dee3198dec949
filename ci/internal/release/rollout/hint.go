package rollout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/report"
)

// What ECS says of any of its dependencies. Fargate cuts long reasons off, some
// after 128 characters: a sign is a beginning rather than an end.
var (
	denied      = regexp.MustCompile(`(?i)AccessDenied|not authorized|\b40[13]\b|no basic auth|access denied|has the permissions`)
	unreachable = regexp.MustCompile(`(?i)connection issue|i/o timeout|context deadl|context cancel|request canceled|RequestCanceled|Client\.Timeout|send request f|connection (?:timed out|refused|reset)|TLS handshake timeout|signal: killed|network configuration`)
	missing     = regexp.MustCompile(`(?i)not found|NotFound|does not exist|can't find|manifest unknown`)
)

// Whom ECS speaks of.
var (
	ecrLogin        = regexp.MustCompile(`(?i)ecr registry auth|registry auth from Amazon ECR|ecr: ?GetAuthorizationToken`)
	secret          = regexp.MustCompile(`(?i)from asm\b|secrets? ?manager`)
	parameter       = regexp.MustCompile(`(?i)from ssm\b|ssm: ?GetParameters|Systems Manager`)
	fetchingSecrets = regexp.MustCompile(`(?i)unable to pull secrets|from [as]sm\b|secrets? ?manager|Systems Manager`)
	logs            = regexp.MustCompile(`(?i)validate logger args|initialize logging driver|CloudWatch log`)
	efs             = regexp.MustCompile(`(?i)EFS utils|mount\.nfs4`)
	pull            = regexp.MustCompile(`CannotPullContainer`)
)

type hintRule struct {
	patterns []*regexp.Regexp // all of them must be there
	text     string           // "" is a cause that there is no advice for
}

// stopReasonHints are the well-known causes, by what ECS says: a task's stop reason and
// code, and a container's reason. The first that fits is told: order is from
// the particular to the general. What a program says itself is none of theirs.
//
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
var stopReasonHints = []hintRule{
	{
		matchAll(regexp.MustCompile(`(?i)does not contain desc|no match for platform|exec format error`)),
		"the image is for another architecture than the task: build for the task definition's runtimePlatform (slipway build --platform linux/amd64,linux/arm64)",
	},

	{matchAll(ecrLogin, denied), "the execution role may not log in to ECR: allow it ecr:GetAuthorizationToken"},
	{matchAll(ecrLogin, unreachable), unreachableRegistry},
	{matchAll(ecrLogin), "the task cannot log in to ECR: does its subnet reach ecr.api (NAT or VPC endpoint), and may its execution role ecr:GetAuthorizationToken?"},

	{
		matchAll(fetchingSecrets, regexp.MustCompile(`(?i)\bKMS\b|kms:Decrypt|KMS[A-Z]\w+Exception`)),
		"the KMS key of a secret cannot be used: is it enabled, and may the execution role kms:Decrypt with it?",
	},
	{
		matchAll(regexp.MustCompile(`(?i)did not contain json key`)),
		"the secret lacks the JSON key that the task definition names: add the key to the secret, or correct valueFrom",
	},
	{
		matchAll(secret, regexp.MustCompile(`(?i)invalid character`)),
		"the secret is not JSON, and the task definition wants one key of it: store JSON, or let valueFrom end with the secret's ARN",
	},
	{
		matchAll(secret, denied),
		"the execution role may not read a secret of the task: allow it secretsmanager:GetSecretValue on that ARN",
	},
	{
		matchAll(secret, missing),
		"a secret that the task definition names does not exist, or has no value: compare valueFrom with Secrets Manager in this region",
	},
	{matchAll(secret, unreachable), "the task cannot reach Secrets Manager: give its subnet a NAT or a VPC endpoint for secretsmanager, and let its security group out on 443"},
	{
		matchAll(parameter, denied),
		"the execution role may not read a parameter of the task: allow it ssm:GetParameters on that ARN",
	},
	{
		matchAll(regexp.MustCompile(`(?i)invalid (?:ssm )?parameters`)),
		"a parameter that the task definition names does not exist: compare valueFrom with the Parameter Store in this region",
	},
	{matchAll(parameter, unreachable), "the task cannot reach the Parameter Store: give its subnet a NAT or a VPC endpoint for ssm, and let its security group out on 443"},
	{
		matchAll(regexp.MustCompile(`(?i)download env files`)),
		"an environment file cannot be read from S3: does it exist, may the execution role s3:GetObject, and does the subnet reach S3?",
	},
	{
		matchAll(fetchingSecrets),
		"the task cannot fetch its secrets, or its login to ECR: does the subnet reach ECR, Secrets Manager and SSM (NAT or VPC endpoints), and may the execution role use them?",
	},

	{matchAll(logs, denied), "the execution role may not write the log: allow it logs:CreateLogStream and logs:PutLogEvents, and logs:CreateLogGroup with awslogs-create-group"},
	{matchAll(logs, unreachable), "the task cannot reach CloudWatch Logs: give its subnet a NAT or a VPC endpoint for logs, and let its security group out on 443"},
	{
		matchAll(logs, missing),
		"the log group that the task definition names does not exist in its awslogs-region: create it",
	},
	{
		matchAll(regexp.MustCompile(`(?i)awslogs-\w+ is required|unable to get awslogs driver arg`)),
		"the task definition lacks an option of the log driver: awslogs-group, awslogs-region and awslogs-stream-prefix are wanted",
	},

	{
		matchAll(efs, regexp.MustCompile(`(?i)No such file or directory`)),
		"the folder that the volume names (rootDirectory) is not on the EFS file system: create it, or use an access point",
	},
	{
		matchAll(efs, denied),
		"the EFS file system does not let the task in: allow the task role elasticfilesystem:ClientMount in its policy",
	},
	{matchAll(efs), "the EFS file system cannot be mounted: is there a mount target in each of the subnets' zones, does its security group let the task in on 2049, and has the VPC DNS hostnames?"},

	{
		matchAll(pull, regexp.MustCompile(`(?i)no space left`)),
		"the image does not fit on the task's disk: raise ephemeralStorage in the task definition",
	},
	{matchAll(pull, regexp.MustCompile(`(?i)failed to (?:unpack|extract)|media.type`)), ""}, // of the image itself
	{
		matchAll(pull, regexp.MustCompile(`(?i)toomanyrequests|too many requests|pull rate limit`)),
		"the registry limits how often it is pulled from: have the image in ECR (a pull-through cache does it), or log in with repositoryCredentials",
	},
	{
		matchAll(pull, regexp.MustCompile(`(?i)no such host`)),
		"the registry's name does not resolve: is the image's address right, and has the VPC DNS?",
	},
	{
		matchAll(pull, regexp.MustCompile(`starport-layer-bucket`), denied),
		"S3 does not give the image's layers: let the policy of the VPC endpoint for s3 allow ECR's bucket",
	},
	{matchAll(pull, unreachable), unreachableRegistry},
	{
		matchAll(pull, regexp.MustCompile(`(?i)\.dkr\.ecr\.|ecr:|has the permissions`), denied),
		"the execution role may not pull the image: allow it ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer (and in the repository's policy, if that is another account's)",
	},
	{
		matchAll(pull, denied),
		"the registry refuses the image: does it exist there, and does the task definition have repositoryCredentials for it?",
	},
	{
		matchAll(pull, regexp.MustCompile(`(?:docker\.io|public\.ecr\.aws|ghcr\.io|quay\.io|gcr\.io|registry\.k8s\.io|mcr\.microsoft\.com)/`), missing),
		"the registry has no such image: correct its name or tag in the task definition",
	},
	{
		matchAll(pull, missing),
		"the image is not in the repository (any more): a lifecycle policy that counts too few removes what is about to run",
	},
	{
		matchAll(pull),
		"the image cannot be pulled: is it in the repository, may the execution role pull it, and does the subnet reach the registry?",
	},

	{
		matchAll(regexp.MustCompile(`(?i)OutOfMemory|killed due to memory`)),
		"the container ran out of memory: raise the service's memory, or lower what it uses (GOMEMLIMIT)",
	},
	{
		matchAll(regexp.MustCompile(`exec:? \S+: (?:stat \S+: )?(?:no such file or directory|executable file not found)`)),
		"the image lacks the program that the task definition starts: compare its entryPoint and command with the image",
	},
	{
		matchAll(regexp.MustCompile(`exec: \S+: permission denied`)),
		"the program that the task definition starts may not be executed: give it the mode 0755 in the image",
	},
	{
		matchAll(regexp.MustCompile(`unable to find user`)),
		"the image does not know the user that the task definition names: use a number, or make the user in the image",
	},

	{
		matchAll(regexp.MustCompile(`(?i)InsufficientFreeAddresses|insufficient free addresses`)),
		"the subnet has no free address for the task: stop what is not needed, or add a subnet",
	},
	{
		matchAll(regexp.MustCompile(`(?i)Timeout waiting for (?:network interface|EphemeralStorage)`)),
		"AWS did not prepare the task in time, which is no fault of this version: release it again",
	},
	{
		matchAll(regexp.MustCompile(`(?i)Capacity is unavailable`)),
		"AWS has no capacity for the task right now: release it again later, or give the service subnets in more zones",
	},
	{
		matchAll(regexp.MustCompile(`(?i)reached the limit on the number of`)),
		"the account's Fargate quota is used up: raise it in Service Quotas, or stop what is not needed",
	},
	{
		matchAll(regexp.MustCompile(`RESOURCE:(?:CPU|MEMORY|ENI)`)),
		"the cluster's container instances have no room for the task: add some, or lower its cpu or memory",
	},
	{
		matchAll(regexp.MustCompile(`SpotInterruption|Spot [Tt]ask was interrupted`)),
		"Fargate Spot took the task's capacity back, which is no fault of this version: release it again, or give the service a base of FARGATE",
	},
	{
		matchAll(regexp.MustCompile(`(?i)unable to assume the role`)),
		"ECS cannot assume a role of the task: does it exist, and does its trust policy name ecs-tasks.amazonaws.com?",
	},
	{
		matchAll(regexp.MustCompile(`(?i)container health check`)),
		"the container's own health check fails: run its command in the image",
	},
}

const unreachableRegistry = "the task cannot reach the registry: give its subnet a NAT or VPC endpoints for ecr.api, ecr.dkr and s3, and let its security group out on 443"

func matchAll(all ...*regexp.Regexp) []*regexp.Regexp { return all }

// unhealthyTarget is what is said of a task that its load balancer is not content with.
var unhealthyTarget = regexp.MustCompile(`ELB health checks|not healthy behind`)

// targetHealthHints are the well-known causes of that, by what the load balancer says.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/check-target-health.html
var targetHealthHints = []hintRule{
	{matchAll(regexp.MustCompile(`codes: \[404\]`)), "the health path {path} answers 404: does this version still serve it?"},
	{matchAll(regexp.MustCompile(`codes: \[`)), "the health path {path} answers, and not with success: the service's own log says why"},
	{matchAll(regexp.MustCompile(`timed out`)), "port {port} does not answer in time: is the program ready soon enough (healthCheckGracePeriodSeconds), and does the security group let the load balancer in?"},
	{matchAll(regexp.MustCompile(`Health checks failed`)), "nothing answers on port {port}: does the program listen there, on all addresses?"},
	{matchAll(regexp.MustCompile(`Availability Zone that is not enabled`)), "the load balancer is not in the task's zone: give it a subnet there"},
	{matchAll(regexp.MustCompile(`^unhealthy|^$`)), "the load balancer's health check of port {port} fails: does the program listen there, on all addresses, and does the security group let the load balancer in?"},
}

// execFailure is what the container runtime writes into a container's log, and
// nothing else stands there, when it cannot start the program.
var execFailure = regexp.MustCompile(`^exec \S+: (?:exec format error|no such file or directory)$`)

// hintFor is the advice for a cause, "" if it is none of the well-known ones. The
// lines of the log are the program's own, and are not looked at but for one.
func hintFor(cause report.Cause, service platform.Service, targetGroups int) string {
	said := cause.Reason + " " + cause.StopCode
	if len(cause.LogTail) == 1 && execFailure.MatchString(cause.LogTail[0]) {
		said += " " + cause.LogTail[0]
	}
	if text, ok := findHint(stopReasonHints, said); ok {
		return text
	}
	if unhealthyTarget.MatchString(cause.Reason) {
		if targetGroups > 1 { // it may be the port and path of another
			return ""
		}
		text, _ := findHint(targetHealthHints, cause.Health)
		return strings.NewReplacer("{port}", fmt.Sprint(service.Port), "{path}", service.HealthPath).Replace(text)
	}
	if cause.Signal == "SIGKILL" {
		return "the container was killed: out of memory, or it did not stop within its stopTimeout"
	}
	return ""
}

func findHint(all []hintRule, said string) (string, bool) {
	for _, k := range all {
		if !slices.ContainsFunc(k.patterns, func(sign *regexp.Regexp) bool { return !sign.MatchString(said) }) {
			return k.text, true
		}
	}
	return "", false
}

// signals are those that end containers, by number.
var signals = map[int32]string{
	1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 15: "SIGTERM",
}

// signalOf names the signal that an exit code above 128 stands for.
func signalOf(code *int32) string {
	if code == nil || *code <= 128 {
		return ""
	}
	return signals[*code-128]
}
