package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/images/leak"
	"github.com/slipway-cd/slipway/ci/internal/release/preview"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// PreviewOptions are the options of a preview.
type PreviewOptions struct {
	Options
	// Number is the number of the pull request.
	Number int
	// TTL is how long the preview lives; 0 means [DefaultPreviewTTL].
	TTL time.Duration
	// Max is how many previews the environment may have; 0 means [DefaultMaxPreviews].
	Max int
	// HostSuffix gives the preview the host prN.SUFFIX; empty the path /prN.
	HostSuffix string
	// Named are the services that were selected by name.
	Named []string
}

// Defaults of previews.
const (
	DefaultPreviewTTL  = 72 * time.Hour
	DefaultMaxPreviews = 5
	minPreviewTTL      = time.Minute
)

// CheckPreview validates options that need no account.
func (o PreviewOptions) CheckPreview() error {
	if err := CheckPreviewNumber(o.Number); err != nil {
		return err
	}
	switch {
	case o.TTL < 0 || o.TTL > 0 && o.TTL < minPreviewTTL:
		return outcome.Usagef("invalid --ttl %s: want %s or more, such as %s", o.TTL, minPreviewTTL, DefaultPreviewTTL)
	case o.Max < 0:
		return outcome.Usagef("invalid --max %d: want 1 or more, such as %d", o.Max, DefaultMaxPreviews)
	case o.HostSuffix != "" && !preview.ValidHostSuffix(o.HostSuffix):
		return outcome.Usagef("invalid --host-suffix %q: want a domain in lower case, such as preview.example.com", o.HostSuffix)
	}
	return o.check()
}

// CheckPreviewNumber validates the number of a pull request.
func CheckPreviewNumber(number int) error {
	if number < 1 || number > preview.MaxNumber {
		return outcome.Usagef("invalid --pr %d: want the number of a pull request, 1 to %d", number, preview.MaxNumber)
	}
	return nil
}

// previews returns the client for the previews of the environment. Production has none:
// they run code that nobody has approved, with the environment's roles and secrets.
func (d Delivery) previews() (preview.Client, error) {
	c := preview.Client{
		ECS: d.Account.ecs, ELB: d.Account.elb, Clock: d.clock(), Prefix: d.Environment.Prefix(), Register: d.engine().Register, Event: d.Recorder.Event,
	}
	if d.Environment.Name == platform.Production {
		return c, outcome.Refusedf("environment %s has no previews, because they run unreviewed code with its roles and secrets: name another environment", platform.Production)
	}
	for _, s := range d.All {
		if cluster := s.ClusterName(); !s.IsJob() && !slices.Contains(c.Clusters, cluster) {
			c.Clusters = append(c.Clusters, cluster)
		}
	}
	return c, nil
}

// PreviewUp creates or updates a preview, and releases a commit to it. It removes what a failed
// first release leaves.
func (d Delivery) PreviewUp(ctx context.Context, o PreviewOptions) report.Preview {
	o.TTL, o.Max = cmp.Or(o.TTL, DefaultPreviewTTL), cmp.Or(o.Max, DefaultMaxPreviews)
	p := report.Preview{Number: o.Number, ExpiresAt: d.clock().Now().Add(o.TTL).UTC().Truncate(time.Second)}
	failed := func(sha string, err error) report.Preview {
		p.Release, p.ExpiresAt = d.Failed(sha, err), time.Time{}
		return p
	}
	if err := o.CheckPreview(); err != nil {
		return failed(o.SHA, err)
	}
	client, err := d.previews()
	if err != nil {
		return failed(o.SHA, err)
	}
	services, err := d.previewServices(o.Named)
	if err != nil {
		return failed(o.SHA, err)
	}
	d.Services = services
	sha, err := d.commit(ctx, o.Options)
	if err != nil {
		return failed(o.SHA, err)
	}
	existing, err := d.checkMaxPreviews(ctx, client, o)
	if err != nil {
		return failed(sha, err)
	}
	originals, notes, err := d.originals(ctx, client, o)
	if err != nil {
		return failed(sha, err)
	}
	images, err := d.images(ctx, sha, o.Options)
	if err != nil {
		return failed(sha, err)
	}
	next := d.Environment.Command("preview down --pr " + strconv.Itoa(o.Number))
	d.next(next)
	defer d.next("")
	var entries []preview.Entry
	var address preview.Address
	err = d.stage("prepare", func() error {
		entries, address, err = client.Prepare(ctx, preview.Spec{Number: o.Number, Expires: p.ExpiresAt, HostSuffix: o.HostSuffix}, originals, existing)
		return err
	})
	if err != nil {
		p.Release = d.Failed(sha, err)
	} else {
		p.Release = d.releasePreview(ctx, sha, o.Options, entries, images, address)
	}
	p.URL, p.Notes = address.URL(), append(p.Notes, notes...)
	d.finishPreview(ctx, client, &p, next)
	d.Recorder.Fill(&p.Release)
	return p
}

// next sets the command to run if the process is killed.
func (d Delivery) next(command string) {
	if d.Next != nil {
		d.Next(command)
	}
}

// previewServices returns the services that a preview has: those that were named, or all
// web services and workers.
func (d Delivery) previewServices(named []string) ([]platform.Service, error) {
	var services []platform.Service
	for _, s := range d.Services {
		switch {
		case !s.IsJob():
			services = append(services, s)
		case slices.Contains(named, s.Name):
			return nil, outcome.Usagef("%s is a job: a preview has web services and workers only: leave it out", s.Name)
		}
	}
	if len(services) == 0 {
		return nil, outcome.Usagef("%s has no web service and no worker, so there is nothing to preview", platform.ServicesFile)
	}
	return services, nil
}

// checkMaxPreviews returns what exists of the preview, and refuses another one beyond the
// budget.
func (d Delivery) checkMaxPreviews(ctx context.Context, client preview.Client, o PreviewOptions) (*preview.Preview, error) {
	all, err := client.Find(ctx)
	if err != nil || all[o.Number] != nil || len(all) < o.Max {
		return all[o.Number], err
	}
	var names []string
	for _, number := range slices.Sorted(maps.Keys(all)) {
		names = append(names, fmt.Sprintf("#%d", number))
	}
	return nil, outcome.Refusedf("%s exist (%s) and --max is %d: remove one (slipway preview down), or those that have expired (slipway preview sweep)",
		outcome.Count(len(all), "preview"), strings.Join(names, ", "), o.Max)
}

// originals looks up the services of the environment that are to be copied. A new entry,
// which the environment lacks, is left out unless it was named.
func (d Delivery) originals(ctx context.Context, client preview.Client, o PreviewOptions) (found []preview.Original, notes []string, err error) {
	found, absent, err := client.Originals(ctx, d.Services)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range absent {
		if slices.Contains(o.Named, name) || len(found) == 0 {
			return nil, nil, outcome.Usagef("environment %s has no service %s to copy: create it there with Terraform first (slipway plan, slipway apply)", d.Environment.Name, name)
		}
		notes = append(notes, fmt.Sprintf("%s is not in the preview, because environment %s does not have it yet", name, d.Environment.Name))
	}
	var skipped []string
	for _, s := range d.All {
		if s.IsJob() || s.ReleaseTask != nil && slices.ContainsFunc(found, func(o preview.Original) bool { return o.Service.Name == s.Name }) {
			skipped = append(skipped, s.Name)
		}
	}
	if len(skipped) > 0 {
		notes = append(notes, "a preview runs no jobs and no release tasks: "+strings.Join(skipped, ", "))
	}
	return found, notes, nil
}

// releasePreview releases images to the services of a preview.
func (d Delivery) releasePreview(ctx context.Context, sha string, o Options, entries []preview.Entry, images map[string]string, address preview.Address) report.Release {
	request := d.request(sha, o)
	d.All, d.Services = nil, nil
	for _, entry := range entries {
		target := rollout.ImageTarget(entry.Service, images)
		target.Template, target.Tags = &entry.Template, entry.Tags
		request.Targets = append(request.Targets, target)
		d.Services = append(d.Services, entry.Service)
	}
	d.All, d.Next = d.Services, nil
	d.host = address.Host
	o.URL = cmp.Or(o.URL, address.Base+address.Prefix)
	if address.Internal {
		d.Recorder.Event("", "no smoke test: the load balancer is internal, so this machine may not reach it")
		o.SkipSmoke = true
	}
	return d.release(ctx, request, o)
}

// cleanUpTimeout limits the removal of what a failed release left.
const cleanUpTimeout = 15 * time.Minute

// finishPreview sets the tags of a preview whose release succeeded. Otherwise it removes
// the services that run nothing; if none is left, production and environment are as
// before, so that the exit code is no longer that of a restored or unrestored release.
func (d Delivery) finishPreview(ctx context.Context, client preview.Client, p *report.Preview, next string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	found, err := client.FindOne(ctx, p.Number)
	sha := p.SHA
	if p.ExitCode != outcome.Done {
		sha = ""
		if err == nil && found != nil {
			p.Removed, err = client.Remove(ctx, client.WithoutTasks(*found))
		}
		if err != nil {
			p.ExitCode, p.Next = outcome.Unrestored, next
			p.Error += "; cannot remove what does not run: " + leak.Redact(outcome.JoinLines(awsauth.Explain(err).Error()))
			return
		}
		if found == nil || !found.HasTasks() {
			p.ExpiresAt, p.Next = time.Time{}, ""
			if p.ExitCode == outcome.Restored || p.ExitCode == outcome.Unrestored {
				p.ExitCode, p.Result = outcome.Failed, report.Failed
			}
			return
		}
		if p.Next != "" {
			p.Next = next
		}
	}
	if err == nil && found != nil {
		err = client.Tag(ctx, *found, sha, p.ExpiresAt)
	}
	if err != nil {
		p.Notes = append(p.Notes, "the expiry was not set: "+leak.Redact(outcome.JoinLines(awsauth.Explain(err).Error())))
	}
}

// PreviewDown removes a preview. It is no error if there is none.
func (d Delivery) PreviewDown(ctx context.Context, number int) (report.PreviewRemoval, error) {
	if err := CheckPreviewNumber(number); err != nil {
		return report.PreviewRemoval{}, err
	}
	client, err := d.previews()
	if err != nil {
		return report.PreviewRemoval{}, err
	}
	return d.removePreviews(ctx, client, []int{number}, map[int]string{number: "down"}), nil
}

// SweepOptions say which previews to remove beside those that have expired.
type SweepOptions struct {
	// Open are the numbers of the open pull requests: previews of all others are removed.
	// They count only if OpenKnown is set.
	Open      []int
	OpenKnown bool
}

// PreviewSweep removes the previews that have expired, or whose request is closed.
func (d Delivery) PreviewSweep(ctx context.Context, o SweepOptions) (report.PreviewRemoval, error) {
	client, err := d.previews()
	if err != nil {
		return report.PreviewRemoval{}, err
	}
	all, err := client.Find(ctx)
	if err != nil {
		return report.PreviewRemoval{}, awsauth.Explain(err)
	}
	var old []int
	reasons := map[int]string{}
	for _, number := range slices.Sorted(maps.Keys(all)) {
		expires := all[number].Expires()
		switch {
		case o.OpenKnown && !slices.Contains(o.Open, number):
			reasons[number] = "the pull request is closed"
		case expires.IsZero():
			d.Recorder.Event("", fmt.Sprintf("preview of pull request %d has no valid tag %s, so it does not expire", number, rollout.TagExpires))
			continue
		case !expires.After(d.clock().Now()):
			reasons[number] = "expired " + expires.Format(time.RFC3339)
		default:
			continue
		}
		old = append(old, number)
	}
	return d.removePreviews(ctx, client, old, reasons), nil
}

func (d Delivery) removePreviews(ctx context.Context, client preview.Client, numbers []int, reasons map[int]string) report.PreviewRemoval {
	removal := report.PreviewRemoval{Environment: d.Environment.Label()}
	for _, number := range numbers {
		one := report.RemovedPreview{Number: number, Reason: reasons[number]}
		complete, err := client.FindOne(ctx, number)
		if err == nil && complete != nil {
			one.Removed, err = client.Remove(ctx, *complete)
		}
		if err != nil {
			one.Error = leak.Redact(outcome.JoinLines(awsauth.Explain(err).Error()))
			removal.ExitCode = outcome.Failed
		}
		removal.Previews = append(removal.Previews, one)
		if ctx.Err() != nil {
			removal.ExitCode = outcome.Of(context.Cause(ctx))
			return removal
		}
	}
	return removal
}

// Previews returns the previews of the environment. With an error the list is partial; it
// has no time if nothing was listed.
func (d Delivery) Previews(ctx context.Context) (report.Previews, error) {
	client, err := d.previews()
	if err != nil {
		return report.Previews{}, err
	}
	all, err := client.Find(ctx)
	if err != nil {
		return report.Previews{}, awsauth.Explain(err)
	}
	list := report.Previews{Environment: d.Environment.Label(), At: d.clock().Now().UTC()}
	var problems []error
	for _, number := range slices.Sorted(maps.Keys(all)) {
		p := all[number]
		address, err := client.Address(ctx, *p)
		problems = append(problems, err)
		one := report.PreviewStatus{
			Number: number, SHA: p.SHA(), URL: address.URL(), CreatedAt: p.Created().UTC(), ExpiresAt: p.Expires().UTC(),
			Expired: !p.Expires().IsZero() && !p.Expires().After(list.At), State: report.Missing,
		}
		for _, s := range p.Services() {
			one.Services = append(one.Services, *s.ServiceName)
			one.State = worseState(one.State, stateOf(s))
		}
		list.Previews = append(list.Previews, one)
	}
	return list, awsauth.Explain(errors.Join(problems...))
}

// stateOf returns the state of a preview's service.
func stateOf(s ecstypes.Service) report.State {
	primary := machine.Primary(s.Deployments)
	switch {
	case machine.Complete(s.Deployments) && s.DesiredCount > 0 && s.RunningCount >= s.DesiredCount:
		return report.Steady
	case primary != nil && primary.RolloutState == ecstypes.DeploymentRolloutStateInProgress:
		return report.Deploying
	}
	return report.Degraded
}

// worseState returns the state of a preview with one more service.
func worseState(a, b report.State) report.State {
	order := []report.State{report.Missing, report.Steady, report.Deploying, report.Degraded}
	return order[max(slices.Index(order, a), slices.Index(order, b))]
}

// ParseOpen parses the numbers of the open pull requests, separated by commas; "none"
// means that none is open.
func ParseOpen(list string) ([]int, error) {
	if list == "none" {
		return nil, nil
	}
	var numbers []int
	for _, text := range strings.Split(list, ",") {
		number, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || CheckPreviewNumber(number) != nil {
			return nil, outcome.Usagef("invalid --open %q: want the numbers of the open pull requests, such as 12,15, or none", list)
		}
		numbers = append(numbers, number)
	}
	return numbers, nil
}
