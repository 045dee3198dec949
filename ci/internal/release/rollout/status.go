package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
)

// statusReleases is how many past deployments of a service a status has.
const statusReleases = 5

// Status returns what the services run, their last deployments, and the drift between
// Terraform and the pipeline. It changes nothing.
func (e Engine) Status(ctx context.Context, services []platform.Service) (report.Status, error) {
	clusters := clusterNames(services)
	status := report.Status{Cluster: strings.Join(clusters, ", "), At: e.Clock.Now().UTC(), Services: make([]report.ServiceStatus, len(services))}
	versions := &definitionCache{engine: e, known: map[string]cachedDefinition{}}
	running := make([]*runningService, len(services))
	problems := make([]error, len(services))
	var group errgroup.Group
	group.SetLimit(planJobs)
	for n, s := range services {
		group.Go(func() error {
			var err error
			running[n], status.Services[n], err = e.serviceStatus(ctx, s, versions)
			if len(clusters) > 1 {
				status.Services[n].Cluster = s.ClusterName()
			}
			if err != nil {
				status.Services[n].Error, problems[n] = e.oneLine(err), err
			}
			return nil
		})
	}
	_ = group.Wait() // problems has the errors, all of them
	e.findUnfinishedRelease(ctx, running, versions, &status)
	e.addPaused(&status)
	return status, errors.Join(problems...)
}

func (e Engine) serviceStatus(ctx context.Context, s platform.Service, versions *definitionCache) (*runningService, report.ServiceStatus, error) {
	status := report.ServiceStatus{Name: s.Name, State: report.Unknown}
	all, err := e.runningServices(ctx, []platform.Service{s})
	if err != nil {
		if errors.As(err, new(missingError)) {
			status.State = report.Missing
		}
		return nil, status, err
	}
	at := all[0]
	status.State, status.Detail = stateOf(at.described)
	status.Version = at.version()
	status.Release, status.Strategy = at.tags.release, strategyOf(at.described.DeploymentConfiguration)
	if status.Shift, err = e.shiftReport(ctx, at.described); err != nil {
		return &at, status, err
	}
	status.Tasks = report.Tasks{Desired: at.described.DesiredCount, Running: at.described.RunningCount, Pending: at.described.PendingCount}
	for _, d := range at.described.Deployments {
		version, err := versions.version(ctx, aws.ToString(d.TaskDefinition), s.ContainerName())
		if isNotFound(err) {
			version, err = report.Version{TaskDefinition: aws.ToString(d.TaskDefinition)}, nil
		}
		if err != nil {
			return &at, status, err
		}
		if aws.ToString(d.Status) == "PRIMARY" {
			status.Since = aws.ToTime(d.CreatedAt).UTC()
		}
		status.Deployments = append(status.Deployments, report.Deployment{
			ID: aws.ToString(d.Id), Status: aws.ToString(d.Status), Rollout: string(d.RolloutState), Reason: aws.ToString(d.RolloutStateReason),
			Version: version, Desired: d.DesiredCount, Running: d.RunningCount, Pending: d.PendingCount, Failed: d.FailedTasks,
		})
	}
	switch {
	case at.schedule != nil:
		if err := e.jobStatus(ctx, at, &status); err != nil {
			return &at, status, err
		}
	case len(at.described.LoadBalancers) == 0:
		e.addContainerHealth(ctx, at, &status)
	}
	e.addHealth(ctx, at, &status)
	if status.Drift, err = e.drift(ctx, at); err != nil {
		return &at, status, err
	}
	status.Modified = at.modified()
	status.Drift = append(status.Drift, status.Modified...)
	status.Releases, err = e.pastReleases(ctx, s, versions)
	return &at, status, err
}

// clusterNames returns the clusters of services, sorted.
func clusterNames(services []platform.Service) []string {
	var names []string
	for _, s := range services {
		names = append(names, s.ClusterName())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// stateOf returns the state of a service and its reason.
func stateOf(service types.Service) (report.State, string) {
	primary := machine.Primary(service.Deployments)
	switch {
	case primary == nil:
		return report.Degraded, "it has no primary deployment"
	case primary.RolloutState == types.DeploymentRolloutStateFailed:
		return report.Degraded, machine.WhyFailed(primary)
	case len(service.Deployments) > 1, primary.RolloutState == types.DeploymentRolloutStateInProgress:
		return report.Deploying, aws.ToString(primary.RolloutStateReason)
	case service.RunningCount < service.DesiredCount:
		return report.Degraded, fmt.Sprintf("%d of %d tasks run", service.RunningCount, service.DesiredCount)
	}
	return report.Steady, ""
}

// addHealth counts the service's healthy and unhealthy tasks by the health of their
// targets. A task with a port in each of several target groups is healthy if all are.
func (e Engine) addHealth(ctx context.Context, at runningService, status *report.ServiceStatus) {
	groups := e.groupHealth(ctx, at.described)
	healthy, unhealthy := map[string]int{}, map[string]bool{}
	for _, group := range groups {
		for task, h := range group {
			if len(groups) > 1 { // with one, ports may share an instance
				task = task[:strings.LastIndex(task, ":")]
			}
			switch h.State {
			case elbtypes.TargetHealthStateEnumHealthy:
				healthy[task]++
			case elbtypes.TargetHealthStateEnumUnhealthy, elbtypes.TargetHealthStateEnumUnhealthyDraining:
				unhealthy[task] = true
			}
		}
	}
	for range unhealthy {
		status.Tasks.Unhealthy++
	}
	for task, count := range healthy {
		if count == len(groups) && !unhealthy[task] {
			status.Tasks.Healthy++
		}
	}
}

// addContainerHealth counts the tasks of a service without a load balancer by their
// container health checks, if it has any. It skips tasks that cannot be read.
func (e Engine) addContainerHealth(ctx context.Context, at runningService, status *report.ServiceStatus) {
	if !slices.ContainsFunc(at.definition.ContainerDefinitions, func(c types.ContainerDefinition) bool { return c.HealthCheck != nil }) {
		return
	}
	tasks, err := e.tasks(ctx, at.service, "", types.DesiredStatusRunning)
	if err != nil {
		return
	}
	for _, task := range tasks {
		switch task.HealthStatus {
		case types.HealthStatusHealthy:
			status.Tasks.Healthy++
		case types.HealthStatusUnhealthy:
			status.Tasks.Unhealthy++
		}
	}
}

// drift compares the running definition with the newest one and with the services file,
// without image and version, which the pipeline sets.
func (e Engine) drift(ctx context.Context, at runningService) ([]string, error) {
	var drift []string
	if at.definition.Family == nil {
		return []string{notFoundError(aws.ToString(at.definition.TaskDefinitionArn)).Error() + ", but the service runs it"}, nil
	}
	newest, _, err := e.definition(ctx, at.service.Family())
	switch {
	case isNotFound(err) && aws.ToString(at.definition.Family) == at.service.Family():
		newest = at.definition
		drift = append(drift, fmt.Sprintf("%s, but %s still runs: the next deploy registers a revision based on it", err, machine.ShortARN(aws.ToString(at.definition.TaskDefinitionArn))))
	case isNotFound(err):
		drift, newest = append(drift, missingError("task definition "+at.service.Family()+" does not exist").Error()), at.definition
	case err != nil:
		return nil, err
	}
	if aws.ToString(newest.TaskDefinitionArn) != aws.ToString(at.definition.TaskDefinitionArn) {
		container := at.service.ContainerName()
		for _, c := range compare(registerInput(*at.definition), registerInput(*newest)) {
			if c.Path == "containers."+container+".image" || c.Path == "containers."+container+".environment."+VersionVariable {
				continue
			}
			drift = append(drift, fmt.Sprintf("%s: %s runs, %s is registered (%s): the next deploy applies it", c.Path, cmp.Or(c.From, "(none)"), cmp.Or(c.To, "(none)"), machine.ShortARN(aws.ToString(newest.TaskDefinitionArn))))
		}
	}
	for _, pair := range []struct{ what, runs, file string }{
		{"cpu", aws.ToString(at.definition.Cpu), strconv.Itoa(at.service.CPU)},
		{"memory", aws.ToString(at.definition.Memory), strconv.Itoa(at.service.Memory)},
	} {
		if pair.runs != pair.file && pair.runs != "" && pair.file != "0" {
			drift = append(drift, fmt.Sprintf("%s: %s runs, %s is in %s", pair.what, pair.runs, pair.file, platform.ServicesFile))
		}
	}
	return drift, nil
}

// modified returns the differences in image and version between the running revision and
// the release that its tags name: somebody registered it by hand.
func (s runningService) modified() []string {
	var modified []string
	differs := func(what, runs, released string) {
		modified = append(modified, fmt.Sprintf("%s: %s runs, but release %s has %s: it was changed by hand", what, cmp.Or(runs, "(none)"), s.tags.release, released))
	}
	for _, c := range s.definition.ContainerDefinitions {
		if s.tags.release == "" || aws.ToString(c.Name) != s.service.ContainerName() {
			continue
		}
		if _, digest, _ := strings.Cut(aws.ToString(c.Image), "@"); s.tags.digest != "" && digest != s.tags.digest {
			differs("image", aws.ToString(c.Image), s.tags.digest)
		}
		for _, variable := range c.Environment {
			if aws.ToString(variable.Name) == VersionVariable && s.tags.sha != "" && aws.ToString(variable.Value) != s.tags.sha {
				differs(VersionVariable, aws.ToString(variable.Value), s.tags.sha)
			}
		}
	}
	return modified
}

// pastReleases returns the service's last deployments, newest first.
func (e Engine) pastReleases(ctx context.Context, s platform.Service, versions *definitionCache) ([]report.PastRelease, error) {
	var past []report.PastRelease
	_, err := e.eachDeployment(ctx, s, func(r deploymentRecord) (bool, error) {
		version, err := versions.version(ctx, r.revision, s.ContainerName())
		if err != nil {
			version = report.Version{TaskDefinition: r.revision} // it may be deleted
		}
		past = append(past, report.PastRelease{
			At: aws.ToTime(r.CreatedAt).UTC(), FinishedAt: aws.ToTime(r.FinishedAt).UTC(), Status: string(r.Status), Reason: aws.ToString(r.StatusReason), Version: version,
		})
		return len(past) == statusReleases, nil
	})
	return past, err
}

// findUnfinishedRelease reports a release that only some of its services run: its
// process was killed, or somebody changed one of the services by hand.
func (e Engine) findUnfinishedRelease(ctx context.Context, running []*runningService, versions *definitionCache, status *report.Status) {
	for _, s := range running {
		if s == nil || s.tags.release == "" || s.tags.size < 2 || status.Unfinished != nil {
			continue
		}
		unfinished := &report.Unfinished{Release: s.tags.release, SHA: s.tags.sha}
		for _, other := range running {
			if other == nil {
				continue
			}
			if other.tags.release == s.tags.release {
				unfinished.Arrived = append(unfinished.Arrived, other.service.Name)
				continue
			}
			newest, err := versions.definition(ctx, other.service.Family())
			if err == nil && parseTags(newest.tags).release == s.tags.release && // older than the running one if newer ones are deregistered
				registeredAfter(aws.ToString(newest.definition.TaskDefinitionArn), aws.ToString(other.described.TaskDefinition)) {
				unfinished.Missing = append(unfinished.Missing, other.service.Name)
			}
		}
		if len(unfinished.Missing) > 0 {
			status.Unfinished = unfinished
		}
	}
	if status.Unfinished != nil {
		status.Next = fmt.Sprintf("%s --sha %s finishes it; %s undoes it", e.Environment.Command("deploy"), status.Unfinished.SHA, e.Environment.Command("rollback"))
	}
}

// definitionCache caches task definitions by ARN or family.
type definitionCache struct {
	engine Engine
	mu     sync.Mutex // guards known
	known  map[string]cachedDefinition
}

type cachedDefinition struct {
	definition types.TaskDefinition
	tags       []types.Tag
}

func (v *definitionCache) version(ctx context.Context, revision, container string) (report.Version, error) {
	k, err := v.definition(ctx, revision)
	if err != nil {
		return report.Version{}, err
	}
	return versionOf(k.definition, k.tags, container), nil
}

func (v *definitionCache) definition(ctx context.Context, name string) (cachedDefinition, error) {
	v.mu.Lock()
	k, ok := v.known[name]
	v.mu.Unlock()
	if ok {
		return k, nil
	}
	definition, tags, err := v.engine.definition(ctx, name)
	if err != nil {
		return cachedDefinition{}, err
	}
	k = cachedDefinition{definition: *definition, tags: slices.Clone(tags)}
	v.mu.Lock()
	v.known[name] = k
	v.mu.Unlock()
	return k, nil
}
