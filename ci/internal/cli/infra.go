package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/infra"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// defaultPlan is where plan writes, and apply reads.
const defaultPlan = ".slipway/plan"

// infraFlags are the flags of the Terraform commands.
type infraFlags struct {
	pipeline.TerraformOptions
	region string
}

func (f *infraFlags) bindDir(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Dir, "dir", infra.DefaultDir, "folder of the Terraform configuration in the source tree")
}

// bind adds the flags of commands that use the backend.
func (f *infraFlags) bind(cmd *cobra.Command) {
	f.bindDir(cmd)
	f.bindValues(cmd)
	cmd.Flags().DurationVar(&f.LockTimeout, "lock-timeout", 0, "maximum wait for the state lock, such as 5m (default none)")
	bindRegion(cmd, &f.region)
}

// bindValues adds the flags of the backend and of variables.
func (f *infraFlags) bindValues(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.Backend, "backend-config", nil, "backend setting, KEY=VALUE or a file, as in terraform init; repeatable (default those of the configuration)")
	cmd.Flags().StringArrayVar(&f.Vars, "var", nil, "value of a variable, NAME=VALUE; repeatable (default that of the configuration)")
	cmd.Flags().StringArrayVar(&f.VarFiles, "var-file", nil, "file with values of variables; repeatable (default *.auto.tfvars of the configuration)")
}

func (a *app) validateCommand() *cobra.Command {
	var f infraFlags
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Validate, test and check the format of the Terraform configuration",
		Long: `Validate runs terraform validate, fmt -check and test on the configuration and on
the root modules below it. It needs no credentials and does not read the state.
Every finding has a file and line.`,
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
		Short: "Plan changes of the platform for review",
		Long: `Plan runs terraform plan and writes a plan directory: tfplan, plan.json,
summary.md and binding.json. binding.json binds the plan to its commit,
configuration, providers, variables, state and account. Plan exits with 0 with or
without changes.

tfplan contains all values in plain text, including secrets: keep it private. The
other files contain no secrets.

With --refresh-only it shows the drift of the platform.`,
		Example: `  slipway plan
  slipway plan --state-lock=false --output markdown
  slipway plan --backend-config bucket=my-state --var 'settings={log_retention_days=365}'
  slipway plan --refresh-only`,
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&o.Out, "out", defaultPlan, "directory to write the plan to")
	cmd.Flags().BoolVar(&o.RefreshOnly, "refresh-only", false, "show drift, and plan only to update the state with it")
	cmd.Flags().BoolVar(&o.Destroy, "destroy", false, "plan to destroy the platform")
	cmd.Flags().BoolVar(&lock, "state-lock", true, "lock the state; use --state-lock=false with a role that cannot write it")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.NoLock = !lock
		planned, err := a.pipeline(f.region, nil).Plan(cmd.Context(), f.TerraformOptions, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stderr, "the plan is in %s: apply it with slipway apply%s --plan %s\n", o.Out, a.environmentFlag(), o.Out)
		return a.printDocument(planned, nil)
	}
	return cmd
}

func (a *app) applyCommand() *cobra.Command {
	var f infraFlags
	var o infra.ApplyOptions
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Apply a plan of the platform exactly as reviewed",
		Long: `Apply applies a saved plan and nothing else, with the state locked. It refuses a
plan (exit code 5)

  - if its commit, configuration, providers, variables, state, account or hash
    have changed since;
  - if it destroys or replaces a resource that cannot be created again as it was,
    or whose type slipway does not know, or with which ECS shifts the traffic of a
    service: name each with --allow-destroy;
  - if it omits a part of the configuration (-target in TF_CLI_ARGS_plan), unless
    --allow-partial is given.

A plan does not contain ephemeral variables: set them for both commands. Their
values may differ.

After the changes, apply refreshes the state with what AWS has set in other
resources because of them. If a resource has changed outside of Terraform since
the plan was made, or if the refresh fails, a warning says so.

When interrupted, apply waits until Terraform has finished its current
operations. After a failure, plan and apply again.`,
		Example: `  slipway apply
  slipway apply --plan .slipway/plan --digest sha256:4d91…
  slipway apply --allow-destroy 'module.environment.module.platform.aws_ecr_repository.service["old"]'`,
	}
	f.bind(cmd)
	cmd.Flags().StringVar(&o.Plan, "plan", defaultPlan, "plan directory written by slipway plan")
	cmd.Flags().StringVar(&o.Digest, "digest", "", "expected digest of the plan, as reviewed (default any)")
	cmd.Flags().StringArrayVar(&o.AllowDestroy, "allow-destroy", nil, "address of a resource that may be destroyed or replaced; repeatable (default none)")
	cmd.Flags().BoolVar(&o.AllowPartial, "allow-partial", false, "apply a plan that omits a part of the configuration, such as one with -target")
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
