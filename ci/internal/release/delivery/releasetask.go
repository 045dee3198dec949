package delivery

import (
	"fmt"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/release/runtask"
)

// maxTaskLines is how many lines of a task's log become events of the report.
const maxTaskLines = 200

// releaseTasks returns the release tasks of a delivery.
func (d Delivery) releaseTasks() *runtask.ReleaseTasks {
	return &runtask.ReleaseTasks{Event: d.Recorder.Event, Stage: d.stage, Runner: func(service string) runtask.Runner {
		lines := 0
		return d.runner(service, func(output []string) {
			for _, line := range output {
				switch lines++; {
				case lines <= maxTaskLines:
					d.Recorder.Event(service, "| "+line)
				case lines == maxTaskLines+1:
					d.Recorder.Event(service, fmt.Sprintf("the report has the first %d lines of the log: see all of it with slipway logs %s", maxTaskLines, service))
					fallthrough
				default:
					d.Recorder.Line("  " + service + ": | " + line)
				}
			}
		})
	}}
}

// runner returns a runner of a service's tasks.
func (d Delivery) runner(service string, output func([]string)) runtask.Runner {
	return runtask.Runner{
		ECS: d.Account.ecs, Logs: d.Account.logs, Clock: d.clock(), Output: output, Explain: awsauth.Explain,
		Event: func(text string) { d.Recorder.Event(service, text) },
		Renew: d.Account.renew,
	}
}
