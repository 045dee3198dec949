package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	pause     = 200 * time.Millisecond // between two looks for orders
	aliveTime = 10 * time.Second       // without a sign of life
)

// work packs orders until ctx is done.
func (a app) work(ctx context.Context, s store) error {
	if a.hasFault("work") {
		return errors.New("reading the queue: no such table")
	}
	return a.repeat(ctx, "work", func() error {
		packed, err := s.pack()
		if packed > 0 {
			a.log.Info("packed", "orders", packed)
		}
		return err
	})
}

// audit prints the orders that the API of this task appends to a file of the scratch volume.
func (a app) audit(ctx context.Context) error {
	printed := 0
	return a.repeat(ctx, "audit", func() error {
		text, _ := os.ReadFile(a.taskFile("orders")) // none before the first order
		for line := range strings.Lines(string(text[printed:])) {
			a.log.Info("accepted", "order", strings.TrimSpace(line))
		}
		printed = len(text)
		return nil
	})
}

// repeat calls f until ctx is done, and leaves a sign of life after each call.
func (a app) repeat(ctx context.Context, name string, f func() error) error {
	for ctx.Err() == nil {
		err := f()
		if err == nil && !a.hasFault(name) {
			err = os.WriteFile(a.taskFile(name), nil, 0o600)
		}
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// checkAlive is the health check of a container without a port.
func (a app) checkAlive(name string) error {
	info, err := os.Stat(a.taskFile(name))
	if err == nil && time.Since(info.ModTime()) > aliveTime {
		err = fmt.Errorf("no sign of life since %s", info.ModTime())
	}
	return err
}

// taskFile returns the path of a file of this task, whose containers have one host name.
func (a app) taskFile(name string) string {
	return filepath.Join(os.TempDir(), "shop-"+a.getenv("HOSTNAME")+"-"+name)
}
