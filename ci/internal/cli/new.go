package cli

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/config/platform"
	"dagger/slipway/internal/config/scaffold"
	"dagger/slipway/internal/report/outcome"
)

func (a *app) newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Add to the source tree",
		Long: `New writes what a part of the platform needs into the source tree, and commits
nothing. It ends with 0 when all was written, and with another code when nothing
was.`,
		Example: `  slipway new service orders --kind go
  slipway new service handbook --kind nginx`,
		Args: rejectUnknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newServiceCommand())
	return cmd
}

func (a *app) newServiceCommand() *cobra.Command {
	var wish platform.Service
	var kind string
	cmd := &cobra.Command{
		Use:   "service NAME",
		Short: "Add a service: its entry in the services file and its folder",
		Long: `Service writes an entry into ` + platform.ServicesFile + ` and a
folder with a small service that passes every stage as it is, or nothing of both.
Kind go is a module of its own that tells which instance answers; kind nginx is a
site. Terraform makes the rest from the entry.`,
		Example: `  slipway new service orders --kind go
  slipway new service handbook --kind nginx --route '/help/*'
  slipway new service orders --kind go --port 8010 --cpu 512 --memory 1024 --path services/orders`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return outcome.Usagef("new service takes one name, and got %d: slipway new service NAME --kind go", len(args))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kind, "kind", "", "how the image is made: "+strings.Join(scaffold.Kinds(), " or ")+" (default none: it must be said)")
	flags.StringVar(&wish.Path, "path", "", "folder of the service (default NAME)")
	flags.StringArrayVar(&wish.Routes, "route", nil, "path that leads to the service, with /* for all below it; may be repeated (default /NAME and /NAME/*)")
	flags.IntVar(&wish.Port, "port", 0, "port that the container listens on (default the first free one from 8000, for nginx from 8080)")
	flags.StringVar(&wish.HealthPath, "health-path", "", "what answers 200 when the service is well (default /health, for nginx /healthz)")
	flags.IntVar(&wish.CPU, "cpu", 256, "CPU of a task in Fargate's units, 1024 to a core")
	flags.IntVar(&wish.Memory, "memory", 512, "memory of a task in MiB")
	flags.IntVar(&wish.DesiredCount, "desired-count", 2, "number of tasks")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if kind == "" {
			return outcome.Usagef("which kind of service is %s? Say --kind %s", args[0], strings.Join(scaffold.Kinds(), " or --kind "))
		}
		added, err := a.pipeline("", nil).NewService(cmd.Context(), args[0], kind, func(service *platform.Service) {
			service.CPU, service.Memory, service.DesiredCount = wish.CPU, wish.Memory, wish.DesiredCount
			service.Path = cmp.Or(wish.Path, service.Path)
			service.HealthPath = cmp.Or(wish.HealthPath, service.HealthPath)
			if len(wish.Routes) > 0 {
				service.Routes = wish.Routes
			}
			if flags.Changed("port") {
				service.Port = wish.Port
			}
		})
		if err != nil {
			return err
		}
		return a.printDocument(added, nil)
	}
	return cmd
}
