package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// otherAccount are the flags for the credentials of the other environment of a command.
type otherAccount struct{ name, profile, role string }

// bind adds the flags. name is that of the flag that names the environment.
func (o *otherAccount) bind(cmd *cobra.Command, name, environment string) {
	o.name = name
	cmd.Flags().StringVar(&o.profile, name+"-profile", "", "AWS profile for "+environment+" (default the same credentials)")
	cmd.Flags().StringVar(&o.role, name+"-role", "", "ARN of the role to assume for "+environment+" with the identity of the GitHub Actions job (default the same credentials)")
}

// set sets how a pipeline opens the account of the other environment.
func (o *otherAccount) set(p *pipeline.Pipeline) error {
	if o.profile != "" && o.role != "" {
		return outcome.Usagef("--%s-profile and --%s-role exclude each other: leave out one of them", o.name, o.name)
	}
	if o.profile != "" || o.role != "" {
		p.OtherAWS = func(context.Context) (awsauth.Options, error) {
			return awsauth.Options{Profile: o.profile, Role: o.role, JobRole: o.role != ""}, nil
		}
	}
	return nil
}

// bindWith adds the flags of commands that compare with another environment.
func bindWith(cmd *cobra.Command, with *string, other *otherAccount, usage string) {
	cmd.Flags().StringVar(with, "with", "", usage)
	other.bind(cmd, "with", "that environment")
}

// setWith is [otherAccount.set] for the environment of --with.
func (o *otherAccount) setWith(p *pipeline.Pipeline, with string) error {
	if with == "" && (o.profile != "" || o.role != "") {
		return outcome.Usagef("--with-profile and --with-role need --with: add it")
	}
	return o.set(p)
}

func (a *app) promoteCommand() *cobra.Command {
	var o pipeline.PromoteOptions
	var f releaseFlags
	var trust supplychain.Trust
	var source otherAccount
	unsigned := false
	cmd := &cobra.Command{
		Use:   "promote",
		Short: "Release in one environment what another one runs",
		Long: `Promote releases what an environment runs in another one, digest for digest. It
never builds. Before anything is copied, it checks that the source runs one commit
completely and as it was released, for at least --soak; that the images have a
trusted signature; and that they have no known vulnerability of the severity
--fail-on or higher. Otherwise it exits with 5.

Then it copies to the target's registry what that lacks: the images with their
signatures, SBOM and provenance, and the commit's tag. The release itself is that
of deploy: all services or none, with smoke test and restore, and with --pause-at a
pause for a person.

With --sha it promotes a commit that the source ran before, if its deployment
succeeded and was not rolled back. If the target's file has promote_from, only
that environment can be promoted there, and --from may be left out.`,
		Example: `  slipway promote --from staging --to production --key cosign.pub
  slipway promote --to production --soak 30m --from-profile staging \
    --identity https://github.com/OWNER/REPO/.github/workflows/deliver.yml@refs/heads/main
  slipway promote --from staging --to production --allow-unsigned --fail-on none`,
	}
	bindServices(cmd, &f.services)
	f.bindRelease(cmd)
	f.bindPause(cmd)
	f.bindStrategy(cmd, "as in the services file")
	cmd.Flags().StringVar(&o.From, "from", "", "environment whose release is promoted (default promote_from of the target)")
	cmd.Flags().StringVar(&o.To, "to", "", "environment to release in (default none: required)")
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of the commit to promote (default the one that the source runs)")
	cmd.Flags().DurationVar(&o.Soak, "soak", 0, "how long the source must have run the commit, such as 30m (default none)")
	cmd.Flags().BoolVar(&f.AllowNoRollback, "allow-no-rollback", false, "release although the images of the previous version are gone, so that it cannot be restored")
	cmd.Flags().BoolVar(&unsigned, "allow-unsigned", false, "promote images without a trusted signature")
	cmd.Flags().StringVar(&o.FailOn, "fail-on", string(supplychain.High), "lowest severity of a vulnerability that refuses the promotion: critical, high, medium, low or none (no scan)")
	cmd.Flags().StringVar(&o.Exceptions, "exceptions", "", "file of accepted findings (default "+supplychain.ExceptionsFile+", if it exists)")
	for _, name := range []string{"from", "to"} {
		_ = cmd.RegisterFlagCompletionFunc(name, completeWith(a.environmentNames)) // the flag exists
	}
	source.bind(cmd, "from", "the source")
	bindTrust(cmd, &trust)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		o.Services, o.Options = f.services, f.Options
		if o.Trust, err = trust.ForPromotion(unsigned); err != nil {
			return err
		}
		return a.runRelease(f, func(p pipeline.Pipeline) (report.Release, error) {
			if err := source.set(&p); err != nil {
				return report.Release{}, err
			}
			return p.Promote(cmd.Context(), o)
		})
	}
	return cmd
}
