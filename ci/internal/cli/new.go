package cli

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) newCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Add a service to the source tree",
		Long: `New adds files to the source tree and commits nothing. It exits with 0 if it wrote
all files; otherwise it wrote none.`,
		Example: `  slipway new service orders --kind go
  slipway new service handbook --kind nginx`,
		Args: rejectUnknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newServiceCommand())
	return cmd
}

func (a *app) newServiceCommand() *cobra.Command {
	var options platform.Service
	var kind string
	var worker bool
	cmd := &cobra.Command{
		Use:   "service NAME",
		Short: "Add a service: its entry in the services file and its folder",
		Long: `Service adds an entry to ` + platform.ServicesFile + ` and a
folder with a small service that passes every stage. Kind go is a Go module with an
HTTP server, nginx a static site, dockerfile a Dockerfile, and image an existing
image, which has no folder. Terraform creates the AWS resources from the entry.`,
		Example: `  slipway new service orders --kind go
  slipway new service handbook --kind nginx --route '/help/*'
  slipway new service cache --kind image --image docker.io/library/redis:8 --worker
  slipway new service orders --kind go --port 8010 --cpu 512 --memory 1024 --path services/orders`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return outcome.Usagef("new service takes one name, but got %d: run slipway new service NAME --kind go", len(args))
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&kind, "kind", "", "kind of service: "+strings.Join(platform.Kinds(), ", ")+" (default none: required)")
	flags.StringVar(&options.Path, "path", "", "folder of the service (default NAME)")
	flags.StringArrayVar(&options.Routes, "route", nil, "path that is routed to the service, with /* for all paths below; repeatable (default /NAME and /NAME/*)")
	flags.IntVar(&options.Port, "port", 0, "port that the container listens on (default the first free port from 8000, for nginx from 8080)")
	flags.StringVar(&options.HealthPath, "health-path", "", "path of the health check (default /health, for nginx /healthz)")
	flags.StringVar(&options.Image, "image", "", "image of kind image, with a tag or digest (default none: required)")
	flags.BoolVar(&worker, "worker", false, "add a service without port and routes, of kind dockerfile or image")
	flags.IntVar(&options.CPU, "cpu", 256, "CPU units of a task, 1024 per vCPU")
	flags.IntVar(&options.Memory, "memory", 512, "memory of a task in MiB")
	flags.IntVar(&options.DesiredCount, "desired-count", 2, "number of tasks")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if kind == "" {
			return outcome.Usagef("service %s has no kind: add --kind %s", args[0], strings.Join(platform.Kinds(), ", "))
		}
		if worker && (flags.Changed("port") || flags.Changed("route") || flags.Changed("health-path")) {
			return outcome.Usagef("--worker has no port, routes and health path: leave out --port, --route and --health-path")
		}
		added, err := a.pipeline("", nil).NewService(cmd.Context(), args[0], kind, func(service *platform.Service) {
			service.CPU, service.Memory, service.DesiredCount = options.CPU, options.Memory, options.DesiredCount
			service.Path = cmp.Or(options.Path, service.Path)
			service.HealthPath = cmp.Or(options.HealthPath, service.HealthPath)
			if len(options.Routes) > 0 {
				service.Routes = options.Routes
			}
			if flags.Changed("port") {
				service.Port = options.Port
			}
			service.Image = options.Image
			if worker {
				service.Port, service.HealthPath, service.Routes = 0, "", nil
			}
		})
		if err != nil {
			return err
		}
		return a.printDocument(added, nil)
	}
	return cmd
}
