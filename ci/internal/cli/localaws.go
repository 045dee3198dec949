package cli

import (
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/localaws"
	"dagger/slipway/internal/outcome"
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
		if err := checkListen(options.Listen); err != nil {
			return err
		}
		if options.TimeScale <= 0 {
			return outcome.Usagef("--time-scale %g: take a number above 0, such as 10 for ten times faster", options.TimeScale)
		}
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

// checkListen wants an address of this machine's own: whoever reaches the
// embedded AWS runs programs here.
func checkListen(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return outcome.Usagef("--listen %q: write HOST:PORT, such as 127.0.0.1:4566, or port 0 for a free one", address)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return outcome.Usagef("--listen %q: the port must lie within 0 and 65535", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return outcome.Usagef("--listen %q: take a loopback address, such as 127.0.0.1:%s: whoever reaches the embedded AWS runs programs here", address, port)
	}
	return nil
}
