package delivery

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout/machine"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Limits of a pause. ECS counts whole minutes.
const (
	MinPause = time.Minute
	MaxPause = rollout.MaxPauseLimit
)

// PauseStages returns the stages at which a release can wait, as for [Options.PauseAt].
func PauseStages() []string {
	var names []string
	for _, stage := range machine.PauseStages() {
		names = append(names, report.StageName(string(stage)))
	}
	return names
}

// pauseStage returns the stage of PauseAt, "" for none.
func (o Options) pauseStage() machine.PauseStage {
	if n := slices.Index(PauseStages(), o.PauseAt); n >= 0 {
		return machine.PauseStages()[n]
	}
	return ""
}

func (o Options) checkPause() error {
	switch {
	case o.PauseAt != "" && o.pauseStage() == "":
		return outcome.Usagef("invalid --pause-at %q: want %s", o.PauseAt, oneOf(PauseStages()))
	case o.PauseAt != "" && o.Strategy == string(platform.Rolling):
		return outcome.Usagef("--pause-at and --strategy rolling exclude each other, because nothing is shifted: leave out one of them")
	case o.PauseAt == "" && o.PauseLimit != 0:
		return outcome.Usagef("--pause-limit needs --pause-at: add it, such as --pause-at %s", PauseStages()[0])
	case o.PauseLimit != 0 && (o.PauseLimit < MinPause || o.PauseLimit > MaxPause || o.PauseLimit%time.Minute != 0):
		return outcome.Usagef("invalid --pause-limit %s: want whole minutes from 1m to %.0fh (14 days)", o.PauseLimit, MaxPause.Hours())
	case o.PauseAt != "" && o.PauseLimit == 0 && o.CI:
		return outcome.Usagef("--pause-at needs --pause-limit in CI, where nobody may be there to continue the release: add it, such as --pause-limit 2h")
	}
	return nil
}

// Strategies returns the values of [Options.Strategy].
func Strategies() []string {
	return []string{string(platform.Rolling), string(platform.BlueGreen), string(platform.Canary), string(platform.Linear)}
}

// CheckStrategy validates the flag --strategy; "" means as in the services file.
func CheckStrategy(name string) error {
	if name != "" && !slices.Contains(Strategies(), name) {
		return outcome.Usagef("invalid --strategy %q: want %s", name, oneOf(Strategies()))
	}
	return nil
}

// oneOf lists names, the last one after "or".
func oneOf(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// setStrategy sets the deployment strategy of one release. Only services that shift traffic
// by the services file can have another one: the others have no second target group.
func setStrategy(targets []rollout.Target, o Options) error {
	shifts := false
	for n := range targets {
		own := targets[n].Service.Strategy
		if !targets[n].Service.ShiftsTraffic() {
			continue
		}
		shifts = true
		switch kind := platform.StrategyType(o.Strategy); kind {
		case "":
		case own.Type:
			targets[n].Strategy = own
		case platform.Rolling:
			targets[n].Strategy = &platform.Strategy{Type: kind}
		default: // percentages are of the other type
			targets[n].Strategy = &platform.Strategy{Type: kind, Bake: own.Bake}
		}
	}
	switch {
	case shifts:
	case o.PauseAt != "":
		return outcome.Usagef("--pause-at: no service of this release shifts traffic: set strategy in %s, or leave out --pause-at", platform.ServicesFile)
	case o.Strategy != "" && o.Strategy != string(platform.Rolling):
		return outcome.Usagef("--strategy %s: no service of this release shifts traffic: set strategy in %s, or leave out --strategy", o.Strategy, platform.ServicesFile)
	}
	return nil
}

// Continue continues the paused release past the stage where it waits.
func (d Delivery) Continue(ctx context.Context, o Options) report.Release {
	if err := o.check(); err != nil {
		return d.Failed(o.Of, err)
	}
	paused, err := d.unfinished(ctx, o.Of)
	switch {
	case err != nil:
		return d.Failed(o.Of, err)
	case paused == nil:
		return d.Failed(o.Of, outcome.Refusedf("no release is paused: the last one is over (%s shows how it ended)", d.Environment.Command("status")))
	case len(paused.RolledBack) > 0:
		return d.Failed(paused.SHA, outcome.Refusedf("release %s cannot be continued, because %s was rolled back: restore the previous version of the others (%s)", paused.ID, strings.Join(paused.RolledBack, ", "), d.Environment.Command("abort")))
	case !paused.Paused:
		return d.Failed(paused.SHA, outcome.Refusedf("no release is paused: release %s is in progress (%s shows its stage)", paused.ID, d.Environment.Command("status")))
	}
	d.Services = slices.DeleteFunc(slices.Clone(d.All), func(s platform.Service) bool { return !slices.Contains(paused.Services, s.Name) })
	images, err := d.requirePublished(ctx, paused.SHA, "restore the previous version ("+d.Environment.Command("abort")+")")
	if err != nil {
		return d.Failed(paused.SHA, err)
	}
	request := d.request(paused.SHA, o)
	request.Continue, request.Targets = true, d.imageTargets(images)
	return d.release(ctx, request, o)
}

// Abort restores the previous version of the services of the unfinished release.
func (d Delivery) Abort(ctx context.Context, o Options) report.Release {
	if err := o.check(); err != nil {
		return d.Failed(o.Of, err)
	}
	if o.Of != "" {
		if _, err := d.unfinished(ctx, o.Of); err != nil {
			return d.Failed(o.Of, err)
		}
	}
	return d.abort(ctx, d.All, o)
}

// abort restores the previous version of those of the services that are in the unfinished
// release.
func (d Delivery) abort(ctx context.Context, services []platform.Service, o Options) (release report.Release) {
	_ = d.Recorder.Stage("abort", func() (report.Result, error) { // the report has the error
		engine := d.engine()
		engine.Next = d.Next
		release = engine.Abort(ctx, services, o.RestoreTimeout)
		return release.Result, nil
	})
	d.Recorder.Fill(&release)
	return release
}

// shifting reports whether ECS shifts traffic of an unfinished release of the services, and
// of the commit of, if that is set: it is then aborted instead of rolled back. A failure to
// find out is that of the rollback, too.
func (d Delivery) shifting(ctx context.Context, of string) bool {
	if !slices.ContainsFunc(d.Services, platform.Service.ShiftsTraffic) {
		return false
	}
	found, err := d.engine().Unfinished(ctx, d.Services)
	return err == nil && found != nil && found.Progressive && (of == "" || of == found.SHA)
}

// unfinished returns the release that is in progress or paused, nil if none is. It refuses
// one that is not of the commit of.
func (d Delivery) unfinished(ctx context.Context, of string) (*rollout.UnfinishedRelease, error) {
	found, err := d.engine().Unfinished(ctx, d.All)
	switch {
	case err != nil:
		return nil, awsauth.Explain(err)
	case found != nil && of != "" && of != found.SHA:
		return nil, outcome.Refusedf("the unfinished release %s is of commit %s, not of %s: leave out --of if you mean it", found.ID, found.SHA, of)
	}
	return found, nil
}
