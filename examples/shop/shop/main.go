// Command shop is three entries of the services file and a sidecar, each with a command of
// its own: the API with its migration, the worker, the job and the audit log.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// exitMigration is the exit code of a failed migration. Other commands fail with 1.
const exitMigration = 3

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

// run runs a command until it ends or gets SIGTERM, and returns its exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	command := strings.Join(args, " ")
	err := app{getenv: getenv, log: slog.New(slog.NewJSONHandler(stdout, nil))}.run(ctx, command)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintf(stderr, "shop: %v\n", err)
	if command == "migrate" {
		return exitMigration
	}
	return 1
}

// app is the program with its environment.
type app struct {
	getenv func(string) string
	log    *slog.Logger
}

func (a app) run(ctx context.Context, command string) error {
	if command == "healthcheck" {
		return a.checkAPI(ctx)
	}
	if name, ok := strings.CutPrefix(command, "healthcheck "); ok {
		return a.checkAlive(name)
	}
	s, err := openStore(a.getenv("DATA_DIR"))
	if err != nil {
		return err
	}
	defer s.close()
	a.log.Info("started", "command", command, "version", a.version(), "schema", s.schema(), "volume", !s.temporary)
	switch command {
	case "":
		return a.serve(ctx, s)
	case "migrate":
		return a.migrate(s)
	case "work":
		return a.work(ctx, s)
	case "cleanup":
		return a.cleanup(s)
	case "audit":
		return a.audit(ctx)
	}
	return fmt.Errorf("unknown command %q: want none, migrate, work, cleanup, audit, healthcheck, or healthcheck work or audit", command)
}

func (a app) version() string { return cmp.Or(a.getenv("VERSION"), "dev") }

// hasFault reports whether SHOP_FAULT names a command, which then fails. A rehearsal starts
// the version before the release with VERSION=previous, which has no fault.
func (a app) hasFault(command string) bool {
	return a.getenv("SHOP_FAULT") == command && a.version() != "previous"
}

func (a app) migrate(s store) error {
	if a.hasFault("migrate") {
		return errors.New("migrating: orders is locked by another session")
	}
	if a.getenv("DATABASE_URL") == "" {
		return errors.New("migrating: DATABASE_URL is not set")
	}
	applied, err := s.migrate()
	a.log.Info("migrated", "applied", applied, "schema", s.schema())
	return err
}

func (a app) cleanup(s store) error {
	if a.hasFault("cleanup") {
		return errors.New("listing packed orders: stale file handle")
	}
	keep, err := time.ParseDuration(a.getenv("KEEP"))
	if err != nil {
		return fmt.Errorf("KEEP: %w", err)
	}
	deleted, err := s.deletePacked(time.Now().Add(-keep))
	a.log.Info("cleaned up", "deleted", deleted)
	return err
}
