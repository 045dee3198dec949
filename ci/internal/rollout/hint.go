package rollout

import (
	"fmt"
	"regexp"
	"strings"

	"dagger/slipway/internal/platform"
	"dagger/slipway/internal/report"
)

// hints are the well-known causes, by what ECS, the load balancer or the
// container's last words say. The first that fits is told: order is from the
// particular to the general.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html
var hints = []struct {
	sign *regexp.Regexp
	text string // {port}, {path} and {group} stand for the service's own
}{
	{
		regexp.MustCompile(`(?i)does not contain descriptor matching platform|exec format error|no match for platform`),
		"the image is for another architecture than the task: build for the task definition's runtimePlatform (slipway build --platform linux/amd64,linux/arm64)",
	},
	{
		regexp.MustCompile(`(?i)unable to pull secrets.*(AccessDenied|not authorized)|(AccessDenied|not authorized).*(secretsmanager|ssm):`),
		"the execution role may not read a secret of the task: allow it secretsmanager:GetSecretValue or ssm:GetParameters on that ARN, and kms:Decrypt on its key",
	},
	{
		regexp.MustCompile(`(?i)unable to pull secrets|unable to retrieve secret|ResourceNotFoundException.*secret`),
		"a secret that the task definition names cannot be fetched: does it exist in this region, and does the subnet reach Secrets Manager or SSM (NAT or VPC endpoint)?",
	},
	{
		regexp.MustCompile(`(?i)(i/o timeout|deadline exceeded|connection timed out|Client\.Timeout).*|unable to pull.*registry auth`),
		"the task cannot reach the registry: give its subnet a NAT or VPC endpoints for ecr.api, ecr.dkr and s3, and let its security group out on 443",
	},
	{
		regexp.MustCompile(`(?i)CannotPullContainer.*(403|denied|not authorized|no basic auth)`),
		"the execution role may not pull the image: allow it ecr:GetAuthorizationToken, ecr:BatchGetImage and ecr:GetDownloadUrlForLayer",
	},
	{
		regexp.MustCompile(`(?i)CannotPullContainer`),
		"the image cannot be pulled: is it still in the repository? A lifecycle policy that counts too few removes what is about to run",
	},
	{
		regexp.MustCompile(`(?i)OutOfMemory|memory usage`),
		"the container ran out of memory: raise the service's memory, or lower what it uses (GOMEMLIMIT)",
	},
	{
		regexp.MustCompile(`(?i)log group does not exist|failed to create.*log stream|CreateLogStream`),
		"the log group {group} cannot be written to: does it exist, and may the execution role logs:CreateLogStream and logs:PutLogEvents?",
	},
	{
		regexp.MustCompile(`(?i)address already in use`),
		"two programs of the task listen on the same port",
	},
	{
		regexp.MustCompile(`(?i)codes: \[404\]`),
		"the health path {path} answers 404: does this version still serve it?",
	},
	{
		regexp.MustCompile(`(?i)codes: \[`),
		"the health path {path} answers, and not with success: the service's own log says why",
	},
	{
		regexp.MustCompile(`(?i)Request timed out|connection refused|Health checks failed|ELB health checks|not healthy behind`),
		"nothing answers on port {port}: does the program listen there, on all addresses, and does the security group let the load balancer in?",
	},
	{
		regexp.MustCompile(`(?i)container health check`),
		"the container's own health check fails: run its command in the image",
	},
	{
		regexp.MustCompile(`(?i)(no such file or directory|executable file not found).*`),
		"the image lacks the program that the task definition starts: compare its entryPoint and command with the image",
	},
	{
		regexp.MustCompile(`(?i)Capacity is unavailable|RESOURCE:ENI|insufficient`),
		"AWS has no capacity for the task right now, or the account's quota is used up: try again, or raise the quota",
	},
}

// hint is the advice for a cause, "" if it is none of the well-known ones.
func hint(cause report.Cause, service platform.Service) string {
	said := strings.Join([]string{cause.Reason, cause.Health, cause.StopCode}, " ")
	words := strings.Join(cause.LogTail, "\n")
	for _, known := range hints {
		if known.sign.MatchString(said) {
			return fillIn(known.text, service)
		}
	}
	for _, known := range hints { // what a program says itself is a weaker sign
		if cause.ExitCode != nil && *cause.ExitCode != 0 && known.sign.MatchString(words) {
			return fillIn(known.text, service)
		}
	}
	if cause.Signal == "SIGKILL" {
		return "the container was killed: out of memory, or it did not stop within its stopTimeout"
	}
	return ""
}

func fillIn(text string, service platform.Service) string {
	return strings.NewReplacer("{port}", fmt.Sprint(service.Port), "{path}", service.HealthPath, "{group}", service.LogGroup()).Replace(text)
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
