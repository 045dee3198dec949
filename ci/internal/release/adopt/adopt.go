// Package adopt writes a services file from what an ECS cluster runs: each service becomes
// an entry with the names that it has. It reads descriptions only, and writes no value that
// looks like a secret.
package adopt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// ECS is the part of the ECS API that describes a cluster's services.
type ECS interface {
	ListServices(context.Context, *ecs.ListServicesInput, ...func(*ecs.Options)) (*ecs.ListServicesOutput, error)
	DescribeServices(context.Context, *ecs.DescribeServicesInput, ...func(*ecs.Options)) (*ecs.DescribeServicesOutput, error)
	DescribeTaskDefinition(context.Context, *ecs.DescribeTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error)
	ListTasks(context.Context, *ecs.ListTasksInput, ...func(*ecs.Options)) (*ecs.ListTasksOutput, error)
	DescribeTasks(context.Context, *ecs.DescribeTasksInput, ...func(*ecs.Options)) (*ecs.DescribeTasksOutput, error)
}

// ELB is the part of the Elastic Load Balancing API that describes routes.
type ELB interface {
	DescribeTargetGroups(context.Context, *elb.DescribeTargetGroupsInput, ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error)
	DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error)
	DescribeRules(context.Context, *elb.DescribeRulesInput, ...func(*elb.Options)) (*elb.DescribeRulesOutput, error)
}

// Reader reads the entries of a cluster.
type Reader struct {
	ECS ECS
	ELB ELB
	// Build returns how the image of an entry is built, given the names of the entry and
	// of its ECS service; false means that the image is used as it runs.
	Build func(entry, service string) (platform.Build, bool)
}

// describeLimit is how many services a call describes.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeServices.html
const describeLimit = 10

// Read returns the entries of the services of a cluster, and notes about what an entry
// cannot express. The entries make a valid services file.
func (r Reader) Read(ctx context.Context, cluster string) ([]platform.Service, []string, error) {
	services, err := r.services(ctx, cluster)
	if err != nil {
		return nil, nil, err
	}
	routes, err := r.routes(ctx, services)
	if err != nil {
		return nil, nil, err
	}
	f := &file{build: r.Build, cluster: cluster, routes: routes, taken: map[string]bool{}, patterns: map[string]string{}, images: map[string]string{}}
	for _, service := range services {
		if f.isUnsupported(service) { // some have no task definition
			continue
		}
		definition, err := r.ECS.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: service.TaskDefinition})
		if err != nil {
			return nil, nil, fmt.Errorf("describing task definition %s: %w", aws.ToString(service.TaskDefinition), err)
		}
		digests, err := r.digests(ctx, cluster, service, *definition.TaskDefinition)
		if err != nil {
			return nil, nil, err
		}
		f.add(service, *definition.TaskDefinition, digests)
	}
	f.finish()
	f.notes = append(f.notes, notRead)
	if len(f.entries) == 0 {
		return nil, f.notes, outcome.With(outcome.Failed, fmt.Errorf("no service of cluster %s can be an entry: %s", cluster, strings.Join(f.notes, "; ")))
	}
	return f.entries, f.notes, nil
}

// notRead is the note about what Reader does not read.
const notRead = "autoscaling, alarms and scheduled tasks are not read; a release does not change them"

// services returns the services of a cluster, sorted by name.
func (r Reader) services(ctx context.Context, cluster string) ([]types.Service, error) {
	var arns []string
	pages := ecs.NewListServicesPaginator(r.ECS, &ecs.ListServicesInput{Cluster: &cluster, MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if errors.As(err, new(*types.ClusterNotFoundException)) {
			return nil, outcome.Usagef("cluster %s does not exist: check its name, account and region (AWS_PROFILE, AWS_REGION, --region)", cluster)
		}
		if err != nil {
			return nil, fmt.Errorf("listing services of cluster %s: %w", cluster, err)
		}
		arns = append(arns, page.ServiceArns...)
	}
	if len(arns) == 0 {
		return nil, outcome.Usagef("cluster %s has no services: name one that has, or add a service with slipway new service NAME", cluster)
	}
	var services []types.Service
	for batch := range slices.Chunk(arns, describeLimit) {
		page, err := r.ECS.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: &cluster, Services: batch})
		if err != nil {
			return nil, fmt.Errorf("describing services of cluster %s: %w", cluster, err)
		}
		services = append(services, page.Services...)
	}
	slices.SortFunc(services, func(a, b types.Service) int {
		return strings.Compare(aws.ToString(a.ServiceName), aws.ToString(b.ServiceName))
	})
	return services, nil
}

// digests returns the digests of the images that a running task has, by container. They
// are read only if a sidecar's image is named by a tag.
func (r Reader) digests(ctx context.Context, cluster string, service types.Service, definition types.TaskDefinition) (map[string]string, error) {
	tagged := func(c types.ContainerDefinition) bool { return !strings.Contains(aws.ToString(c.Image), "@") }
	if len(definition.ContainerDefinitions) < 2 || !slices.ContainsFunc(definition.ContainerDefinitions, tagged) {
		return nil, nil
	}
	list, err := r.ECS.ListTasks(ctx, &ecs.ListTasksInput{Cluster: &cluster, ServiceName: service.ServiceName, MaxResults: aws.Int32(10)})
	if err != nil {
		return nil, fmt.Errorf("listing tasks of %s: %w", aws.ToString(service.ServiceName), err)
	}
	if len(list.TaskArns) == 0 {
		return nil, nil
	}
	tasks, err := r.ECS.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: &cluster, Tasks: list.TaskArns})
	if err != nil {
		return nil, fmt.Errorf("describing tasks of %s: %w", aws.ToString(service.ServiceName), err)
	}
	digests := map[string]string{}
	for _, task := range tasks.Tasks {
		if aws.ToString(task.TaskDefinitionArn) != aws.ToString(definition.TaskDefinitionArn) {
			continue
		}
		for _, c := range task.Containers {
			if digest := aws.ToString(c.ImageDigest); digest != "" {
				digests[aws.ToString(c.Name)] = digest
			}
		}
	}
	return digests, nil
}

// file collects the entries of a services file.
type file struct {
	build   func(entry, service string) (platform.Build, bool)
	cluster string
	routes  map[string]route // by ARN of the target group
	entries []platform.Service
	notes   []string

	taken    map[string]bool   // names of entries
	patterns map[string]string // entries by route
	images   map[string]string // entries by image that runs
	create   []newRepository
}

// newRepository is a repository that an entry needs and that does not exist.
type newRepository struct {
	service types.Service
	entry   string
	note    string // why, with its name to be filled in
}

// noteRepositories notes which repositories to create: entries with equal builds share
// that of the first one by name.
func (f *file) noteRepositories() {
	for _, needed := range f.create {
		n := slices.IndexFunc(f.entries, func(s platform.Service) bool { return s.Name == needed.entry })
		if n < 0 {
			continue // left out
		}
		first := f.entries[slices.IndexFunc(f.entries, func(s platform.Service) bool { return s.Key() == f.entries[n].Key() })]
		if first.Name == needed.entry {
			f.note(needed.service, needed.note, first.Repository())
		} else {
			f.note(needed.service, "its image is that of entry %s, so it shares the repository %s", first.Name, first.Repository())
		}
	}
}

// note adds a note about a service.
func (f *file) note(service types.Service, format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf("%s: ", aws.ToString(service.ServiceName))+fmt.Sprintf(format, args...))
}

// finish sets image_of of sidecars that run an entry's image, and drops entries that would
// make the file invalid.
func (f *file) finish() {
	for n := range f.entries {
		for name, sidecar := range f.entries[n].Sidecars {
			if entry := f.images[sidecar.Image]; entry != "" {
				sidecar.Image, sidecar.ImageOf = "", entry
				f.entries[n].Sidecars[name] = sidecar
			}
		}
	}
	var valid []platform.Service
	slices.SortFunc(f.entries, func(a, b platform.Service) int { return strings.Compare(a.Name, b.Name) })
	for _, entry := range f.entries {
		referenced := append(slices.Clone(valid), entry)
		for _, sidecar := range entry.Sidecars { // an entry that comes later is no error
			if n := slices.IndexFunc(f.entries, func(other platform.Service) bool { return other.Name == sidecar.ImageOf }); n >= 0 && !slices.ContainsFunc(referenced, func(s platform.Service) bool { return s.Name == sidecar.ImageOf }) {
				referenced = append(referenced, f.entries[n])
			}
		}
		if _, err := platform.Parse(platform.Encode(referenced)); err != nil {
			f.notes = append(f.notes, fmt.Sprintf("%s: left out, because it makes no valid entry: %s", entry.ServiceName(), err))
			continue
		}
		valid = append(valid, entry)
	}
	f.entries = valid
	f.noteRepositories()
	slices.Sort(f.notes)
	f.notes = slices.Compact(f.notes)
}
