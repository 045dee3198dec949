// Package delivery delivers services to an AWS account: it finds or publishes the
// images of a commit, releases them, and reports what runs. It combines the packages
// that do the work.
package delivery

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	awsecr "github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/scheduler"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
)

// Account holds the clients of an AWS account and region.
type Account struct {
	config aws.Config
	ecs    *ecs.Client
	ecr    *awsecr.Client
	elb    *elb.Client
	logs   *cloudwatchlogs.Client
	// metrics are those of the load balancer.
	metrics *cloudwatch.Client
	// registryID is the account whose registry has the images; empty means this one.
	registryID string
	// schedules are those of jobs.
	schedules *scheduler.Client
}

// NewAccount returns the clients for a configuration.
func NewAccount(config aws.Config) Account {
	return Account{
		config: config, ecs: ecs.NewFromConfig(config), ecr: awsecr.NewFromConfig(config),
		elb: elb.NewFromConfig(config), logs: cloudwatchlogs.NewFromConfig(config), metrics: cloudwatch.NewFromConfig(config), schedules: scheduler.NewFromConfig(config),
	}
}

// In returns the account with the registry of an environment.
func (a Account) In(e platform.Environment) Account {
	if a.registryID = e.RegistryAccount; e.RegistryAccount == e.AccountID {
		a.registryID = ""
	}
	return a
}

// Region returns the account's region.
func (a Account) Region() string { return a.config.Region }

// renew makes the next call fetch new credentials.
func (a Account) renew() { awsauth.InvalidateCredentials(a.config) }

// engine returns an engine that releases to the account and reports to the recorder.
func (d Delivery) engine() rollout.Engine {
	return rollout.Engine{
		ECS: d.Account.ecs, Logs: d.Account.logs, Health: d.Account.elb, Schedules: d.Account.schedules, Clock: d.clock(), Event: d.Recorder.Event,
		Environment: d.Environment,
		Renew:       d.Account.renew, Explain: awsauth.Explain,
	}
}

func (d Delivery) clock() rollout.Clock {
	if d.Clock == nil {
		return clock.Real{}
	}
	return d.Clock
}
