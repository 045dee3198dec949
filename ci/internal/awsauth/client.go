package awsauth

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go/middleware"
)

// Limits of a call to AWS.
const (
	dialTimeout    = 5 * time.Second
	attemptTimeout = 20 * time.Second // from the connection to the end of the response
	maxAttempts    = 8
	maxBackoff     = 5 * time.Second
	callTimeout    = time.Minute // for all attempts
)

// addCallTimeout limits a call, including all of its attempts, to callTimeout.
func addCallTimeout(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("slipway:Timeout", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		return next.HandleInitialize(ctx, in)
	}), middleware.Before)
}

// httpClient returns the HTTP client for AWS. It has the SDK's type, because the
// SDK adds AWS_CA_BUNDLE only to that.
func httpClient() *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithTimeout(attemptTimeout).
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dialTimeout })
}

// NewRetryer returns a standard-mode retryer with at most eight attempts and five
// seconds between them. That outlasts ECS's throttling: RegisterTaskDefinition
// allows one call per second for the whole account. AWS_MAX_ATTEMPTS overrides the
// number.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
func NewRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = maxAttempts
		o.MaxBackoff = maxBackoff
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(isTruncated))
	})
}

// isTruncated marks truncated responses as retryable. The SDK retries only calls
// without any response. For one that ends after the last chunk, net/http has an error of its
// own, which it does not export.
func isTruncated(err error) aws.Ternary {
	if errors.Is(err, io.ErrUnexpectedEOF) || err != nil && strings.Contains(err.Error(), "unexpected EOF reading trailer") {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// configuredRetryer returns [NewRetryer] with the number of attempts in
// AWS_MAX_ATTEMPTS. An invalid value is found when the configuration is loaded.
func configuredRetryer() aws.Retryer {
	env, err := config.NewEnvConfig()
	if err != nil || env.RetryMaxAttempts < 1 {
		return NewRetryer()
	}
	return retry.AddWithMaxAttempts(NewRetryer(), env.RetryMaxAttempts)
}
