// Command check tests the API contract of a running system.
//
//	go -C ci/test run ./contract/check http://localhost [VERSION]
//
// It needs nothing but Go. Exit codes: 0 all checks pass, 1 some fail and are
// printed one per line, 2 wrong arguments.
package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/slipway-cd/slipway/ci/test/contract"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) < 1 || len(args) > 2 {
		_, _ = fmt.Fprintln(stderr, "usage: check URL [VERSION], as in check http://localhost")
		return 2
	}
	base, err := url.Parse(strings.TrimSuffix(args[0], "/"))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" || base.Path != "" {
		_, _ = fmt.Fprintf(stderr, "check: %q is no address of a system: write it as http://localhost\n", args[0])
		return 2
	}
	version := ""
	if len(args) == 2 {
		version = args[1]
	}
	if err := contract.Check(ctx, base.String(), version); err != nil {
		for line := range strings.Lines(err.Error()) {
			_, _ = fmt.Fprintf(stderr, "broken: %s\n", strings.TrimSuffix(line, "\n"))
		}
		return 1
	}
	_, _ = fmt.Fprintf(stdout, "%s keeps every promise\n", base)
	return 0
}
