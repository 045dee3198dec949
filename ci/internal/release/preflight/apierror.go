package preflight

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/aws/smithy-go"

	"dagger/slipway/internal/report/outcome"
)

// apiCall is a call as an IAM policy names it.
type apiCall struct {
	action   string // iam:GetRole
	resource string // ARN, or "*"
}

// deniedMessage is what AWS says about a permission that is missing. The resource is
// left out where the action knows none.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
var deniedMessage = regexp.MustCompile(`not authorized to perform: ([A-Za-z0-9-]+:[A-Za-z0-9]+)(?: on resource: (arn:\S+|\*))?`)

// denied says whether an error means that the caller may not do something, and
// what: as AWS said it, or as the call was where it said nothing.
func denied(err error, asked apiCall) (apiCall, bool) {
	var answer smithy.APIError
	if !errors.As(err, &answer) || !slices.Contains([]string{
		"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized", "UnauthorizedException",
	}, answer.ErrorCode()) {
		return apiCall{}, false
	}
	if m := deniedMessage.FindStringSubmatch(answer.ErrorMessage()); m != nil {
		asked.action = m[1]
		if m[2] != "" {
			asked.resource = m[2]
		}
	}
	return asked, true
}

// isCode says whether an error is an answer of AWS with one of the codes.
func isCode(err error, codes ...string) bool {
	var answer smithy.APIError
	return errors.As(err, &answer) && slices.Contains(codes, answer.ErrorCode())
}

// readError is a failed read as a note's reason. A read that this role need not be
// allowed, or that the endpoint does not serve, says nothing about the thing.
func (r *run) readError(err error, asked apiCall) string {
	if missing, ok := denied(err, asked); ok {
		return "the caller lacks " + missing.action
	}
	if isCode(err, "UnknownOperationException", "InvalidAction", "NotImplemented", "UnsupportedOperationException") {
		return "the endpoint does not serve " + asked.action
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("%s gave no answer within %s", asked.action, r.Timeout)
	}
	return outcome.OneLine(asked.action + ": " + apiMessage(err))
}

// requiredError makes the finding of a call that had to work and did not.
func (r *run) requiredError(who, what string, err error, asked apiCall) error {
	if missing, ok := denied(err, asked); ok {
		return fail(nil, "%s: %s cannot be checked: the caller lacks %s on %s: allow it in the caller's policy", who, what, missing.action, missing.resource)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fail(err, "%s: %s cannot be checked: %s gave no answer within %s: try again", who, what, asked.action, r.Timeout)
	}
	return fail(err, "%s: %s cannot be checked: %s: %s", who, what, asked.action, apiMessage(err))
}
