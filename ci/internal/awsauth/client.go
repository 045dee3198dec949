package awsauth

import (
	"context"
	"errors"
	"io"
	"net"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/middleware"
)

// Limits of one call to AWS.
const (
	dialTimeout    = 5 * time.Second
	attemptTimeout = 20 * time.Second // from connecting to the answer's last byte
	maxAttempts    = 8
	maxBackoff     = 5 * time.Second
	callTimeout    = time.Minute // with all attempts, so that silence is not waited for eight times
)

// addCallTimeout ends a call, with all its attempts, after callTimeout.
func addCallTimeout(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("slipway:Timeout", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return next.HandleInitialize(ctx, in)
	}), middleware.Before)
}

// httpClient carries calls to AWS. It is the SDK's kind of client, because the
// SDK adds AWS_CA_BUNDLE to no other.
func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(attemptTimeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout })
}

// NewRetryer repeats calls that AWS throttles or cannot answer just now: eight
// attempts at most, at most five seconds apart, in the SDK's standard mode.
// That outlasts ECS's throttling, where RegisterTaskDefinition has one call a
// second for the whole account; AWS_MAX_ATTEMPTS may say otherwise.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
func NewRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.MaxBackoff = maxBackoff
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(isTruncated))
	})
}

// isTruncated tells an answer whose connection ended in its middle. The SDK repeats
// a call whose answer never began to arrive, but not this one.
func isTruncated(err error) aws.Ternary {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// configuredRetryer is [Retryer], with as many attempts as AWS_MAX_ATTEMPTS
// says. A value that is no number is found when the configuration is loaded.
func configuredRetryer() aws.Retryer {
	env, err := config.NewEnvConfig()
	if err != nil || env.RetryMaxAttempts < 1 {
		return NewRetryer()
	}
	return retry.AddWithMaxAttempts(NewRetryer(), env.RetryMaxAttempts)
}
