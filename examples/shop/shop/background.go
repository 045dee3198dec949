package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

const (
	pause     = 200 * time.Millisecond // between two looks for orders
	aliveTime = 10 * time.Second       // without a sign of life
)

// work packs orders until ctx is done.
func (a app) work(ctx context.Context, s store) error {
	if a.hasFault("work") {
		return fmt.Errorf("the queue of %s cannot be read: no such table", a.version())
	}
	return a.repeat(ctx, "work", func() error {
		packed, err := s.pack()
		if packed > 0 {
			a.log.Info("packed", slog.Int("orders", packed))
		}
		return err
	})
}

// audit prints what the API of this task appends to the audit file, which both have on the
// task's scratch volume.
func (a app) audit(ctx context.Context) error {
	file, err := os.OpenFile(a.taskFile("audit.log"), os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewReader(file)
	return a.repeat(ctx, "audit", func() error {
		for {
			line, err := lines.ReadString('\n')
			if err == io.EOF { //nolint:errorlint // bufio returns it as it is
				return nil
			}
			if err != nil {
				return err
			}
			a.log.Info("accepted", slog.String("order", line[:len(line)-1]))
		}
	})
}

// repeat calls f until ctx is done, and shows after each call that the process is alive.
func (a app) repeat(ctx context.Context, name string, f func() error) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		if err := f(); err != nil {
			return err
		}
		if !a.hasFault(name) {
			if err := os.WriteFile(a.taskFile(name), nil, 0o644); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			a.log.Info("stopped")
			return nil
		case <-ticker.C:
		}
	}
}

// checkAlive is the container's health check of a command without a port.
func (a app) checkAlive(name string) error {
	info, err := os.Stat(a.taskFile(name))
	if err != nil {
		return fmt.Errorf("unhealthy: %w", err)
	}
	if silent := time.Since(info.ModTime()); silent > aliveTime {
		return fmt.Errorf("unhealthy: no sign of life for %s", silent.Round(time.Second))
	}
	return nil
}

// taskFile returns the path of a file of this task, whose containers share a host name.
func (a app) taskFile(name string) string {
	return filepath.Join(os.TempDir(), "shop-"+a.getenv("HOSTNAME")+"-"+name)
}
