package terraform

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// NotInstalledHint is the message for a missing Terraform.
const NotInstalledHint = "terraform is not on PATH: install it from https://developer.hashicorp.com/terraform/install, or run the stage with Dagger"

// knownError is a Terraform error with a shorter explanation.
type knownError struct {
	code outcome.Code
	// pattern matches summary and detail in one line.
	pattern *regexp.Regexp
	// message returns the explanation; match has pattern's submatches.
	message func(d Diagnostic, match []string, dir string) string
}

// ChangedVariable is the summary of an error whose detail contains variable values.
const ChangedVariable = "Can't change variable when applying a saved plan"

const unsupported = "Unsupported Terraform Core version"

// Specific errors come first.
var knownErrors = []knownError{
	{outcome.Refused, regexp.MustCompile(`Error acquiring the state lock:? .*Lock Info: ID: +\S`), stateLocked},
	{outcome.Refused, regexp.MustCompile(`Saved plan is stale`), fixed("the state has changed since the plan was made: plan again")},
	{outcome.Refused, regexp.MustCompile(`Failed to load "[^"]*" as a plan file|Failed to read plan from plan file|not a valid plan file`), fixed("tfplan is not a plan that Terraform can read: plan again")},
	{outcome.Usage, regexp.MustCompile(unsupported + `: .*?does not support Terraform version (\S+?)\.? `), wrongVersion},
	{outcome.Usage, regexp.MustCompile(`ExpiredToken|security token included in the request is expired|RequestExpired|token has expired`), fixed("the AWS credentials have expired: renew them (aws sso login, or rerun the job) and run the same command again")},
	{outcome.Usage, regexp.MustCompile(`No valid credential sources found|failed to refresh cached credentials|NoCredentialProviders`), fixed("no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")},
	{outcome.Usage, regexp.MustCompile(`InvalidClientTokenId|InvalidAccessKeyId|UnrecognizedClientException`), fixed("AWS does not know these credentials: check AWS_ACCESS_KEY_ID and AWS_PROFILE")},
	{outcome.Usage, regexp.MustCompile(`S3 bucket "([^"]*)" does not exist|NoSuchBucket`), missingBucket},
	{outcome.Usage, regexp.MustCompile(`from DynamoDB table "([^"]*)": .*ResourceNotFoundException`), missingLockTable},
	{outcome.Failed, regexp.MustCompile(`Error acquiring the state lock:? (?:Error message: )?(.*?)(?: Terraform acquires a state lock.*)?$`), lockNotTaken},
	{outcome.Usage, regexp.MustCompile(`Failed to query available provider packages: Could not retrieve the list of available versions for provider (\S+): (.*?)(?: To see which modules are currently depending on .*)?$`), providerNotInstalled},
	{outcome.Usage, regexp.MustCompile(`Missing Required Value: The attribute "([^"]*)" is required by the backend`), missingBackendSetting},
	{outcome.Usage, regexp.MustCompile(`for (?:\S+/)?([^/\s]+/[^/\s]+) (\S+)(?: \(in [^)]*\))? (?:doesn't|does not) match any of the checksums`), missingChecksum},
	{outcome.Usage, regexp.MustCompile(`Failed to install provider: Error while installing (\S+ \S+): (.*)`), providerNotInstalled},
	{outcome.Usage, regexp.MustCompile(`Provider dependency changes detected`), fixed("the dependency lock file is missing or does not match the configuration: run terraform -chdir=%s init -backend=false and commit .terraform.lock.hcl")},
	{outcome.Usage, regexp.MustCompile(`flag provided but not defined: (-\S+)`), unknownFlag},
	{outcome.Usage, regexp.MustCompile(`-upgrade flag conflicts with -lockfile=readonly`), fixed("TF_CLI_ARGS_init has -upgrade, which the dependency lock file forbids: unset it; to upgrade, run terraform init -upgrade in %s and commit .terraform.lock.hcl")},
	{outcome.Usage, regexp.MustCompile(`ephemeral input variable "([^"]*)" was set during the plan phase`), ephemeralNotSet},
	{outcome.Usage, regexp.MustCompile(`ephemeral input variable "([^"]*)" was not set during the planning phase`), ephemeralUnexpected},
	{outcome.Refused, regexp.MustCompile(ChangedVariable + `: .*?The variable (\S+) cannot be set`), variableChanged},
	{outcome.Usage, regexp.MustCompile(`Invalid value for variable|No value for required variable|Value for undeclared variable|Invalid value for input variable|No value for variable`), unchanged},
}

// Explain explains in one line, with an exit code, why a command failed in dir:
// from the errors of its messages, or else from stderr.
func Explain(command, dir string, errs []Diagnostic, exitCode int, stderr string) error {
	stderr = logLines.ReplaceAllString(stderr, "")
	text := onOneLine(stderr)
	if match := cliConfig.FindStringSubmatch(text); match != nil && (len(errs) == 0 || slices.ContainsFunc(errs, isProviderError)) {
		return outcome.Usagef("invalid Terraform CLI configuration (TF_CLI_CONFIG_FILE or ~/.terraformrc): %s", match[1])
	}
	all := errs
	if len(all) == 0 { // not every command has messages
		all = []Diagnostic{{Detail: frames.ReplaceAllString(stderr, "")}}
	}
	for _, d := range all {
		line := outcome.OneLine(d.Summary + ": " + d.Detail)
		for _, known := range knownErrors {
			if match := known.pattern.FindStringSubmatch(line); match != nil {
				return outcome.With(known.code, errors.New(known.message(d, match, dir)))
			}
		}
	}
	if len(errs) > 0 {
		text := fmt.Sprintf("terraform %s: %s", command, errs[0].Line(dir))
		if more := len(errs) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
		code := outcome.Failed
		if errs[0].inSource(command) {
			code = outcome.Usage
		}
		return outcome.With(code, errors.New(text))
	}
	return fmt.Errorf("terraform %s ended with exit code %d: %s", command, exitCode, cmp.Or(text, "no error output"))
}

// IsSourceError reports whether errors of a command are in the source, so that
// another Terraform, network or account would not help.
func IsSourceError(command string, errs []Diagnostic) bool {
	return len(errs) > 0 && errs[0].inSource(command) && !strings.HasPrefix(errs[0].Summary, unsupported)
}

// inSource reports whether d is in the source: any location during init, a
// variables file at any time.
func (d Diagnostic) inSource(command string) bool {
	if d.Range == nil || d.Range.Filename == "" {
		return false
	}
	name := d.Range.Filename
	return command == "init" || strings.HasSuffix(name, ".tfvars") || strings.HasSuffix(name, ".tfvars.json")
}

// cliConfig matches an error in Terraform's CLI configuration, which is written to
// stderr only. A warning about it is not a failure.
var cliConfig = regexp.MustCompile(`problems with the CLI configuration: (Error: .*?)(?: As a result of the above problems.*)?$`)

// isProviderError reports whether d is about installing a provider, which uses the
// CLI configuration; if that cannot be read, Terraform uses the registry.
func isProviderError(d Diagnostic) bool { return providerError.MatchString(d.Summary) }

var providerError = regexp.MustCompile(`^Failed to (?:query available provider packages|install provider)`)

// frames matches the frames and colours around Terraform's errors.
var frames = regexp.MustCompile("\x1b\\[[0-9;]*m|[╷│╵]")

// logLines matches the lines of Terraform's log, which TF_LOG enables.
var logLines = regexp.MustCompile(`(?m)^(?:\d{4}-\d\d-\d\dT\S+ \[(?:TRACE|DEBUG|INFO|WARN|ERROR)\]|\{"@level":).*\n?`)

func onOneLine(text string) string {
	return outcome.OneLine(frames.ReplaceAllString(text, ""))
}

// fixed returns a constant message in which %s is the folder.
func fixed(text string) func(Diagnostic, []string, string) string {
	return func(_ Diagnostic, _ []string, dir string) string { return strings.ReplaceAll(text, "%s", dir) }
}

func unchanged(d Diagnostic, _ []string, dir string) string { return d.Line(dir) }

func unknownFlag(_ Diagnostic, match []string, _ string) string {
	return fmt.Sprintf("TF_CLI_ARGS or TF_CLI_ARGS_COMMAND adds the option %s to a Terraform command that does not support it: unset it, or set it for one command (TF_CLI_ARGS_plan)", match[1])
}

// missingChecksum names the platform of this process; containers have the same.
func missingChecksum(_ Diagnostic, match []string, dir string) string {
	here := runtime.GOOS + "_" + runtime.GOARCH
	platforms := []string{here, "linux_amd64", "darwin_arm64"}
	slices.Sort(platforms)
	return fmt.Sprintf("%[1]s/.terraform.lock.hcl has no checksum of provider %[2]s %[3]s for %[4]s, perhaps because it was written on another platform: "+
		"run terraform -chdir=%[1]s providers lock -platform=%[5]s, and commit the file; if it was written on this platform, the package is not the locked one",
		dir, match[1], match[2], here, strings.Join(slices.Compact(platforms), " -platform="))
}

func ephemeralNotSet(_ Diagnostic, match []string, _ string) string {
	return fmt.Sprintf("variable %s is ephemeral, so the plan does not contain its value: pass it to apply as well, with --var, --var-file or TF_VAR_%[1]s (in Dagger --vars)", match[1])
}

func ephemeralUnexpected(_ Diagnostic, match []string, _ string) string {
	return fmt.Sprintf("variable %s is ephemeral and had no value when the plan was made: omit it, or plan again with it", match[1])
}

// Terraform's message contains both values.
func variableChanged(_ Diagnostic, match []string, _ string) string {
	return fmt.Sprintf("variable %s has changed since the plan was made: plan again", match[1])
}

func stateLocked(d Diagnostic, _ []string, _ string) string {
	lock, _ := ParseLock(d.Detail) // the pattern requires its ID
	return lock.String()
}

func lockNotTaken(_ Diagnostic, match []string, _ string) string {
	return "the state lock cannot be acquired: " + match[1]
}

func missingLockTable(_ Diagnostic, match []string, _ string) string {
	return fmt.Sprintf("the DynamoDB table %q for the state lock does not exist in this account and region: apply terraform/bootstrap once, or name another with --backend-config dynamodb_table=NAME", match[1])
}

func missingBackendSetting(d Diagnostic, match []string, dir string) string {
	return fmt.Sprintf("%s: the backend has no %s: name one with --backend-config %s=VALUE", cmp.Or(d.Location(dir), dir), match[1], match[1])
}

func wrongVersion(d Diagnostic, match []string, dir string) string {
	return fmt.Sprintf("%s: Terraform %s is installed, and the configuration requires another version (required_version): install it, or run the stage with Dagger",
		cmp.Or(d.Location(dir), dir), match[1])
}

func missingBucket(_ Diagnostic, match []string, _ string) string {
	name := ""
	if match[1] != "" {
		name = fmt.Sprintf(" %q", match[1])
	}
	return "the bucket" + name + " for the state does not exist in this account and region: apply terraform/bootstrap once, or name another with --backend-config bucket=NAME"
}

func providerNotInstalled(_ Diagnostic, match []string, _ string) string {
	return fmt.Sprintf("provider %s cannot be installed: %s: check the network, or the provider_installation of Terraform's CLI configuration (TF_CLI_CONFIG_FILE)",
		strings.TrimSuffix(match[1], ":"), strings.TrimSuffix(match[2], "."))
}
