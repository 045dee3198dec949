package main

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
)

const (
	requestTimeout = 10 * time.Second
	// idleTimeout is above the 60 s of an Application Load Balancer, which must close
	// idle connections first.
	idleTimeout = 75 * time.Second
	// drainTimeout is below the entry's stop_timeout.
	drainTimeout = 20 * time.Second
)

// api is the HTTP API of the orders.
type api struct {
	app
	store    store
	draining atomic.Bool
}

// serve serves until ctx is done, and then completes the requests in progress.
func (a app) serve(ctx context.Context, s store) error {
	if s.temporary { // nobody else can migrate it
		if err := a.migrate(s); err != nil {
			return err
		}
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+cmp.Or(a.getenv("PORT"), "8000"))
	if err != nil {
		return err
	}
	orders := &api{app: a, store: s}
	server := orders.server()
	drained := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		orders.draining.Store(true)
		a.log.Info("draining")
		drained <- server.ShutdownWithTimeout(drainTimeout)
	})
	if err := server.Listener(ln); err != nil || stop() {
		return fmt.Errorf("serving: %w", cmp.Or(err, net.ErrClosed))
	}
	if err := <-drained; err != nil {
		return fmt.Errorf("draining: %w", err)
	}
	a.log.Info("stopped")
	return nil
}

func (a *api) server() *fiber.App {
	server := fiber.New(fiber.Config{
		DisableStartupMessage: true, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, IdleTimeout: idleTimeout,
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			status := fiber.StatusInternalServerError
			var known *fiber.Error
			if errors.As(err, &known) {
				status = known.Code
			}
			return c.Status(status).JSON(fiber.Map{"error": err.Error()})
		},
	})
	server.Get("/health", a.health)
	server.Get("/api/health", a.health)
	server.Get("/api/", func(c *fiber.Ctx) error {
		return c.JSON(fiber.Map{"service": "shop", "version": a.version(), "schema": a.store.schema()})
	})
	server.Post("/api/orders", a.order)
	server.Get("/api/orders/:id", func(c *fiber.Ctx) error {
		item, state, err := a.store.find(c.Params("id"))
		if err != nil {
			return fiber.NewError(fiber.StatusNotFound, err.Error())
		}
		return c.JSON(fiber.Map{"item": item, "state": state})
	})
	return server
}

func (a *api) health(c *fiber.Ctx) error {
	switch {
	case a.draining.Load():
		return fiber.NewError(fiber.StatusServiceUnavailable, "draining")
	case a.hasFault("api"):
		return fiber.NewError(fiber.StatusInternalServerError, "the connection pool is empty")
	}
	return c.JSON(fiber.Map{"status": "ok"})
}

// order accepts an order from a client that has the token.
func (a *api) order(c *fiber.Ctx) error {
	token, _ := strings.CutPrefix(c.Get(fiber.HeaderAuthorization), "Bearer ")
	if want := a.getenv("API_TOKEN"); want == "" || subtle.ConstantTimeCompare([]byte(token), []byte(want)) == 0 {
		return fiber.NewError(fiber.StatusUnauthorized, "the token is missing or wrong")
	}
	var order struct {
		Item string `json:"item"`
	}
	if err := c.BodyParser(&order); err != nil || order.Item == "" {
		return fiber.NewError(fiber.StatusBadRequest, `the body must be {"item": "NAME"}`)
	}
	id, err := a.store.add(order.Item)
	if errors.Is(err, errNotMigrated) {
		return fiber.NewError(fiber.StatusServiceUnavailable, err.Error())
	}
	if err != nil {
		return err
	}
	audit, err := os.OpenFile(a.taskFile("audit.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer audit.Close()
	if _, err := fmt.Fprintln(audit, id); err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(fiber.Map{"id": id})
}
