package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// PromoteOptions are the options of [Delivery.Promote]. SHA is the commit to promote; ""
// means the one that the source runs.
type PromoteOptions struct {
	Options
	// Soak is how long the source must have run the commit.
	Soak time.Duration
	// Scan is the gate for known vulnerabilities; [supplychain.ThresholdNone] skips it.
	Scan Scan
}

func (o PromoteOptions) check() error {
	if o.Soak < 0 {
		return outcome.Usagef("invalid --soak %s: want 0 or more, such as 30m", o.Soak)
	}
	return o.Options.check()
}

// Promote releases what another environment runs, after the checks of a promotion. It
// copies the images by digest and builds nothing. A release that is not fit for promotion
// is refused before anything is copied.
func (d Delivery) Promote(ctx context.Context, from Delivery, o PromoteOptions) report.Release {
	from.Recorder = d.Recorder
	promoted, images, copied, err := d.promotion(ctx, from, o)
	var release report.Release
	if err != nil {
		release = d.Failed(cmp.Or(promoted.SHA, o.SHA), err)
	} else {
		request := d.request(promoted.SHA, o.Options)
		request.Targets = d.imageTargets(images)
		release = d.release(ctx, request, o.Options)
	}
	if promoted.SHA != "" {
		release.PromotedFrom = &promoted
	}
	release.Images = copied
	return release
}

// promotion checks what the source runs, and copies its images.
func (d Delivery) promotion(ctx context.Context, from Delivery, o PromoteOptions) (promoted report.Promotion, images map[string]string, copied []report.CopiedImage, err error) {
	if err = o.check(); err != nil {
		return promoted, nil, nil, err
	}
	if err = d.requireCosign(ctx, o.Trust); err != nil { // before anything is checked
		return promoted, nil, nil, err
	}
	if o.Scan.FailOn != supplychain.ThresholdNone {
		if err = d.tools().Require(ctx, tool.Trivy); err != nil {
			return promoted, nil, nil, err
		}
	}
	var candidate candidate
	err = d.stage("source", func() (err error) {
		candidate, err = from.candidate(ctx, o)
		return err
	})
	if err != nil {
		return promoted, nil, nil, err
	}
	promoted = report.Promotion{Environment: from.Environment.Name, SHA: candidate.sha, Since: candidate.since}
	d.Recorder.Event("", fmt.Sprintf("%s has run %s since %s", promoted.Environment, promoted.SHA, timestamp(promoted.Since)))
	present, _, err := d.findImages(ctx, candidate.sha)
	if err == nil {
		err = d.checkTags(candidate, present)
	}
	if err == nil {
		err = from.requireSigned(ctx, candidate.images, o.Trust)
	}
	if err == nil {
		err = from.requireScanned(ctx, candidate.images, o.Scan)
	}
	if err != nil {
		return promoted, nil, nil, err
	}
	err = d.stage("copy", func() (err error) {
		images, copied, err = d.copyImages(ctx, from, candidate)
		return err
	})
	return promoted, images, copied, err
}

// candidate is a commit that an environment runs or ran, and that may be promoted.
type candidate struct {
	sha string
	// since is when the last of the services began to run it.
	since  time.Time
	images map[string]string // references, by the entry's name
}

// candidate returns the commit to promote. It refuses an environment that does not run one
// commit, completely and for long enough.
func (d Delivery) candidate(ctx context.Context, o PromoteOptions) (candidate, error) {
	status, err := d.engine().Status(ctx, d.All) // all of them: a release may be unfinished in others
	selected := map[string]report.ServiceStatus{}
	for _, s := range status.Services {
		selected[s.Name] = s
	}
	var refusals []string
	for _, s := range d.Services {
		running := selected[s.Name]
		if running.Error != "" {
			return candidate{}, cmp.Or(err, errors.New(running.Error))
		}
		refusals = append(refusals, promotionProblems(running)...)
	}
	if u := status.Unfinished; u != nil {
		refusals = append(refusals, fmt.Sprintf("release %s is unfinished, %s does not run it: slipway deploy --sha %s finishes it, slipway rollback undoes it", u.Release, strings.Join(u.Missing, ", "), u.SHA))
	}
	if len(refusals) > 0 {
		return candidate{}, d.refuse("%s", strings.Join(refusals, "; "))
	}
	c, err := d.findCommit(ctx, o.SHA, selected)
	if err != nil {
		return candidate{}, err
	}
	for _, s := range d.Services {
		running := selected[s.Name]
		if digestOfReference(running.Version.Image) == digestOfReference(c.images[s.Name]) {
			if at := completedAt(running); at.After(c.since) {
				c.since = at
			}
			for _, drift := range running.Drift {
				d.Recorder.Event(s.Name, d.Environment.Name+": "+drift)
			}
			continue
		}
		if s.IsJob() { // ECS has no record of what it ran; the services decide
			continue
		}
		past, err := d.engine().FindDeployment(ctx, s, digestOfReference(c.images[s.Name]))
		switch {
		case err != nil:
			return candidate{}, err
		case past == nil:
			return candidate{}, d.refuse("commit %s was never released there: no deployment of its image to %s succeeded: release it there first", c.sha, s.Name)
		case past.RolledBack:
			return candidate{}, d.refuse("commit %s was restored or rolled back there (%s): promote another commit, or release it there again", c.sha, s.Name)
		case past.To.Sub(past.From) < o.Soak:
			return candidate{}, d.refuse("%s ran commit %s for only %s, less than --soak %s: release it there again", s.Name, c.sha, past.To.Sub(past.From).Round(time.Second), o.Soak)
		}
		if past.From.After(c.since) {
			c.since = past.From
		}
	}
	if over := c.since.Add(o.Soak); o.Soak > 0 && d.clock().Now().Before(over) {
		return candidate{}, d.refuse("commit %s has run there since %s, less than --soak %s: promote it after %s", c.sha, timestamp(c.since), o.Soak, timestamp(over))
	}
	return c, nil
}

// refuse returns a refusal to promote from the environment.
func (d Delivery) refuse(format string, args ...any) error {
	return outcome.Refusedf("cannot promote from %s: %s", d.Environment.Name, fmt.Sprintf(format, args...))
}

// promotionProblems returns why what a service runs cannot be promoted.
func promotionProblems(s report.ServiceStatus) (reasons []string) {
	switch {
	case s.Job == nil && s.State != report.Steady:
		reasons = append(reasons, fmt.Sprintf("%s is %s%s: wait until it is steady (slipway status)", s.Name, s.State, suffix(s.Detail)))
	case s.Release == "":
		reasons = append(reasons, fmt.Sprintf("%s runs %s, which slipway never released: deploy a commit there first", s.Name, machine.ShortARN(s.Version.TaskDefinition)))
	}
	for _, modified := range s.Modified {
		reasons = append(reasons, fmt.Sprintf("%s has drifted: %s: deploy a commit there again (slipway deploy --force)", s.Name, modified))
	}
	return reasons
}

func suffix(detail string) string {
	if detail == "" {
		return ""
	}
	return " (" + detail + ")"
}

// timestamp formats a time for messages.
func timestamp(at time.Time) string { return at.UTC().Truncate(time.Second).Format(time.RFC3339) }

// completedAt returns when the deployment of what a service runs was complete.
func completedAt(s report.ServiceStatus) time.Time {
	at := s.Since
	for _, past := range s.Releases {
		if past.Version.TaskDefinition == s.Version.TaskDefinition && past.Status == "SUCCESSFUL" {
			if past.FinishedAt.After(at) {
				at = past.FinishedAt
			}
			break
		}
	}
	return at
}

// findCommit returns the images of a commit or, without one, of the commit that all
// services run. An unchanged service keeps the revision of an earlier commit, so the images
// decide: those of the commit are what runs.
func (d Delivery) findCommit(ctx context.Context, sha string, running map[string]report.ServiceStatus) (candidate, error) {
	if sha != "" {
		sha, err := d.Source.Resolve(ctx, sha)
		if err != nil {
			return candidate{}, err
		}
		images, missing, err := d.findImages(ctx, sha)
		if err == nil && len(missing) > 0 {
			err = d.refuse("its registry has no image of commit %s for %s, so it was never released there: release it there first", sha, missing[0].Name)
		}
		return candidate{sha: sha, images: images}, err
	}
	var runs []string
	services := slices.Clone(d.Services)
	slices.SortStableFunc(services, func(a, b platform.Service) int { return running[b.Name].Since.Compare(running[a.Name].Since) })
	tried := map[string]bool{}
	for _, s := range services {
		commit := running[s.Name].Version.SHA
		runs = append(runs, s.Name+" "+commit)
		if commit == "" || tried[commit] {
			continue
		}
		tried[commit] = true
		images, missing, err := d.findImages(ctx, commit)
		if err != nil {
			return candidate{}, err
		}
		differs := func(s platform.Service) bool {
			return digestOfReference(images[s.Name]) != digestOfReference(running[s.Name].Version.Image)
		}
		if len(missing) == 0 && !slices.ContainsFunc(d.Services, differs) {
			return candidate{sha: commit, images: images}, nil
		}
	}
	slices.Sort(runs)
	return candidate{}, d.refuse("it does not run one commit (%s): release one commit there, or name one with --sha", strings.Join(runs, ", "))
}

// digestOfReference returns the digest of a reference, or "".
func digestOfReference(reference string) string {
	_, digest, _ := strings.Cut(reference, "@")
	return digest
}

// checkTags refuses a promotion if the registry has other images of the commit.
func (d Delivery) checkTags(c candidate, present map[string]string) error {
	var refusals []error
	for _, s := range d.imageEntries() {
		if has, wanted := digestOfReference(present[s.Name]), digestOfReference(c.images[s.Name]); has != "" && has != wanted {
			refusals = append(refusals, outcome.Refusedf("tag %s already names %s in %s, not %s: a tag is never moved; promote another commit", c.sha, has, s.Repository(), wanted))
		}
	}
	return errors.Join(refusals...)
}

// requireScanned refuses images with known vulnerabilities.
func (d Delivery) requireScanned(ctx context.Context, images map[string]string, s Scan) error {
	if s.FailOn == supplychain.ThresholdNone {
		return nil
	}
	return d.stage("scan", func() error {
		found, err := d.scan(ctx, images, s)
		if err != nil {
			return err
		}
		return outcome.With(outcome.Refused, found.Err())
	})
}

// copyImages copies the images of a commit from the registry of another environment.
func (d Delivery) copyImages(ctx context.Context, from Delivery, c candidate) (map[string]string, []report.CopiedImage, error) {
	source, err := from.Account.registry().Login(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer source.Close()
	target, err := d.Account.registry().Login(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer target.Close()
	entries, repositories := d.imageEntries(), map[string]string{} // of the source, by entry
	for _, s := range from.All {
		repositories[s.Name] = s.Repository()
	}
	copied := make([]report.CopiedImage, len(entries))
	first := map[string]int{} // by repository, which services may share
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(publishJobs)
	for n, s := range entries {
		if _, shared := first[s.Repository()]; shared {
			continue
		}
		first[s.Repository()] = n
		group.Go(func() error {
			digest, err := digestOf(c.images[s.Name])
			if err != nil {
				return err
			}
			one, err := target.Copy(ctx, registry.CopyRequest{
				From: source, FromRepository: repositories[s.Name], Repository: s.Repository(), Digest: digest, Tag: c.sha,
			})
			if err != nil {
				return fmt.Errorf("copying the image of %s: %w", s.Name, err)
			}
			copied[n] = report.CopiedImage{
				Service: s.Name, Image: one.Image, Digest: digest.String(), Result: report.ImageCopied,
				Bytes: one.Bytes, Blobs: one.Blobs, Mounted: one.Mounted, Attached: one.Attached,
			}
			if one.Present {
				copied[n].Result = report.ImagePresent
			}
			d.Recorder.Event(s.Name, "image "+digest.String()+" "+copied[n].Result)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	images := map[string]string{}
	for n, s := range entries {
		if f := first[s.Repository()]; f != n {
			copied[n] = report.CopiedImage{Service: s.Name, Image: copied[f].Image, Digest: copied[f].Digest, Result: report.ImagePresent}
		}
		images[s.Name] = copied[n].Image
	}
	return images, copied, nil
}

// DiffRunning returns the difference between what runs here and in another environment.
func (d Delivery) DiffRunning(ctx context.Context, with Delivery) (report.Diff, error) {
	diff := report.Diff{Environment: d.Environment.Name, With: with.Environment.Name}
	var here, there []rollout.Running
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { here, err = d.engine().Running(ctx, d.Services); return err })
	group.Go(func() (err error) { there, err = with.engine().Running(ctx, with.Services); return err })
	if err := group.Wait(); err != nil {
		return diff, awsauth.Explain(err)
	}
	diff.Services = rollout.CompareRunning(here, there)
	diff.Changed = slices.ContainsFunc(diff.Services, func(s report.ServiceDiff) bool { return s.Changed })
	return diff, nil
}

// StatusWith returns what runs here and in another environment. With an error it is partial.
func (d Delivery) StatusWith(ctx context.Context, with Delivery) (report.Status, error) {
	var there report.Status
	var failed error
	var group sync.WaitGroup
	group.Go(func() { there, failed = with.Status(ctx) })
	here, err := d.Status(ctx)
	group.Wait()
	here.Environment, there.Environment = d.Environment.Name, with.Environment.Name
	here.With = &there
	return here, errors.Join(err, failed)
}
