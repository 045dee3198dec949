package httpapi

import (
	_ "embed"
	"encoding/json"
	"fmt"

	"github.com/gofiber/fiber/v2"
)

// openAPI describes the API, by OpenAPI 3.0.
//
//go:embed openapi.json
var openAPI []byte

// documentedPaths are the keys of the document's paths.
var documentedPaths = func() map[string]struct{} {
	var document struct {
		Paths map[string]struct{} `json:"paths"`
	}
	if err := json.Unmarshal(openAPI, &document); err != nil {
		panic(fmt.Sprintf("openapi.json: %v", err)) // a test would have found it
	}
	return document.Paths
}()

func documented(path string) bool {
	_, ok := documentedPaths[path]
	return ok
}

// getDocument may be cached, as long as it is asked whether it is still true.
func (s *Server) getDocument(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(openAPI)
}
