package cli

import (
	"os"

	"github.com/slipway-cd/slipway/ci/internal/release/notify"
)

// notifySettings returns where to send notifications of releases. They are secrets, so that
// no flag has them.
func notifySettings() notify.Settings {
	return notify.Settings{
		URL: os.Getenv("SLIPWAY_NOTIFY_URL"), Key: os.Getenv("SLIPWAY_NOTIFY_KEY"), SlackURL: os.Getenv("SLIPWAY_SLACK_URL"),
		GitHub: notify.GitHub{Token: os.Getenv("GITHUB_TOKEN"), Repository: os.Getenv("GITHUB_REPOSITORY"), API: os.Getenv("GITHUB_API_URL")},
	}
}
