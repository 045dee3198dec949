package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/localaws"
)

func (a *app) localAWSCommand() *cobra.Command {
	var options localaws.Options
	cmd := &cobra.Command{
		Use:   "local-aws",
		Short: "Serve the embedded AWS until interrupted",
		Long: `Local-aws serves ECS, ECR with a registry, ELBv2 with a load balancer that
routes, CloudWatch Logs and STS on one address, for unmodified clients. Tasks
are processes of this machine. It prints AWS_ENDPOINT_URL=… when it is ready.`,
		Example: `  slipway local-aws
  slipway local-aws --listen 127.0.0.1:4566`,
	}
	cmd.Flags().StringVar(&options.Listen, "listen", "127.0.0.1:0", "address to serve; port 0 takes a free one")
	cmd.Flags().Float64Var(&options.TimeScale, "time-scale", 1, "how much faster than real time ECS and the load balancer go")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		server, err := localaws.Start(ctx, options)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "AWS_ENDPOINT_URL=%s\n", server.Endpoint())
		<-ctx.Done()
		return server.Close()
	}
	return cmd
}
