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

// preflight checks what must hold before the release changes anything. What could
// not be checked is told as it goes; the remarks belong into the report.
func (d Delivery) preflight(ctx context.Context, subjects []rollout.ServiceChange, noWayBack bool) (remarks []string, err error) {
	config := d.Account.config
	checker := preflight.Checker{
		STS: sts.NewFromConfig(config), ECS: d.Account.ecs, ECR: d.Account.ecr, IAM: iam.NewFromConfig(config),
		Logs: d.Account.logs, ELB: d.Account.elb, Secrets: secretsmanager.NewFromConfig(config), Parameters: ssm.NewFromConfig(config),
		Region: config.Region, AllowNoRollback: noWayBack,
	}
	err = d.stage("preflight", func() error {
		notes, err := checker.Check(ctx, platform.Cluster, subjects)
		for _, note := range notes {
			d.Recorder.Event("", note)
			if !strings.HasPrefix(note, preflight.NotChecked) {
				remarks = append(remarks, note)
			}
		}
		return err
	})
	return remarks, err
}

// baseURL is the URL of the system, or a note why there is none. An error tells
// that nobody knows.
func (d Delivery) baseURL(ctx context.Context, o Options) (door, note string, err error) {
	if o.URL != "" {
		return strings.TrimSuffix(o.URL, "/"), "", nil // what is asked for begins with one
	}
	door, err = smoke.BaseURL(ctx, d.Account.elb, platform.LoadBalancer)
	var none *smoke.NoEndpointError
	if errors.As(err, &none) {
		return "", "no smoke test: " + awsauth.Explain(err).Error() + ": name the system's address with --url", nil
	}
	return door, "", awsauth.Explain(err)
}

// smokeTest asks the released system whether it is what was released. The routes of the
// services that the release changes, which are those in versions, decide: what fails
// there fails the release, even if it did so before, because a fix that fixes nothing
// is not done. What fails of other services is a remark: it was so before, or has
// other causes, and going back would not mend it.
func (d Delivery) smokeTest(ctx context.Context, door string, versions map[string]string) (remarks []string, err error) {
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
		if err := tester.Run(ctx, door, own); err != nil {
			return err
		}
		for _, remark := range smoke.Notes(ctx, door, others) {
			remarks = append(remarks, remark)
			d.Recorder.Event("", remark)
		}
		return nil
	})
	return remarks, err
}
