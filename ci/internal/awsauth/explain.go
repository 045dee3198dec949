package awsauth

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// explainedError explains an error and the next step in one line. The wrapped error
// is for errors.As only: its text may contain secrets.
type explainedError struct {
	text   string
	reason string // text without the caller's prefix
	err    error
}

func (e *explainedError) Error() string { return e.text }
func (e *explainedError) Unwrap() error { return e.err }

func explained(code outcome.Code, err error, format string, args ...any) error {
	text := outcome.OneLine(fmt.Sprintf(format, args...))
	return outcome.With(code, &explainedError{text: text, reason: text, err: err})
}

// Explain replaces errors of AWS clients about credentials, permissions and
// endpoints by one line with the next step, and keeps the caller's prefix. The exit
// code is that of err, if it has one; otherwise Usage for credentials and Failed
// for permissions and networks. Other errors are returned unchanged.
func Explain(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // only the outermost join can be split
		return errors.Join(explainEach(joined.Unwrap(), map[string]bool{})...)
	}
	var known *explainedError
	found := err
	if !errors.As(err, &known) {
		if found = explain(err); found == nil {
			return err
		}
		errors.As(found, &known)
	}
	code := outcome.Of(err)
	if code == outcome.Failed {
		code = outcome.Of(found)
	}
	text := outcome.OneLine(prefix(err, known) + known.text)
	return outcome.With(code, &explainedError{text: text, reason: known.reason, err: err})
}

// explainEach explains joined errors. Of several with the same explanation, such as of an
// endpoint that no call reaches, it returns the first; given has those that were returned.
func explainEach(errs []error, given map[string]bool) (all []error) {
	for _, err := range errs {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			all = append(all, explainEach(joined.Unwrap(), given)...)
			continue
		}
		err = Explain(err)
		text := err.Error()
		if known := (*explainedError)(nil); errors.As(err, &known) {
			text = known.reason
		}
		if !given[text] {
			given[text] = true
			all = append(all, err)
		}
	}
	return all
}

// explain returns the explanation of a failed call, or nil if the failure is
// unknown.
func explain(err error) error {
	if absent, ok := errors.AsType[config.SharedConfigProfileNotExistError](err); ok {
		return explained(outcome.Usage, err, "%s", unknownProfile(absent.Profile, profiles()).Error())
	}
	if isIMDSError(err) {
		return explained(outcome.Usage, err, "%s", noCredentials)
	}
	if found := explainCode(err); found != nil {
		return found
	}
	if found := explainEndpoint(err); found != nil {
		return found
	}
	if errors.Is(err, context.DeadlineExceeded) && errors.As(err, new(*smithy.OperationError)) {
		return explained(outcome.Failed, err, "AWS did not respond in time (%s): check the network, and AWS_ENDPOINT_URL or the profile's endpoint_url", iamAction(err))
	}
	return nil
}

// prefix returns the text before the SDK's message or before the explanation.
func prefix(err error, known *explainedError) string {
	if operation, ok := errors.AsType[*smithy.OperationError](err); ok {
		if before, _, ok := strings.Cut(err.Error(), operation.Error()); ok {
			return before
		}
	}
	if before, _, ok := strings.Cut(err.Error(), known.text); ok {
		return before
	}
	if before, _, ok := strings.Cut(err.Error(), registryDenial); ok {
		return before + ": "
	}
	return ""
}

// registryDenial begins the message of a registry client about a denied request.
const registryDenial = ": the registry denied access"

// Error codes that AWS services share.
// https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
var (
	expiredCodes = []string{"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
	unknownCodes = []string{"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId", "InvalidToken", "AuthFailure"}
	signedCodes  = []string{"SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature"}
	deniedCodes  = []string{"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"}
)

// IsAccessDenied reports whether a call failed for lack of permission.
func IsAccessDenied(err error) bool { return slices.Contains(deniedCodes, errorCode(err)) }

// errorCode returns AWS's error code, or "" for other errors.
func errorCode(err error) string {
	var apiError smithy.APIError
	if !errors.As(err, &apiError) {
		return ""
	}
	return apiError.ErrorCode()
}

func explainCode(err error) error {
	code := errorCode(err)
	switch {
	case slices.Contains(expiredCodes, code):
		return explained(outcome.Usage, err, "the AWS credentials have expired (%s returned %s): renew them (%s, or rerun the job) and run the same command again", iamAction(err), code, loginCommand("sso login"))
	case slices.Contains(unknownCodes, code):
		return explained(outcome.Usage, err, "AWS does not know these credentials (%s returned %s): the access key was deleted, or belongs to another partition or endpoint: check AWS_ACCESS_KEY_ID, AWS_PROFILE and AWS_ENDPOINT_URL", iamAction(err), code)
	case slices.Contains(signedCodes, code):
		return explained(outcome.Usage, err, "AWS does not accept the signature (%s returned %s): the secret access key does not belong to the access key, or this machine's clock is wrong", iamAction(err), code)
	case slices.Contains(deniedCodes, code):
		return explainDenial(err)
	case notAuthorized.MatchString(err.Error()): // the same message from a registry
		return explainDenial(err)
	}
	return nil
}

// notAuthorized matches AWS's message about a missing permission.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
var notAuthorized = regexp.MustCompile(`(?:User|Principal): (\S+) is not authorized to perform: ([\w-]+:[\w*]+)(?: on resource: (\S+))?(?: (because [^\n)]+|with an explicit deny[^\n]*))?`)

func explainDenial(err error) error {
	match := notAuthorized.FindStringSubmatch(err.Error())
	if match == nil {
		return explained(outcome.Failed, err, "AWS denies %s: allow it in the policy of these credentials (`aws sts get-caller-identity` shows their owner)", iamAction(err))
	}
	who, what, where, why := match[1], match[2], strings.Trim(match[3], `"`), match[4]
	if where != "" {
		what += " on " + where
	}
	if why != "" {
		why = " (" + why + ")"
	}
	return explained(outcome.Failed, err, "AWS denies %s to %s%s: allow it in the policy", what, who, why)
}

// iamPrefixes are the IAM prefixes that differ from the service's name.
var iamPrefixes = map[string]string{
	"Elastic Load Balancing v2": "elasticloadbalancing",
	"CloudWatch Logs":           "logs",
}

// iamAction returns the IAM action of the failed call.
func iamAction(err error) string {
	var operation *smithy.OperationError
	if !errors.As(err, &operation) {
		return "the call"
	}
	prefix, ok := iamPrefixes[operation.Service()]
	if !ok {
		prefix = strings.ToLower(strings.ReplaceAll(operation.Service(), " ", "-"))
	}
	return prefix + ":" + operation.Operation()
}
