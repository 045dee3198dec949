package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/dagger"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/release/smoke"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Account has the credentials for AWS. Secrets stay references: their plaintext is read
// where it is used, and is never a field.
type Account struct {
	// +private
	Credentials *dagger.Secret
	// +private
	Role string
	// +private
	TokenURL *dagger.Secret
	// +private
	Token *dagger.Secret
	// +private
	Run string
	// +private
	Region string
	// +private
	Emulator *dagger.Service
}

// emulatorHost is the host name of the emulator in containers.
const emulatorHost = "aws"

// backend adds path-style addressing to the settings of the S3 backend for an emulator:
// its host name has no subdomains for buckets. It leaves out settings without a value, such
// as the bucket of a workflow whose environments have their own.
func (a Account) backend(config []string) []string {
	config = slices.DeleteFunc(slices.Clone(config), func(setting string) bool { return strings.HasSuffix(setting, "=") })
	if a.Emulator == nil {
		return config
	}
	return append([]string{"use_path_style=true"}, config...)
}

// options returns the options of the SDK; stop releases what they use.
func (a Account) options(ctx context.Context) (o awsauth.Options, stop func(), err error) {
	options := awsauth.Options{Region: a.Region, Role: a.Role, Run: a.Run}
	if err := readSecrets(ctx, secretText{a.Credentials, &options.CredentialsJSON}, secretText{a.TokenURL, &options.TokenURL}, secretText{a.Token, &options.Token}); err != nil {
		return o, nil, fmt.Errorf("reading the AWS credentials: %w", err)
	}
	if a.Credentials == nil && a.Role == "" && a.Emulator == nil {
		return o, nil, outcome.Usagef("no AWS credentials: on a laptop --aws-credentials='cmd://aws configure export-credentials --format process', before the function's name; in GitHub Actions --aws-role=ARN --github-token-url=env://ACTIONS_ID_TOKEN_REQUEST_URL --github-token=env://ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	}
	if a.Credentials == nil && a.Role != "" && (a.TokenURL == nil || a.Token == nil) {
		return o, nil, outcome.Usagef("no AWS credentials: --aws-role may be assumed only with the job's identity: add --github-token-url=env://ACTIONS_ID_TOKEN_REQUEST_URL --github-token=env://ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	}
	stop = func() {}
	if a.Emulator != nil {
		if options.Endpoint, stop, err = forwardPorts(ctx, a.Emulator); err != nil {
			return o, nil, err
		}
		if a.Credentials == nil {
			options.CredentialsJSON = `{"Version": 1, "AccessKeyId": "any", "SecretAccessKey": "any"}`
		}
	}
	return options, stop, nil
}

// secretText is a secret, which may be nil, and where its plaintext goes.
type secretText struct {
	from *dagger.Secret
	to   *string
}

// readSecrets reads the secrets that are set.
func readSecrets(ctx context.Context, secrets ...secretText) (err error) {
	for _, s := range secrets {
		if s.from == nil {
			continue
		}
		if *s.to, err = s.from.Plaintext(ctx); err != nil {
			return err
		}
	}
	return nil
}

// attestations returns how to attest published images: as the GitHub Actions job, if its
// token was given. Images for an emulator are not signed: they do not belong into
// Sigstore's public log.
func (a Account) attestations(ctx context.Context, keyless bool) (delivery.Attestations, error) {
	if a.TokenURL == nil || a.Token == nil || a.Emulator != nil {
		return delivery.Attestations{}, nil
	}
	var address, token string
	if err := readSecrets(ctx, secretText{a.TokenURL, &address}, secretText{a.Token, &token}); err != nil {
		return delivery.Attestations{}, fmt.Errorf("reading the credentials of the job: %w", err)
	}
	found, err := awsauth.RequestIDToken(ctx, address, token, "sigstore")
	if err != nil {
		return delivery.Attestations{}, err
	}
	attestations := delivery.Attestations{}
	if attestations.Run, err = supplychain.RunFromToken(found); err == nil && keyless {
		attestations.Signer = &supplychain.Signer{Identity: map[string]string{
			"ACTIONS_ID_TOKEN_REQUEST_URL": address, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": token,
		}}
	}
	return attestations, err
}

// loadBalancer returns the name of the load balancer of a pipeline's environment.
func loadBalancer(p pipeline.Pipeline) string {
	environment, err := platform.SelectEnvironment(p.Dir, p.Environment)
	if err != nil {
		return platform.LoadBalancer // the stage reports it
	}
	return environment.LoadBalancer()
}

// forwardLoadBalancer forwards the address of the load balancer to the endpoint of the
// emulator, which serves it by its Host header: the smoke test could not reach it
// otherwise. It does nothing if the emulator has no load balancer.
func forwardLoadBalancer(ctx context.Context, options awsauth.Options, name string) (stop func()) {
	stop = func() {}
	config, err := awsauth.Load(ctx, options)
	if err != nil {
		return stop
	}
	found, err := smoke.BaseURL(ctx, elasticloadbalancingv2.NewFromConfig(config), name)
	if err != nil {
		return stop
	}
	at, err := url.Parse(found)
	if err != nil || !net.ParseIP(at.Hostname()).IsLoopback() {
		return stop
	}
	opened, err := localaws.ListenAndForward(ctx, at.Host, strings.TrimPrefix(options.Endpoint, "http://"))
	if err != nil {
		return stop // the port is forwarded already
	}
	return func() { _ = opened.Close() }
}

// forwardPorts forwards the ports of the emulator from this container, with the same
// numbers: an emulator returns addresses of its own machine for its registry and load
// balancer.
func forwardPorts(ctx context.Context, emulator *dagger.Service) (endpoint string, stop func(), err error) {
	running, err := emulator.Start(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("starting the emulator of AWS: %w", err)
	}
	ports, err := running.Ports(ctx)
	if err != nil {
		return "", nil, fmt.Errorf("finding the emulator's ports: %w", err)
	}
	var open []*localaws.PortForward
	stop = func() {
		for _, f := range open {
			_ = f.Close() // the container ends with the function
		}
	}
	for _, port := range ports {
		number, err := port.Port(ctx)
		if err != nil {
			stop()
			return "", nil, fmt.Errorf("finding the emulator's ports: %w", err)
		}
		to, err := running.Endpoint(ctx, dagger.ServiceEndpointOpts{Port: number})
		if err != nil {
			stop()
			return "", nil, fmt.Errorf("finding the emulator's port %d: %w", number, err)
		}
		f, err := localaws.ListenAndForward(ctx, fmt.Sprintf("127.0.0.1:%d", number), to)
		if err != nil {
			stop()
			return "", nil, err
		}
		open = append(open, f)
	}
	if len(open) == 0 {
		return "", nil, errors.New("the AWS emulator exposes no port: set one, as in --aws=tcp://127.0.0.1:4566")
	}
	return "http://" + open[0].Address(), stop, nil
}
