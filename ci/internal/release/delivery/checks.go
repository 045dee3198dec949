package delivery

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/slipway-cd/slipway/ci/internal/release/preflight"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
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
