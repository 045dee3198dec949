package browser

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// TestDevelopmentReload edits the page's files while the page is open, with what
// compose.yaml adds to Nginx.
func TestDevelopmentReload(t *testing.T) {
	findChromium(t)
	development := filepath.Join(readable(t), "development")
	require.NoError(t, os.CopyFS(development, os.DirFS(sourcetest.Repository("frontend", "development"))))
	text, err := os.ReadFile(filepath.Join(development, "api.conf"))
	require.NoError(t, err)
	require.Contains(t, string(text), "/etc/nginx/locations.d/")
	server := StartNginx(t, strings.ReplaceAll(string(text), "/etc/nginx/locations.d/", development+"/"))

	p := Open(t, Desktop, server.URL)
	for n, file := range []string{"index.html", "style.css"} {
		// The page has checked every file once: the script requests the style sheet,
		// too.
		require.True(t, evaluate[bool](p, `new Promise((resolve) => {
			const seen = new Set();
			new PerformanceObserver((list) => {
				list.getEntries().filter((e) => e.initiatorType === "fetch").forEach((e) => seen.add(new URL(e.name).pathname));
				if (seen.has("/") && seen.has("/style.css")) { resolve(true); }
			}).observe({ type: "resource", buffered: true });
		})`))
		ctx, cancel := context.WithTimeout(p.ctx, awaitLimit)
		defer cancel()
		_, err := chromedp.Run(ctx, chromedp.WaitEvent(page.LoadEventFired, nil, chromedp.Func(func(context.Context, *chromedp.Target) error {
			return edit(filepath.Join(server.dir, "site", file), n)
		})))
		require.NoError(t, err, "after a change of %s", file)
	}
	require.Equal(t, "Changed", evaluate[string](p, `document.querySelector("meta[name=description]").content`))
	require.Empty(t, p.said("/api"), "there is no backend here, and nothing else is wrong")
}

// edit changes a file and its modification time, which has a resolution of seconds.
func edit(file string, n int) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(text), "Which container of the service answers, live.", "Changed", 1)
	if err := os.WriteFile(file, []byte(changed), 0o644); err != nil {
		return err
	}
	later := time.Now().Add(time.Duration(n+1) * time.Minute)
	return os.Chtimes(file, later, later)
}
