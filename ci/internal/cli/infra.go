package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/infra"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/report/outcome"
)

// defaultPlan is where plan writes, and apply reads.
const defaultPlan = ".slipway/plan"

// infraFlags are those that the commands about the platform share.
type infraFlags struct {
	pipeline.TerraformOptions
	region string
}

func (f *infraFlags) bindDir(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Dir, "dir", infra.DefaultDir, "folder of the Terraform configuration in the source tree")
}

// bind adds the flags of commands that talk to the backend.
func (f *infraFlags) bind(cmd *cobra.Command) {
	f.bindDir(cmd)
	f.bindValues(cmd)
	cmd.Flags().DurationVar(&f.LockTimeout, "lock-timeout", 0, "how long to wait for somebody else's lock on the state, such as 5m (default not at all)")
	bindRegion(cmd, &f.region)
}

// bindValues adds the flags that say where the state is, and what variables are.
func (f *infraFlags) bindValues(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.Backend, "backend-config", nil, "setting of the backend, KEY=VALUE or a file, as terraform init takes it; may be repeated (default what the configuration says)")
	cmd.Flags().StringArrayVar(&f.Vars, "var", nil, "value of a variable, NAME=VALUE; may be repeated (default that of the configuration)")
	cmd.Flags().StringArrayVar(&f.VarFiles, "var-file", nil, "file with values of variables; may be repeated (default *.auto.tfvars of the configuration)")
}

func (a *app) validateCommand() *cobra.Command {
	var f infraFlags
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check the Terraform configuration, its format and its tests",
		Long: `Validate runs terraform validate, fmt -check and test on the configuration and
on the root modules below it. It needs no credentials and reads no state. Every
finding has its file and line.`,
		Example: `  slipway validate
  slipway validate --dir terraform/bootstrap --output json`,
	}
	f.bindDir(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		found, err := a.pipeline("", nil).Validate(cmd.Context(), f.Dir)
		if err != nil {
			return err
		}
		if found.Result == infra.Failed {
			a.code = outcome.Failed
		}
		return a.printDocument(found, nil)
	}
	return cmd
}

func (a *app) planCommand() *cobra.Command {
	var f infraFlags
	var o infra.PlanOptions
	lock := true
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Plan changes of the platform, to be reviewed and applied as they are",
		Long: `Plan asks Terraform what it would change, and writes a plan directory: tfplan,
plan.json, summary.md and binding.json, which ties the plan to the
commit, the configuration, the providers, the variables, the state and the
account that it was made from. It exits with 0 whether there are changes or not.

tfplan has every value in clear, secrets included: keep it private. The other
files have none.

With --refresh-only it tells what others have changed (drift).`,
		Example: `  slipway plan
  slipway plan --state-lock=false --output markdown
  slipway plan --backend-config bucket=my-state --var log_retention_days=365
  slipway plan --refresh-only`,
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&o.Out, "out", defaultPlan, "directory to write the plan to")
	cmd.Flags().BoolVar(&o.RefreshOnly, "refresh-only", false, "tell drift, and plan nothing but to take it over into the state")
	cmd.Flags().BoolVar(&o.Destroy, "destroy", false, "plan the end of the platform")
	cmd.Flags().BoolVar(&lock, "state-lock", true, "lock the state meanwhile; a role that may only read it needs --state-lock=false")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.NoLock = !lock
		planned, err := a.pipeline(f.region, nil).Plan(cmd.Context(), f.TerraformOptions, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "the plan is in %s; slipway apply --plan %s applies it as it is\n", o.Out, o.Out)
		return a.printDocument(planned, nil)
	}
	return cmd
}

func (a *app) applyCommand() *cobra.Command {
	var f infraFlags
	var o infra.ApplyOptions
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Apply a plan of the platform exactly as it was reviewed",
		Long: `Apply applies a saved plan and nothing else, under the state's lock. It refuses
(exit code 5) a plan whose commit, configuration, providers, variables, state,
account or own hash are not what they were, and one that destroys or replaces
anything that an apply cannot make again as it was, or of a kind that slipway does
not know, unless each is named with --allow-destroy. A plan that leaves a part of
the configuration out (-target in TF_CLI_ARGS_plan) wants --allow-partial.
Ephemeral variables, which no plan holds, are given to both commands, and may have
another value here.

Interrupted, it lets Terraform finish what it has begun, and reports. After a
failure the state holds what was done: plan and apply again to carry on.`,
		Example: `  slipway apply
  slipway apply --plan .slipway/plan --digest sha256:4d91…
  slipway apply --allow-destroy 'aws_ecr_repository.service["old"]'`,
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&o.Plan, "plan", defaultPlan, "plan directory that slipway plan wrote")
	cmd.Flags().StringVar(&o.Digest, "digest", "", "digest that the plan must have: the one that was reviewed (default any)")
	cmd.Flags().StringArrayVar(&o.AllowDestroy, "allow-destroy", nil, "address of a resource that may be destroyed or replaced; may be repeated (default none)")
	cmd.Flags().BoolVar(&o.AllowPartial, "allow-partial", false, "apply a plan that leaves a part of the configuration out, as one with -target does")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a.productionChanged = true
		p := a.pipeline(f.region, nil)
		p.Next = a.setRecovery
		applied, err := p.Apply(cmd.Context(), f.TerraformOptions, o)
		if applied.Result == "" {
			return err
		}
		return errors.Join(a.printDocument(applied, nil), err)
	}
	return cmd
}
