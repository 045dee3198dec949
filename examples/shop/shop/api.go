package main

import (
	"cmp"
	"context"
	"crypto/subtle"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/gofiber/fiber/v2"
)

const (
	requestTimeout = 10 * time.Second
	checkTimeout   = 4 * time.Second  // below ECS's 5 s for a health check
	idleTimeout    = 75 * time.Second // above the 60 s of an Application Load Balancer, which must close first
	drainTimeout   = 20 * time.Second // below the entry's stop_timeout
)

// serve serves the API until ctx is done, and then completes the requests in progress.
func (a app) serve(ctx context.Context, s store) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", ":"+a.port())
	if err != nil {
		return err
	}
	server := a.newServer(s)
	drained := make(chan error, 1)
	context.AfterFunc(ctx, func() { drained <- server.ShutdownWithTimeout(drainTimeout) })
	if err := server.Listener(ln); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	return <-drained
}

func (a app) port() string { return cmp.Or(a.getenv("PORT"), "8000") }

// checkAPI is the health check of the API's container.
func (a app) checkAPI(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+a.port()+"/health", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("unhealthy: /health returned %s", response.Status)
	}
	return nil
}

func (a app) newServer(s store) *fiber.App {
	server := fiber.New(fiber.Config{
		DisableStartupMessage: true, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout, IdleTimeout: idleTimeout,
	})
	health := func(c *fiber.Ctx) error {
		if a.hasFault("api") {
			a.log.Error("unhealthy", "error", "the connection pool is empty")
			return fiber.NewError(fiber.StatusInternalServerError, "the connection pool is empty")
		}
		return c.JSON(fiber.Map{"status": "ok"})
	}
	server.Get("/health", health)
	server.Get("/api/health", health)
	server.Get("/api/", func(c *fiber.Ctx) error {
		return c.JSON(fiber.Map{"version": a.version(), "schema": s.schema(), "open": len(s.list("open")), "packed": len(s.list("packed"))})
	})
	server.Post("/api/orders", func(c *fiber.Ctx) error { return a.order(c, s) })
	return server
}

// order accepts an order, the body of the request, from a client that has the token.
func (a app) order(c *fiber.Ctx, s store) error {
	if subtle.ConstantTimeCompare([]byte(c.Get(fiber.HeaderAuthorization)), []byte("Bearer "+a.getenv("API_TOKEN"))) == 0 {
		return fiber.ErrUnauthorized
	}
	id, err := s.add(string(c.Body()))
	if err != nil {
		return fmt.Errorf("storing the order: %w", err)
	}
	audit, err := os.OpenFile(a.taskFile("orders"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer audit.Close()
	if _, err := fmt.Fprintln(audit, id); err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(fiber.Map{"id": id})
}
