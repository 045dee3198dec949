package cli

import (
	"github.com/spf13/cobra"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/report/outcome"
)

func (a *app) initCommand() *cobra.Command {
	var o pipeline.InitOptions
	var region string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a services file from what an ECS cluster runs",
		Long: `Init reads the services of an ECS cluster, with their task definitions, target groups
and listener rules, and writes an entry for each, with the names that they have: a
release then works on what runs already. It changes nothing in AWS.

An entry has kind image and the image that runs, unless --path names the folder that
it is built from. Values of environment variables that look like secrets are not
written. Notes list what an entry cannot express; a release keeps it, because it
copies the newest revision of the task definition.`,
		Example: `  slipway init --from-ecs production
  slipway init --from-ecs production --path api=services/api --out services.json`,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Cluster, "from-ecs", "", "name of the ECS cluster (default none: required)")
	flags.StringVar(&o.Out, "out", "", "file to write (default "+platform.ServicesFile+" in the source tree)")
	flags.StringArrayVar(&o.Paths, "path", nil, "NAME=FOLDER: the folder that the image of an entry is built from; repeatable (default none)")
	flags.BoolVar(&o.Force, "force", false, "replace an existing file")
	bindRegion(cmd, &region)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.Cluster == "" {
			return outcome.Usagef("init reads an ECS cluster: name it with --from-ecs CLUSTER")
		}
		written, err := a.pipeline(region, nil).Init(cmd.Context(), o)
		if err != nil {
			return err
		}
		return a.printDocument(written, nil)
	}
	return cmd
}
