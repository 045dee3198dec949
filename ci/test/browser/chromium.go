package browser

import (
	"errors"
	"os/exec"

	"github.com/chromedp/chromedp"
)

// find returns the path of Chromium, or an error that says how to install it.
func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("Chromium is not installed: apt-get install -y chromium") //nolint:staticcheck // it is a name
}

// options returns options that start a headless Chromium without network access beyond
// our own pages, with a temporary profile.
func options(path string) []chromedp.ExecAllocatorOption {
	return append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.Flag("headless", true),
		chromedp.Flag("no-sandbox", true), // the sandbox needs privileges that containers lack
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
