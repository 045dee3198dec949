package awsauth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// checkEndpoint validates an endpoint URL.
func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	parsed, err := url.Parse(endpoint)
	if err == nil && parsed.Host != "" && (parsed.Scheme == "http" || parsed.Scheme == "https") {
		return nil
	}
	shown := endpoint[strings.LastIndex(endpoint, "@")+1:] // no password
	return outcome.Usagef("invalid AWS endpoint %q: want http://HOST or https://HOST, such as http://127.0.0.1:4566 (AWS_ENDPOINT_URL or the profile's endpoint_url)", shown)
}

// explainEndpoint explains a connection error; it returns nil for other errors.
func explainEndpoint(err error) error {
	if _, ok := errors.AsType[*smithyhttp.RequestSendError](err); !ok {
		return nil
	}
	address := "AWS"
	hint := "check the network"
	if urlError, ok := errors.AsType[*url.Error](err); ok {
		if parsed, bad := url.Parse(urlError.URL); bad == nil && parsed.Host != "" {
			address = parsed.Scheme + "://" + parsed.Host
			hint = endpointHint(parsed.Hostname())
		}
	}
	return explained(outcome.Failed, err, "%s cannot be reached (%s): %s", address, reason(err), hint)
}

// endpointHint returns what to check if a host cannot be reached.
func endpointHint(host string) string {
	if strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn") {
		return "check the region (AWS_REGION, --region, in Dagger --aws-region) and the network"
	}
	return "check that the endpoint of AWS_ENDPOINT_URL or the profile's endpoint_url is correct and running"
}

// reason returns the cause of a network error without the URL, which the caller
// reports itself and may not want to show in full.
func reason(err error) string {
	var unknown *net.DNSError
	var certificate *tls.CertificateVerificationError
	var timeout interface{ Timeout() bool }
	var operation *net.OpError
	var urlError *url.Error
	switch {
	case errors.As(err, &certificate):
		return fmt.Sprintf("its certificate is not trusted: %v; set AWS_CA_BUNDLE to the CA certificates to trust", certificate.Err)
	case errors.As(err, &unknown):
		return "no such host"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no response in time"
	case errors.As(err, &operation):
		return operation.Err.Error()
	case errors.As(err, &urlError):
		return urlError.Err.Error()
	}
	return err.Error()
}
