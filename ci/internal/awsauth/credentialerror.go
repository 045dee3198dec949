package awsauth

import (
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// noCredentials lists the ways to provide credentials.
const noCredentials = "no AWS credentials: set AWS_PROFILE to a profile (after `aws sso login`), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or, in GitHub Actions, SLIPWAY_ROLE_ARN with `permissions: id-token: write`" //nolint:gosec // advice, not a credential

// isIMDSError reports whether the last credentials source was EC2 instance
// metadata, the SDK's last resort.
func isIMDSError(err error) bool {
	for err != nil {
		var operation *smithy.OperationError
		if !errors.As(err, &operation) {
			return false
		}
		if operation.Service() == "ec2imds" {
			return true
		}
		err = operation.Err
	}
	return false
}

// Credential sources with an interactive login.
var (
	ssoSources   = []aws.CredentialSource{aws.CredentialSourceSSO, aws.CredentialSourceSSOLegacy, aws.CredentialSourceProfileSSO, aws.CredentialSourceProfileSSOLegacy}
	loginSources = []aws.CredentialSource{aws.CredentialSourceLogin, aws.CredentialSourceProfileLogin}
)

// explainCredentials explains why a source returned no credentials. It does not
// repeat the text of unknown errors.
func explainCredentials(err error, sources []aws.CredentialSource) error {
	from := func(some ...aws.CredentialSource) bool {
		return slices.ContainsFunc(sources, func(s aws.CredentialSource) bool { return slices.Contains(some, s) })
	}
	var known *explainedError
	switch code := errorCode(err); {
	case errors.As(err, &known), outcome.Of(err) == outcome.Usage:
		return withoutSDKText(err)
	case isIMDSError(err):
		return explained(outcome.Usage, err, "%s", noCredentials)
	case explainEndpoint(err) != nil:
		return explainEndpoint(err)
	case from(ssoSources...) && code == "ForbiddenException":
		return explained(outcome.Usage, err, "AWS SSO does not give this user the role of profile %s: choose another with AWS_PROFILE, or have it assigned", profileName())
	case from(ssoSources...) && (code == "" || slices.Contains([]string{"UnauthorizedException", "InvalidGrantException", "ExpiredTokenException"}, code)):
		return explained(outcome.Usage, err, "the AWS SSO session of profile %s has expired or does not exist: %s", profileName(), loginCommand("sso login"))
	case from(loginSources...):
		return explained(outcome.Usage, err, "the AWS login of profile %s has expired: %s", profileName(), loginCommand("login"))
	case from(aws.CredentialSourceProcess):
		return explained(outcome.Usage, err, "the credential_process of profile %s gives no credentials: run it by hand to see why (its output is not shown, because it may contain keys)", profileName())
	}
	if found := explainCode(err); found != nil {
		return found
	}
	return explained(outcome.Usage, err, "the source of the AWS credentials returned none%s: test it with `aws sts get-caller-identity`", codeSuffix(err))
}

// withoutSDKText removes the SDK's text from an error that is explained already.
func withoutSDKText(err error) error {
	if known, ok := errors.AsType[*explainedError](err); ok {
		return outcome.With(outcome.Of(err), known)
	}
	text := err.Error()
	if _, rest, ok := strings.Cut(text, "failed to refresh cached credentials, "); ok {
		text = rest
	}
	return explained(outcome.Of(err), err, "%s", text)
}

func codeSuffix(err error) string {
	if code := errorCode(err); code != "" {
		return " (" + iamAction(err) + " returned " + code + ")"
	}
	return ""
}

// profileName returns the profile in use.
func profileName() string {
	if name := profile(); name != "" {
		return name
	}
	return "default"
}

// shellWord quotes a word for a shell.
func shellWord(word string) string {
	if strings.ContainsFunc(word, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-@/:", r)
	}) {
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	return word
}

// loginCommand returns the AWS CLI's command for the profile in use.
func loginCommand(command string) string {
	if name := profile(); name != "" {
		return "aws " + command + " --profile " + shellWord(name)
	}
	return "aws " + command
}

// explainConfig explains an error in AWS's configuration files and variables. The
// SDK's text about a file's syntax may quote the file, and is left out.
func explainConfig(err error) error {
	var unreadable config.SharedConfigLoadError
	var absent config.SharedConfigProfileNotExistError
	switch {
	case errors.As(err, &unreadable):
		return explained(outcome.Usage, err, "%s is not a valid AWS configuration file: correct it (aws configure list shows what is read)", unreadable.Filename)
	case errors.As(err, &absent):
		return unknownProfile(absent.Profile, profiles())
	case errors.As(err, new(config.AssumeRoleTokenProviderNotSetError)):
		return explained(outcome.Usage, err, "profile %[1]s requires an MFA code (mfa_serial), which slipway does not prompt for: use a session of the AWS CLI: eval \"$(aws configure export-credentials --profile %[1]s --format env)\"", shellWord(profileName()))
	}
	return explained(outcome.Usage, err, "AWS's configuration: %s", err.Error())
}

// explain explains why the role could not be assumed with the job's OIDC token.
func (w *webIdentity) explain(err error) error {
	switch code := errorCode(err); code {
	case "AccessDenied":
		return explained(outcome.Usage, err, "AWS does not let this job assume %s: the role's trust policy must name token.actions.githubusercontent.com, the audience %s and this repository with its branch or environment", w.role, audienceSTS)
	case "InvalidIdentityToken", "IDPRejectedClaim":
		return explained(outcome.Usage, err, "AWS does not accept the job's OIDC token for %s (%s): the account must have the OIDC provider token.actions.githubusercontent.com with the audience %s", w.role, code, audienceSTS)
	case "ExpiredTokenException":
		return explained(outcome.Failed, err, "the job's OIDC token expired before AWS accepted it for %s: rerun the job (on a self-hosted runner, check the clock)", w.role)
	}
	if found := explainEndpoint(err); found != nil {
		return found
	}
	return explained(outcome.Failed, err, "assuming %s: AWS returned no session%s", w.role, codeSuffix(err))
}
