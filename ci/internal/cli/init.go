package cli

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/scaffold"
	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) initCommand() *cobra.Command {
	var o scaffold.InitOptions
	var fromECS pipeline.FromECSOptions
	var version string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Add the pipeline to a repository, or write a services file from what an ECS cluster runs",
		Long: `Init looks at the files that git tracks: main packages of Go modules that listen on a
port, Dockerfiles, and static sites. It prints what it found and why it took it, and
writes the services file and the files that call the pipeline by its version:
terraform/main.tf, terraform/bootstrap/main.tf, .github/workflows/ci.yml and
dagger.json. In a folder of a repository, the workflow is in the repository's root. It
writes all of them or none, and replaces no file without --force. It runs no code of
the repository and uses no network.

If it finds several services, it asks on a terminal; otherwise name them with --service
or take all with --yes.

With --from-ecs it reads the services of an ECS cluster instead, with their task
definitions, target groups and listener rules, and writes only the services file, with
the names that they have: a release then works on what runs already. It changes nothing
in AWS. An entry has kind image and the image that runs, unless --path names the folder
that it is built from. Values of environment variables that look like secrets are not
written. Notes list what an entry cannot express; a release keeps it, because it copies
the newest revision of the task definition. Then run init --without services for the
other files.`,
		Example: `  slipway init
  slipway init --service api=services/api:./cmd/api --service web=web --route 'web=/*'
  slipway init --yes --github OWNER/REPO --region eu-west-1
  slipway init --from-ecs production
  slipway init --from-ecs production --path api=services/api --out services.json`,
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&o.Services, "service", nil, "NAME=FOLDER or NAME=FOLDER:PACKAGE of a service; repeatable (default what is found)")
	flags.StringArrayVar(&o.Kinds, "kind", nil, "kind of a service, KIND or NAME=KIND: go, dockerfile or nginx; repeatable (default what is found)")
	flags.StringArrayVar(&o.Ports, "port", nil, "port that a service listens on, PORT or NAME=PORT, 0 for a worker; repeatable (default what is found)")
	flags.StringArrayVar(&o.HealthPaths, "health-path", nil, "path of the health check, PATH or NAME=PATH; repeatable (default what is found, else /)")
	flags.StringArrayVar(&o.Routes, "route", nil, "path that is routed to a service, PATH or NAME=PATH; repeatable (default /*, and /NAME and /NAME/* for further services)")
	flags.StringVar(&o.GitHub, "github", "", "OWNER/REPO on GitHub (default that of the remote origin)")
	flags.StringVar(&o.Workflow, "workflow", scaffold.DefaultWorkflow, "file name of the workflow")
	flags.StringSliceVar(&o.Without, "without", nil, "parts to leave out: services (keeps the file that exists), terraform, workflow, dagger (default none)")
	flags.StringVar(&version, "version", "", "version of slipway that the files name, such as v1.2.3 (default that of this program)")
	flags.BoolVar(&o.All, "yes", false, "take all services that are found, and ask nothing")
	flags.StringVar(&fromECS.Cluster, "from-ecs", "", "name of an ECS cluster to read (default none: look at the repository)")
	flags.StringVar(&fromECS.Out, "out", "", "with --from-ecs, file to write (default "+platform.ServicesFile+" in the source tree)")
	flags.StringArrayVar(&fromECS.Paths, "path", nil, "with --from-ecs, NAME=FOLDER: the folder that the image of an entry is built from; repeatable (default none)")
	flags.BoolVar(&o.Force, "force", false, "replace existing files")
	bindRegion(cmd, &o.Region)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if fromECS.Cluster != "" {
			for _, name := range []string{"service", "kind", "port", "health-path", "route", "github", "workflow", "without", "version", "yes"} {
				if flags.Changed(name) {
					return outcome.Usagef("--%s does not go with --from-ecs, which writes only the services file: leave it out, and run slipway init --without services afterwards", name)
				}
			}
			fromECS.Force = o.Force
			written, err := a.pipeline(o.Region, nil).InitFromECS(cmd.Context(), fromECS)
			if err != nil {
				return err
			}
			return a.printDocument(written, nil)
		}
		for _, name := range []string{"out", "path", "env"} {
			if flags.Changed(name) {
				return outcome.Usagef("--%s needs a cluster to read: name it with --from-ecs CLUSTER, or leave it out", name)
			}
		}
		if !o.All && term.IsTerminal(int(os.Stdin.Fd())) && a.output == text {
			o.Ask = asker(os.Stdin, a.stderr)
		}
		result, err := a.pipeline(o.Region, nil).Init(cmd.Context(), version, o)
		if err != nil {
			return err
		}
		return a.printDocument(result, nil)
	}
	return cmd
}

// asker returns a function that asks a person on a terminal.
func asker(in io.Reader, out io.Writer) func(string) (string, error) {
	lines := bufio.NewScanner(in)
	return func(question string) (string, error) {
		if _, err := io.WriteString(out, question); err != nil {
			return "", err
		}
		if !lines.Scan() {
			return "", outcome.Usagef("no answer: %w", errors.Join(lines.Err(), io.EOF))
		}
		return strings.TrimSpace(lines.Text()), nil
	}
}

func (a *app) upgradeCommand() *cobra.Command {
	var to string
	var check bool
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Move the version of slipway that a repository's files name",
		Long: `Upgrade moves the version in every Terraform file, workflow and dagger.json that refers
to slipway, and prints the notes of the releases between. It moves all of them or none,
commits nothing, and moves back only with --to. Notes are those that this program knows: install the newest one
first. With --check it writes nothing, and exits with 1 if a file names another version.`,
		Example: `  slipway upgrade
  slipway upgrade --check
  slipway upgrade --to v1.2.3`,
	}
	cmd.Flags().StringVar(&to, "to", "", "version to move to, such as v1.2.3 (default that of this program)")
	cmd.Flags().BoolVar(&check, "check", false, "write nothing, and fail if a file names another version")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		result, err := a.pipeline("", nil).Upgrade(cmd.Context(), to, check)
		if err != nil {
			return err
		}
		if check && result.Stale() {
			a.code = outcome.Failed
		}
		return a.printDocument(result, nil)
	}
	return cmd
}
