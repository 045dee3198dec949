package delivery

import (
	"github.com/slipway-cd/slipway/ci/internal/release/notify"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// WithNotifications runs a release by a command, and sends notifications of it. What cannot
// be sent becomes notes of the report, and nothing else.
func (d Delivery) WithNotifications(s notify.Settings, command string, run func(Delivery) report.Release) report.Release {
	d.Notify = notify.New(s, command, d.Environment.Name, func(problem string) { d.Recorder.Event("", problem) })
	release := run(d)
	release.Notes = append(release.Notes, d.Notify.End(release)...)
	return release
}

// begins returns Next, which is also called when the first service is being updated, and then
// notifies.
func (d Delivery) begins(request rollout.Request) func(command string) {
	if d.Notify == nil {
		return d.Next
	}
	var services []string
	for _, target := range request.Targets {
		services = append(services, target.Service.Name)
	}
	return func(command string) {
		if command != "" {
			d.Notify.Begin(request.Version, services)
		}
		d.next(command)
	}
}
