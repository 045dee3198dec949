package cli

import (
	"fmt"
	"net"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/rehearsal"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) upCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the services on this machine, as they run on AWS",
		Long: `Up builds the services' images and runs them as processes behind the embedded load
balancer, with its routes and health checks, at one address until interrupted. To
develop with live reload, use docker compose up instead.`,
		Example: `  slipway up
  slipway up --listen 127.0.0.1:3000`,
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "address to listen on, HOST:PORT")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if _, _, err := splitListen(listen, "127.0.0.1:8080"); err != nil {
			return err
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen) // before anything is built
		if err != nil {
			return fmt.Errorf("%w: choose another address with --listen", err)
		}
		defer func() { _ = listener.Close() }()
		var served error
		up := false
		release, err := a.pipeline("", nil).Rehearse(ctx, pipeline.RehearseOptions{
			Scenario: string(rehearsal.Happy), Listen: "127.0.0.1:0", SkipTests: true,
			Up: func(_ string, release report.Release) {
				if release.ExitCode != outcome.Done {
					return
				}
				up = true
				served = a.serve(cmd, listener, release.URL)
			},
		})
		if err != nil {
			return err
		}
		if !up {
			a.code = release.ExitCode
			return a.printRelease(release)
		}
		return served
	}
	return cmd
}

// serve forwards connections of the listener to the load balancer at baseURL until the
// command is interrupted.
func (a *app) serve(cmd *cobra.Command, listener net.Listener, baseURL string) error {
	address, err := url.Parse(baseURL)
	if err != nil {
		return fmt.Errorf("parsing the load balancer's URL: %w", err)
	}
	f := localaws.Forward(cmd.Context(), listener, address.Host)
	fmt.Fprintf(a.stderr, "the services are up at http://%s: press Ctrl-C to stop them\n", f.Address())
	<-cmd.Context().Done()
	return f.Close()
}
