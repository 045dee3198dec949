package cli

import (
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) localAWSCommand() *cobra.Command {
	var options localaws.Options
	var faults []string
	cmd := &cobra.Command{
		Use:   "local-aws",
		Short: "Run the embedded AWS until interrupted",
		Long: `Local-aws serves ECS, ECR with a registry, ELBv2 with a working load balancer,
CloudWatch's metrics of target groups, CloudWatch Logs, EventBridge Scheduler, IAM
roles, Secrets Manager, SSM parameters and STS at one address, for unmodified
clients. Tasks run as processes of this machine. It prints AWS_ENDPOINT_URL=… when
it is ready.

It can inject faults. --throttle enforces the request rates that AWS documents,
--latency delays each call, and --fault makes calls fail: KIND[:key=value,…] with
the kinds throttle, 5xx, reset, slow, expired-token, lost (the call succeeds but
the response is lost), stale (reads return old data), denied, capacity (RunTask
starts nothing) and hidden (reads do not show new tasks for a while), and the keys
service, action, rate (share of calls), times (maximum number), delay, and after
(bytes of an upload to accept first).`,
		Example: `  slipway local-aws
  slipway local-aws --listen 127.0.0.1:4566
  slipway local-aws --throttle --latency 50ms
  slipway local-aws --fault throttle:rate=0.3 --fault lost:action=UpdateService,times=1`,
	}
	cmd.Flags().StringVar(&options.Listen, "listen", "127.0.0.1:0", "address to listen on; port 0 uses a free port")
	cmd.Flags().Float64Var(&options.TimeScale, "time-scale", 1, "factor by which ECS and the load balancer run faster than real time")
	cmd.Flags().BoolVar(&options.Throttle, "throttle", false, "throttle calls above AWS's documented request rates")
	cmd.Flags().DurationVar(&options.Latency, "latency", 0, "delay of each call, such as 50ms (default none)")
	cmd.Flags().StringArrayVar(&faults, "fault", nil, "inject a fault: KIND[:key=value,…]; repeatable (default none)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if err := checkLoopback(options.Listen); err != nil {
			return err
		}
		if options.TimeScale <= 0 {
			return outcome.Usagef("invalid --time-scale %g: want a number above 0, such as 10 for ten times faster", options.TimeScale)
		}
		if options.Latency < 0 {
			return outcome.Usagef("invalid --latency %s: want a duration of 0 or more, such as 50ms", options.Latency)
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

// parseFaults parses all values of --fault.
func parseFaults(texts []string) ([]localaws.Fault, error) {
	var faults []localaws.Fault
	for _, text := range texts {
		fault, err := localaws.ParseFault(text)
		if err != nil {
			return nil, outcome.Usagef("invalid --fault %q: %w", text, err)
		}
		faults = append(faults, fault)
	}
	return faults, nil
}

// checkLoopback checks that address is a loopback address, because clients of the embedded
// AWS can run programs on this machine.
func checkLoopback(address string) error {
	host, port, err := splitListen(address, "127.0.0.1:4566")
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return outcome.Usagef("invalid --listen %q: want a loopback address, such as 127.0.0.1:%s, because clients of the embedded AWS can run programs on this machine", address, port)
	}
	return nil
}

// splitListen splits the value of --listen.
func splitListen(address, example string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", outcome.Usagef("invalid --listen %q: want HOST:PORT, such as %s; port 0 uses a free port", address, example)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "", "", outcome.Usagef("invalid --listen %q: want a port from 0 to 65535", address)
	}
	return host, port, nil
}
