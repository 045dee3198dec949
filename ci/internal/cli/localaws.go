package cli

import (
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/rehearse/localaws"
	"dagger/slipway/internal/report/outcome"
)

func (a *app) localAWSCommand() *cobra.Command {
	var options localaws.Options
	var faults []string
	cmd := &cobra.Command{
		Use:   "local-aws",
		Short: "Serve the embedded AWS until interrupted",
		Long: `Local-aws serves ECS, ECR with a registry, ELBv2 with a load balancer that
routes, CloudWatch Logs, IAM roles, Secrets Manager, SSM parameters and STS on
one address, for unmodified clients. Tasks are processes of this machine. It
prints AWS_ENDPOINT_URL=… when it is ready.

It can be as bad as AWS is on a bad day. --throttle refuses calls beyond the
request rates that AWS documents, --latency delays each call, and --fault makes
calls go wrong: KIND[:key=value,…] with the kinds throttle, 5xx, reset, slow,
expired-token, lost (done, but not answered), stale (reads) and denied, and the
keys service, action, rate (share of the calls), times (at most), delay
and after (bytes of an upload that are taken in before).`,
		Example: `  slipway local-aws
  slipway local-aws --listen 127.0.0.1:4566
  slipway local-aws --throttle --latency 50ms
  slipway local-aws --fault throttle:rate=0.3 --fault lost:action=UpdateService,times=1`,
	}
	cmd.Flags().StringVar(&options.Listen, "listen", "127.0.0.1:0", "address to serve; port 0 takes a free one")
	cmd.Flags().Float64Var(&options.TimeScale, "time-scale", 1, "how much faster than real time ECS and the load balancer go")
	cmd.Flags().BoolVar(&options.Throttle, "throttle", false, "refuse calls beyond AWS's documented request rates")
	cmd.Flags().DurationVar(&options.Latency, "latency", 0, "delay of each call, such as 50ms (default none)")
	cmd.Flags().StringArrayVar(&faults, "fault", nil, "make calls go wrong: KIND[:key=value,…]; may be repeated (default none)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if err := checkLoopback(options.Listen); err != nil {
			return err
		}
		if options.TimeScale <= 0 {
			return outcome.Usagef("--time-scale %g: take a number above 0, such as 10 for ten times faster", options.TimeScale)
		}
		if options.Latency < 0 {
			return outcome.Usagef("--latency %s: take a duration of 0 or more, such as 50ms", options.Latency)
		}
		injected, err := parseFaults(faults)
		if err != nil {
			return err
		}
		server, err := localaws.Start(ctx, options)
		if err != nil {
			return err
		}
		for _, fault := range injected {
			server.Inject(fault)
		}
		fmt.Fprintf(a.stdout, "AWS_ENDPOINT_URL=%s\n", server.Endpoint())
		<-ctx.Done()
		return server.Close()
	}
	return cmd
}

// parseFaults reads all values of --fault.
func parseFaults(texts []string) ([]localaws.Fault, error) {
	var faults []localaws.Fault
	for _, text := range texts {
		fault, err := localaws.ParseFault(text)
		if err != nil {
			return nil, outcome.Usagef("--fault: %w", err)
		}
		faults = append(faults, fault)
	}
	return faults, nil
}

// checkListen wants an address of this machine's own: whoever reaches the
// embedded AWS runs programs here.
func checkLoopback(address string) error {
	host, port, err := splitListen(address, "127.0.0.1:4566")
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return outcome.Usagef("--listen %q: take a loopback address, such as 127.0.0.1:%s: whoever reaches the embedded AWS runs programs here", address, port)
	}
	return nil
}

// hostPort takes an address to listen at apart.
func splitListen(address, example string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", outcome.Usagef("--listen %q: write HOST:PORT, such as %s, or port 0 for a free one", address, example)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", "", outcome.Usagef("--listen %q: the port must lie within 0 and 65535", address)
	}
	return host, port, nil
}
