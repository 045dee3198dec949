package pipeline

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/ecs"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/infra/terraform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// TerraformOptions select the configuration, its backend and its variables; see
// [infra.Stage] and [terraform.PlanOptions].
type TerraformOptions struct {
	Dir            string
	Backend        []string
	Vars, VarFiles []string
	LockTimeout    time.Duration
}

// platformDir is the folder of the platform's Terraform configuration.
var platformDir = path.Dir(platform.ServicesFile)

// terraformStage returns a stage on the source tree. With credentials it can call AWS; that
// of the platform is in the environment e.
func (p Pipeline) terraformStage(ctx context.Context, options TerraformOptions, credentials bool) (s infra.Stage, e platform.Environment, err error) {
	if options.Dir == "" || !filepath.IsLocal(filepath.FromSlash(options.Dir)) {
		return s, e, outcome.Usagef("invalid --dir %q: want a folder of the source tree", options.Dir)
	}
	s.Dir, s.Backend.Config = path.Clean(filepath.ToSlash(options.Dir)), options.Backend
	if s.Tree, err = source.Open(ctx, p.Dir); err != nil {
		return s, e, err
	}
	var env map[string]string
	if credentials {
		if s.Dir == platformDir {
			if e, err = platform.SelectEnvironment(p.Dir, p.Environment); err != nil {
				return s, e, err
			}
			s.Backend.Config = append(e.Backend(), s.Backend.Config...)
			s.Environment = e.Label()
		}
		var caller awsauth.Caller
		if caller.Options, err = p.awsOptions(ctx, e); err != nil {
			return s, e, err
		}
		if err := checkAccount(ctx, caller.Options, e); err != nil {
			return s, e, err
		}
		if env, err = caller.Environment(ctx); err != nil {
			return s, e, err
		}
		s.Identity = caller
		s.Shifts = func(ctx context.Context, services []string) (map[string]string, error) {
			return shifts(ctx, caller.Options, services)
		}
	}
	s.Exec = p.exec(s.Tree, env)
	if host, ok := s.Exec.(step.Host); ok {
		host.Log, host.Tee = p.Log, &terraform.Progress{W: p.Log}
		s.Exec, s.Program = host, terraform.Program()
		return s, e, nil
	}
	lock, err := image.ReadLock(p.Dir)
	s.Image, s.Environ = lock.Reference("terraform"), []string{} // containers do not get this process's environment
	return s, e, err
}

// shifts returns the ARNs of what ECS shifts the traffic of services with, and the name of the
// service of each. The services are given by ARN.
func shifts(ctx context.Context, options awsauth.Options, services []string) (map[string]string, error) {
	config, err := awsauth.Load(ctx, options)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, service := range services {
		of, err := arn.Parse(service)
		parts := strings.Split(of.Resource, "/") // service/CLUSTER/NAME
		if err != nil || len(parts) != 3 {
			continue // not of ECS
		}
		client := ecs.NewFromConfig(config, func(o *ecs.Options) { o.Region = of.Region })
		out, err := client.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &parts[1], Services: []string{service}})
		if err != nil {
			return nil, fmt.Errorf("describing the ECS service %s, whose load balancing the plan changes: %w", parts[2], awsauth.Explain(err))
		}
		for _, described := range out.Services {
			if shift := rollout.ShiftOf(described.LoadBalancers); shift != nil {
				for _, resource := range []string{shift.TargetGroup, shift.AlternateTargetGroup, shift.ProductionRule, shift.TestRule, shift.Role} {
					found[resource] = aws.ToString(described.ServiceName)
				}
			}
		}
	}
	return found, nil
}

// Validate validates the Terraform configuration; see [infra.Stage.Validate].
func (p Pipeline) Validate(ctx context.Context, dir string) (infra.Validation, error) {
	s, _, err := p.terraformStage(ctx, TerraformOptions{Dir: dir}, false)
	if err != nil {
		return infra.Validation{}, err
	}
	// terraform validate does not check the values of variables.
	if s.Dir == platformDir {
		settings, err := platform.Load(p.Dir)
		if err != nil {
			return infra.Validation{}, err
		}
		all, err := platform.Environments(p.Dir)
		if err != nil {
			return infra.Validation{}, err
		}
		if err := settings.CheckIn(all); err != nil {
			return infra.Validation{}, err
		}
	}
	return s.Validate(ctx)
}

// varFiles returns files of variables, after that of the environment.
func (p Pipeline) varFiles(e platform.Environment, files []string) []string {
	if e.File == "" {
		return files
	}
	return append([]string{filepath.Join(p.Dir, filepath.FromSlash(e.File))}, files...)
}

// Plan plans changes of the platform; see [infra.Stage.Plan].
func (p Pipeline) Plan(ctx context.Context, options TerraformOptions, o infra.PlanOptions) (infra.SavedPlan, error) {
	if o.RefreshOnly && o.Destroy {
		return infra.SavedPlan{}, outcome.Usagef("--refresh-only and --destroy exclude each other: leave out one of them")
	}
	s, e, err := p.terraformStage(ctx, options, true)
	if err != nil {
		return infra.SavedPlan{}, err
	}
	options.VarFiles = p.varFiles(e, options.VarFiles)
	o.Vars, o.VarFiles, o.LockTimeout = options.Vars, options.VarFiles, options.LockTimeout
	return s.Plan(ctx, o)
}

// Apply applies a plan of the platform; see [infra.Stage.Apply].
func (p Pipeline) Apply(ctx context.Context, options TerraformOptions, o infra.ApplyOptions) (infra.ApplyReport, error) {
	s, e, err := p.terraformStage(ctx, options, true)
	if err != nil {
		return infra.ApplyReport{}, err
	}
	if len(options.Vars)+len(options.VarFiles) > 0 { // they are compared with all of the plan's
		options.VarFiles = p.varFiles(e, options.VarFiles)
	}
	o.Vars, o.VarFiles, o.LockTimeout = options.Vars, options.VarFiles, options.LockTimeout
	if p.Next != nil {
		p.Next("run " + e.Command("plan") + " after Terraform has exited to see what is left to apply")
		defer p.Next("")
	}
	return s.Apply(ctx, o)
}

// drift adds the drift of the platform to a status. It does not lock the state and keeps
// no plan.
func (p Pipeline) drift(ctx context.Context, options TerraformOptions, status *report.Status) error {
	out, err := os.MkdirTemp("", "slipway-drift-")
	if err != nil {
		return fmt.Errorf("creating a folder for the plan: %w", err)
	}
	defer os.RemoveAll(out)
	planned, err := p.Plan(ctx, options, infra.PlanOptions{Out: out, PlanOptions: terraform.PlanOptions{RefreshOnly: true, NoLock: true}})
	if err == nil {
		status.Infra = planned.Summary
	}
	return err
}
