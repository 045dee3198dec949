package browser

import (
	"errors"
	"os/exec"
	"time"

	"github.com/chromedp/chromedp"
)

// startLimit is how long a program may take until it answers. It is generous: the
// machine may be busy with other packages' tests.
const startLimit = time.Minute

// Find gives the path of Chromium; an error says how to get it.
func Find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("Chromium is not installed: apt-get install -y chromium") //nolint:staticcheck // it is a name
}

// Options start Chromium for pages of our own: without a window, with a fresh
// profile that is deleted at the end, and in touch with nobody.
func Options(path string) []chromedp.ExecAllocatorOption {
	return append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.Flag("headless", true),
		chromedp.Flag("no-sandbox", true), // it needs privileges that containers lack
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-first-run", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("no-proxy-server", true), // everything is on loopback
		chromedp.WSURLReadTimeout(startLimit),
	)
}
