package delivery

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"dagger/slipway/internal/awsauth"
	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/release/preflight"
	"dagger/slipway/internal/release/rollout"
	"dagger/slipway/internal/release/smoke"
)

// preflight runs the preflight checks. It reports what could not be checked as
// events, and returns the other notes for the report.
func (d Delivery) preflight(ctx context.Context, changes []rollout.ServiceChange, allowNoRollback bool) (reported []string, err error) {
	config := d.Account.config
	checker := preflight.Checker{
		STS: sts.NewFromConfig(config), ECS: d.Account.ecs, ECR: d.Account.ecr, IAM: iam.NewFromConfig(config),
		Logs: d.Account.logs, ELB: d.Account.elb, Secrets: secretsmanager.NewFromConfig(config), Parameters: ssm.NewFromConfig(config),
		Region: config.Region, AllowNoRollback: allowNoRollback,
	}
	err = d.stage("preflight", func() error {
		notes, err := checker.Check(ctx, changes)
		for _, note := range notes {
			d.Recorder.Event("", note)
			if !strings.HasPrefix(note, preflight.NotChecked) {
				reported = append(reported, note)
			}
		}
		return err
	})
	return reported, err
}

// baseURL returns the URL of the system, or a note why the smoke test is skipped.
// The error means that the URL could not be looked up.
func (d Delivery) baseURL(ctx context.Context, o Options) (url, note string, err error) {
	if o.URL != "" {
		return strings.TrimSuffix(o.URL, "/"), "", nil // paths begin with one
	}
	url, err = smoke.BaseURL(ctx, d.Account.elb, platform.LoadBalancer)
	var noEndpoint *smoke.NoEndpointError
	if errors.As(err, &noEndpoint) {
		return "", "no smoke test: " + awsauth.Explain(err).Error() + ": set the URL with --url", nil
	}
	return url, "", awsauth.Explain(err)
}

// smokeTest runs the smoke test. The routes of the services in versions, which the
// release changes, decide the release: a failure there fails it, even if the route
// failed before. Failures of other services are returned as notes, because restoring
// would not fix them.
func (d Delivery) smokeTest(ctx context.Context, url string, versions map[string]string) (notes []string, err error) {
	tester := smoke.Tester{Clock: d.clock(), Timeout: cmp.Or(d.SmokeTimeout, smoke.DefaultTimeout)}
	var own, others []smoke.Check
	for _, check := range smoke.Checks(d.All, versions) {
		if _, changed := versions[check.Service]; changed {
			own = append(own, check)
		} else {
			others = append(others, check)
		}
	}
	err = d.stage("smoke", func() error {
		if err := tester.Run(ctx, url, own); err != nil {
			return err
		}
		for _, note := range smoke.Notes(ctx, url, others) {
			notes = append(notes, note)
			d.Recorder.Event("", note)
		}
		return nil
	})
	return notes, err
}
