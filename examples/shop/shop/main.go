// Command shop is three of the example's entries and a sidecar: the API with its migration,
// the worker, the scheduled job and the audit log, each with a command of its own.
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

const usage = `usage: server [command]

Without a command it serves the API until SIGTERM.

  migrate           bring the data to the schema of this version
  work              pack orders until SIGTERM
  cleanup           delete the orders that were packed longer ago than KEEP
  audit             print the orders that the API of this task accepts, until SIGTERM
  healthcheck NAME  whether "work" or "audit" is alive in this task

Environment: PORT, VERSION, HOSTNAME, DATA_DIR, DATABASE_URL, API_TOKEN, KEEP, SHOP_FAULT.
`

// Exit codes.
const (
	exitOK = iota
	exitFailed
	exitUsage // wrong arguments or configuration
	exitMigration
)

// codedError is an error with an exit code other than exitFailed.
type codedError struct {
	code int
	error
}

func usageError(format string, args ...any) error {
	return codedError{exitUsage, fmt.Errorf(format, args...)}
}

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }

// run runs a command and returns its exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	a := app{getenv: getenv, log: slog.New(slog.NewJSONHandler(stdout, nil))}
	err := a.run(ctx, strings.Join(args, " "))
	if err == nil {
		return exitOK
	}
	_, _ = fmt.Fprintf(stderr, "server: %v\n", err)
	var coded codedError
	if errors.As(err, &coded) {
		return coded.code
	}
	return exitFailed
}

// app is the program with its environment.
type app struct {
	getenv func(string) string
	log    *slog.Logger
}

func (a app) run(ctx context.Context, command string) error {
	if name, ok := strings.CutPrefix(command, "healthcheck "); ok {
		return a.checkAlive(name)
	}
	if command != "cleanup" && command != "audit" && a.getenv("DATABASE_URL") == "" {
		return usageError("DATABASE_URL is not set")
	}
	s, err := openStore(a.getenv("DATA_DIR"))
	if err != nil {
		return err
	}
	defer s.close()
	a.log.Info("started", slog.String("command", command), slog.Int("schema", s.schema()), slog.String("version", a.version()), slog.Bool("volume", !s.temporary))
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
	return usageError("unknown arguments %q\n%s", command, usage)
}

func (a app) version() string { return cmp.Or(a.getenv("VERSION"), "dev") }

// hasFault reports whether SHOP_FAULT names a command, so that its failure can be
// rehearsed. A rehearsal starts the version before the release with VERSION=previous, which
// has no fault.
func (a app) hasFault(command string) bool {
	return a.getenv("SHOP_FAULT") == command && a.version() != "previous"
}

func (a app) migrate(s store) error {
	if a.hasFault("migrate") {
		return codedError{exitMigration, errors.New("migrating: orders is locked by another session")}
	}
	applied, err := s.migrate()
	for _, name := range applied {
		a.log.Info("applied", slog.String("migration", name))
	}
	if err != nil {
		return codedError{exitMigration, fmt.Errorf("migrating: %w", err)}
	}
	a.log.Info("migrated", slog.Int("applied", len(applied)), slog.Int("schema", s.schema()))
	return nil
}

func (a app) cleanup(s store) error {
	keep, err := time.ParseDuration(cmp.Or(a.getenv("KEEP"), "720h"))
	if err != nil {
		return usageError("KEEP: %w", err)
	}
	if a.hasFault("cleanup") {
		return errors.New("packed orders cannot be listed: stale file handle")
	}
	deleted, err := s.deletePacked(time.Now().Add(-keep))
	a.log.Info("cleaned up", slog.Int("deleted", deleted))
	return err
}
