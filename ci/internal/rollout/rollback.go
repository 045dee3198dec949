package rollout

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/platform"
)

// standing is what a service runs, with what its revision's tags say.
type standing struct {
	service    platform.Service
	described  types.Service
	definition *types.TaskDefinition
	marks      marks
}

// standings looks up what the services run. Those that are missing are an error.
func (e Engine) standings(ctx context.Context, cluster string, services []platform.Service) ([]standing, error) {
	var targets []Target
	for _, s := range services {
		targets = append(targets, Target{Service: s})
	}
	described, err := e.describe(ctx, cluster, targets)
	if err != nil {
		return nil, err
	}
	var all []standing
	for _, s := range services {
		service := described[s.ServiceName()]
		if service == nil || aws.ToString(service.Status) != "ACTIVE" {
			return nil, noService(cluster, s.ServiceName())
		}
		definition, tags, err := e.definition(ctx, aws.ToString(service.TaskDefinition))
		if err != nil {
			return nil, err
		}
		all = append(all, standing{service: s, described: *service, definition: definition, marks: readMarks(tags)})
	}
	return all, nil
}

// LastGood finds where a rollback goes that names no goal: for every service of
// the release that was begun last, what ran before it, as far as that is known
// to have worked. That is not the revision before: that one may never have run.
//
// A service in which that release was put back already, by the release itself,
// by ECS or by an earlier rollback, stays where it is: a rollback that is run
// again goes no further.
func (e Engine) LastGood(ctx context.Context, cluster string, services []platform.Service, of string) ([]Target, error) {
	all, err := e.standings(ctx, cluster, services)
	if err != nil {
		return nil, err
	}
	var last *begun
	releases := make([]begun, len(all))
	for n, s := range all {
		if releases[n], err = e.lastBegun(ctx, s); err != nil {
			return nil, err
		}
		if releases[n].id != "" && (last == nil || releases[n].at.After(last.at)) {
			last = &releases[n]
		}
	}
	if of != "" && (last == nil || last.sha != of) {
		return nil, nil
	}
	if last == nil {
		return nil, outcome.Usagef("what runs was not released by slipway, so it is not known what ran before: name a commit or a revision with --to")
	}
	var targets []Target
	var problems []error
	for n, s := range all {
		switch {
		case releases[n].id != last.id:
			continue
		case releases[n].putBack:
			e.Event(s.service.Name, "was put back already")
			targets = append(targets, Target{Service: s.service, Revision: aws.ToString(s.definition.TaskDefinitionArn)})
			continue
		}
		revision, err := e.lastGood(ctx, cluster, s)
		targets, problems = append(targets, Target{Service: s.service, Revision: revision}), append(problems, err)
	}
	return targets, errors.Join(problems...)
}

// begun is the release that a service was concerned by last.
type begun struct {
	id, sha string
	at      time.Time // when its revision was registered
	putBack bool      // the service runs again, or still, what ran before it
}

// newestSearched is how many of a family's newest revisions are searched for one
// that a release has registered: Terraform registers others.
const newestSearched = 5

// lastBegun finds the release that a service was concerned by last: that of the
// newest revision which a release registered, if what ran before it runs; else
// that of the revision that runs.
func (e Engine) lastBegun(ctx context.Context, s standing) (begun, error) {
	list, err := e.ECS.ListTaskDefinitions(ctx, &ecs.ListTaskDefinitionsInput{
		FamilyPrefix: aws.String(s.service.Family()), Sort: types.SortOrderDesc, Status: types.TaskDefinitionStatusActive,
		MaxResults: aws.Int32(newestSearched),
	})
	if err != nil && !isCode(err, deniedCodes...) {
		return begun{}, fmt.Errorf("listing revisions of %s: %w", s.service.Family(), err)
	}
	running := aws.ToString(s.definition.TaskDefinitionArn)
	if err == nil {
		for _, arn := range list.TaskDefinitionArns[:min(len(list.TaskDefinitionArns), newestSearched)] {
			definition, tags, err := e.definition(ctx, arn)
			if err != nil {
				return begun{}, err
			}
			newest := readMarks(tags)
			if newest.from == "" || aws.ToString(definition.Family) != s.service.Family() {
				continue // not a release's, or of a family whose name only begins alike
			}
			if arn != running && newest.from == running {
				return begun{newest.release, newest.sha, aws.ToTime(definition.RegisteredAt), true}, nil
			}
			break
		}
	}
	if s.marks.from == "" {
		return begun{}, nil
	}
	return begun{s.marks.release, s.marks.sha, aws.ToTime(s.definition.RegisteredAt), false}, nil
}

// maxSteps is how far back a rollback looks.
const maxSteps = 20

// lastGood follows what ran before, and before that, to the first revision that
// was once deployed with success. Where ECS has no record of it, what ran before
// is believed to have worked.
func (e Engine) lastGood(ctx context.Context, cluster string, s standing) (string, error) {
	records, known, err := e.history(ctx, cluster, s.service.ServiceName(), types.ServiceDeploymentStatusSuccessful)
	if err != nil {
		return "", err
	}
	candidate := s.marks.from
	for range maxSteps {
		worked := slices.ContainsFunc(records, func(r record) bool { return r.revision == candidate })
		if !known || len(records) == 0 || worked {
			return candidate, nil
		}
		e.Event(s.service.Name, afterSlash(candidate)+" is passed over: it is not known to have worked")
		_, tags, err := e.definition(ctx, candidate)
		if err != nil {
			return "", err
		}
		if candidate = readMarks(tags).from; candidate == "" {
			break
		}
	}
	for _, r := range records { // what else has worked, and is older than what runs
		if r.revision != "" && revisionNumber(r.revision) < int(s.definition.Revision) {
			return r.revision, nil
		}
	}
	return "", outcome.Usagef("%s: no earlier version is known to have worked: name a commit or a revision with --to", s.service.Name)
}

func revisionNumber(arn string) int {
	n, _ := strconv.Atoi(arn[strings.LastIndex(arn, ":")+1:]) // ECS's own ARNs end in a number
	return n
}

// revisionName are the ways to name a revision: its number, with its family, or
// its ARN.
var revisionName = regexp.MustCompile(`^(?:(?:arn:aws[a-z-]*:ecs:[a-z0-9-]+:[0-9]+:task-definition/)?([A-Za-z0-9_-]+):)?([1-9][0-9]*)$`)

// IsRevision tells whether a goal of a rollback names a revision, rather than a
// commit.
func IsRevision(goal string) bool { return len(goal) != 40 && revisionName.MatchString(goal) }

// ToRevision finds the service that a revision is of.
func ToRevision(goal string, services []platform.Service) (Target, error) {
	parts := revisionName.FindStringSubmatch(goal)
	if parts == nil {
		return Target{}, outcome.Usagef("--to %q: take a full commit id, or a revision such as %s:12", goal, services[0].Family())
	}
	if parts[1] == "" {
		if len(services) > 1 {
			return Target{}, outcome.Usagef("--to %s: of which service? Name one with --service, or the family, as in %s:%s", goal, services[0].Family(), goal)
		}
		return Target{Service: services[0], Revision: services[0].Family() + ":" + parts[2]}, nil
	}
	var families []string
	for _, s := range services {
		if s.Family() == parts[1] {
			return Target{Service: s, Revision: parts[1] + ":" + parts[2]}, nil
		}
		families = append(families, s.Family())
	}
	return Target{}, outcome.Usagef("--to %s: no service has the family %s: there are %s", goal, parts[1], strings.Join(families, ", "))
}

// searchDepth is how many of a family's newest revisions are searched for one
// that ran an image.
const searchDepth = 30

// ToImages finds for each service the newest revision that was released with
// its image: then what is gone back to is what ran, environment and all. Where
// there is none the image is put into the newest revision.
func (e Engine) ToImages(ctx context.Context, services []platform.Service, images map[string]string) ([]Target, error) {
	var targets []Target
	for _, s := range services {
		list, err := e.ECS.ListTaskDefinitions(ctx, &ecs.ListTaskDefinitionsInput{
			FamilyPrefix: aws.String(s.Family()), Sort: types.SortOrderDesc, Status: types.TaskDefinitionStatusActive, MaxResults: aws.Int32(searchDepth),
		})
		if err != nil {
			return nil, fmt.Errorf("listing revisions of %s: %w", s.Family(), err)
		}
		target := Target{Service: s, Image: images[s.Name]}
		for _, arn := range list.TaskDefinitionArns {
			definition, _, err := e.definition(ctx, arn)
			if err != nil {
				return nil, err
			}
			if aws.ToString(definition.Family) == s.Family() && imageOf(*definition, s.Container()) == images[s.Name] {
				target.Revision = arn
				break
			}
		}
		targets = append(targets, target)
	}
	return targets, nil
}
