package preflight

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/aws/smithy-go"

	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// apiCall is a call in the terms of an IAM policy.
type apiCall struct {
	action   string // iam:GetRole
	resource string // ARN, or "*"
}

// deniedMessage matches AWS's message about a missing permission. It has no resource if
// the action does not support one.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
var deniedMessage = regexp.MustCompile(`not authorized to perform: ([A-Za-z0-9-]+:[A-Za-z0-9]+)(?: on resource: (arn:\S+|\*))?`)

// denied reports whether an error is a missing permission. It returns the action and
// resource of AWS's message or, if that has none, of the call.
func denied(err error, call apiCall) (apiCall, bool) {
	var apiError smithy.APIError
	if !errors.As(err, &apiError) || !slices.Contains([]string{
		"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized", "UnauthorizedException",
	}, apiError.ErrorCode()) {
		return apiCall{}, false
	}
	if m := deniedMessage.FindStringSubmatch(apiError.ErrorMessage()); m != nil {
		call.action = m[1]
		if m[2] != "" {
			call.resource = m[2]
		}
	}
	return call, true
}

// readError returns the reason in a note about a failed read. A missing permission or
// an unsupported API says nothing about the resource.
func (r *run) readError(err error, call apiCall) string {
	if missing, ok := denied(err, call); ok {
		return "the caller lacks " + missing.action
	}
	if rollout.IsCode(err, "UnknownOperationException", "InvalidAction", "NotImplemented", "UnsupportedOperationException") {
		return "the endpoint does not support " + call.action
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("%s timed out after %s", call.action, r.Timeout)
	}
	return outcome.OneLine(call.action + ": " + apiMessage(err))
}

// requiredError returns the finding for a failed call that a release requires.
func (r *run) requiredError(who, what string, err error, call apiCall) error {
	if missing, ok := denied(err, call); ok {
		return fail(nil, "%s: %s cannot be checked: the caller lacks %s on %s: allow it in the caller's policy", who, what, missing.action, missing.resource)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fail(err, "%s: %s cannot be checked: %s timed out after %s: try again", who, what, call.action, r.Timeout)
	}
	return fail(err, "%s: %s cannot be checked: %s: %s", who, what, call.action, apiMessage(err))
}
