package httpapi

import (
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/helmet"
	"github.com/valyala/fasthttp"
)

// commonHeaders are those of every answer: what helmet sets, and that nothing
// is to be kept, because nearly every answer is about this very moment. They
// never change, so helmet is asked once and every answer begins as a copy.
func commonHeaders() *fasthttp.ResponseHeader {
	app := fiber.New()
	app.Use(helmet.New(helmet.Config{
		// Nothing here is a page, so nothing may be loaded or framed.
		ContentSecurityPolicy: "default-src 'none'; frame-ancestors 'none'",
		XFrameOptions:         "DENY",
		ReferrerPolicy:        "no-referrer",
	}), func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderCacheControl, "no-store")
		return nil
	})
	var asked fasthttp.RequestCtx
	app.Handler()(&asked)
	return &asked.Response.Header
}
