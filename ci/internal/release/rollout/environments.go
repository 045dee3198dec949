package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// Running is what a service runs, for a comparison with another environment.
type Running struct {
	name    string
	version report.Version
	fields  map[string]field // nil if the service does not exist
}

// Running returns what services run. A service that does not exist is no error.
func (e Engine) Running(ctx context.Context, services []platform.Service) ([]Running, error) {
	all := make([]Running, len(services))
	problems := make([]error, len(services))
	var group errgroup.Group
	group.SetLimit(planJobs)
	for n, s := range services {
		group.Go(func() error {
			all[n].name = s.Name
			running, err := e.runningServices(ctx, []platform.Service{s})
			if err != nil {
				if !errors.As(err, new(missingError)) {
					problems[n] = err
				}
				return nil
			}
			all[n] = runningIn(running[0])
			return nil
		})
	}
	_ = group.Wait() // problems has the errors, all of them
	return all, errors.Join(problems...)
}

// ownFields are the fields that differ between environments because of their names.
var ownFields = []string{"family", "executionRoleArn", "taskRoleArn", ".logConfiguration.options.awslogs-group", ".logConfiguration.options.awslogs-region"}

// runningIn returns the fields of a service that are compared between environments: those
// of its revision without names, images by digest, the commit and the number of tasks.
func runningIn(s runningService) Running {
	container := s.service.ContainerName()
	r := Running{name: s.service.Name, version: s.version(), fields: map[string]field{}}
	for path, f := range flatten(normalize(registerInput(*s.definition))) {
		if path == "containers."+container+".environment."+VersionVariable || isOwnField(path) {
			continue
		}
		if _, digest, ok := strings.Cut(f.value, "@"); ok && strings.HasPrefix(path, "containers.") && strings.HasSuffix(path, ".image") {
			f = field{digest, digest}
		}
		r.fields[path] = f
	}
	if s.tags.sha != "" {
		r.fields["commit"] = field{s.tags.sha, s.tags.sha}
	}
	if s.schedule == nil {
		count := fmt.Sprint(s.described.DesiredCount)
		r.fields["desired_count"] = field{count, count}
	} else if s.schedule.ScheduleExpression != nil {
		r.fields["schedule"] = field{*s.schedule.ScheduleExpression, *s.schedule.ScheduleExpression}
	}
	return r
}

func isOwnField(path string) bool {
	for _, own := range ownFields {
		if path == own || own[0] == '.' && strings.HasSuffix(path, own) {
			return true
		}
	}
	return false
}

// CompareRunning returns how what services run differs between two environments.
func CompareRunning(from, to []Running) []report.ServiceDiff {
	var all []report.ServiceDiff
	for n := range from {
		d := report.ServiceDiff{Name: from[n].name, From: from[n].version, To: to[n].version}
		switch there, here := from[n].fields != nil, to[n].fields != nil; {
		case there && here:
			d.Changes = compareFields(from[n].fields, to[n].fields)
		case there:
			d.Changes = []report.Change{{Path: "service", From: "exists"}}
		case here:
			d.Changes = []report.Change{{Path: "service", To: "exists"}}
		}
		d.Changed = len(d.Changes) > 0
		all = append(all, d)
	}
	return all
}
