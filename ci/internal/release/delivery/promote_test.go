package delivery_test

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/clock"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/ecr"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain/supplychaintest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/release/rollout"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// environment is an environment in an account of its own, and deliveries to it.
type environment struct {
	*localawstest.Fleet
	name, dir string
}

const timeScale = 200

func startEnvironment(t *testing.T, name, account, binary, dir string) *environment {
	t.Helper()
	old, err := testapp.ServiceImage(binary, "old", "hang")
	require.NoError(t, err)
	e := &environment{name: name, dir: dir}
	e.Fleet = localawstest.NewFleet(t, localaws.Options{Account: account, TimeScale: timeScale}, 2, old)
	return e
}

// laterClock is a clock that is ahead of the time.
type laterClock struct {
	rollout.Clock
	ahead time.Duration
}

func (c laterClock) Now() time.Time { return c.Clock.Now().Add(c.ahead) }

// delivery returns a delivery to the environment. It cannot build.
func (e *environment) delivery(t *testing.T) delivery.Delivery {
	t.Helper()
	tree, err := source.OpenFolder(e.dir)
	require.NoError(t, err)
	return delivery.Delivery{
		Account: delivery.NewAccount(e.Config), Source: tree, Environment: platform.Environment{Name: e.name, File: "f"},
		All: e.Services, Services: e.Services, Exec: step.Host{Source: e.dir}, BuildErr: os.ErrPermission, Lock: image.Lock{},
		Recorder: report.NewRecorder(time.Now, report.Plain{W: t.Output()}), Clock: clock.NewScaled(timeScale),
	}
}

func commitID(digit string) string { return strings.Repeat(digit, 40) }

// publish publishes an image of two platforms for each service, with an SBOM, under a
// commit.
func (e *environment) publish(t *testing.T, binary, sha string, services ...platform.Service) map[string]string {
	t.Helper()
	to, err := ecr.Account{API: e.ECR}.Login(t.Context())
	require.NoError(t, err)
	defer to.Close()
	images := map[string]string{}
	for n, s := range e.Services {
		version := commitID("1") // unchanged
		if len(services) == 0 || s.Name == services[0].Name {
			version = sha
		}
		host, err := testapp.ServiceImage(binary, version+s.Name, "hang")
		require.NoError(t, err)
		other, err := mutate.Time(fixedImage(t, int64(n)), time.Unix(0, 0))
		require.NoError(t, err)
		index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex),
			mutate.IndexAddendum{Add: host, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}},
			mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "riscv64"}}})
		published, err := to.Publish(t.Context(), registry.Publication{Repository: s.Repository(), Tag: sha, Index: index})
		require.NoError(t, err)
		images[s.Name] = published.Image
		_, err = to.Attach(t.Context(), s.Repository(), sbom(t, index))
		require.NoError(t, err)
	}
	return images
}

// fixedImage returns an image that is always the same.
func fixedImage(t *testing.T, seed int64) v1.Image {
	t.Helper()
	img, err := random.Image(64, 1, random.WithSource(fixedSource(seed)))
	require.NoError(t, err)
	return img
}

type fixedSource int64

func (s fixedSource) Int63() int64 { return int64(s) }
func (fixedSource) Seed(int64)     {}

func sbom(t *testing.T, subject v1.ImageIndex) v1.Image {
	t.Helper()
	digest, err := subject.Digest()
	require.NoError(t, err)
	size, err := subject.Size()
	require.NoError(t, err)
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/spdx+json")
	img, err = mutate.AppendLayers(img, static.NewLayer([]byte(digest.String()), "application/spdx+json"))
	require.NoError(t, err)
	return mutate.Subject(img, v1.Descriptor{MediaType: types.OCIImageIndex, Digest: digest, Size: size}).(v1.Image)
}

// release releases a commit as deploy does.
func (e *environment) release(t *testing.T, sha string) report.Release {
	t.Helper()
	release := e.delivery(t).Deploy(t.Context(), delivery.Options{SHA: sha, NoBuild: true, SkipSmoke: true})
	require.Equal(t, outcome.Done, release.ExitCode, release.Error)
	return release
}

// running returns the digests that run, by service.
func (e *environment) running(t *testing.T) map[string]string {
	t.Helper()
	status, err := e.delivery(t).Status(t.Context())
	require.NoError(t, err)
	digests := map[string]string{}
	for _, s := range status.Services {
		_, digests[s.Name], _ = strings.Cut(s.Version.Image, "@")
	}
	return digests
}

// unsigned are the options of a promotion without signatures and scan.
func unsigned(sha string) delivery.PromoteOptions {
	return delivery.PromoteOptions{Options: delivery.Options{SHA: sha, SkipSmoke: true}, Scan: delivery.Scan{FailOn: supplychain.ThresholdNone}}
}

// promotion is a pair of environments in two accounts.
type promotion struct {
	staging, production *environment
	binary              string
}

func (p promotion) promote(t *testing.T, o delivery.PromoteOptions, change ...func(from, to *delivery.Delivery)) report.Release {
	t.Helper()
	from, to := p.staging.delivery(t), p.production.delivery(t)
	for _, c := range change {
		c(&from, &to)
	}
	return to.Promote(t.Context(), from, o)
}

// refused promotes and requires a refusal before anything is copied or released.
func (p promotion) refused(t *testing.T, o delivery.PromoteOptions, want string, change ...func(from, to *delivery.Delivery)) {
	t.Helper()
	before, calls := p.production.running(t), len(p.production.Server.Calls())
	got := p.promote(t, o, change...)
	require.Equal(t, outcome.Refused, got.ExitCode, got.Error)
	require.Equal(t, report.Refused, got.Result)
	require.Contains(t, got.Error, want)
	require.NotContains(t, got.Error, "\n")
	require.Empty(t, got.Images)
	for _, c := range p.production.Server.Calls()[calls:] {
		require.NotContains(t, []string{"PutImage", "InitiateLayerUpload", "RegisterTaskDefinition", "UpdateService"}, c.Action)
	}
	require.Equal(t, before, p.production.running(t))
}

// TestPromote promotes between two accounts. The parts share them, because starting one is
// slow, and run in this order.
func TestPromote(t *testing.T) {
	binary, err := testapp.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	dir := t.TempDir()
	p := promotion{startEnvironment(t, "staging", "111111111111", binary, dir), startEnvironment(t, "production", "222222222222", binary, dir), binary}
	for _, part := range []struct {
		name string
		test func(*testing.T, promotion)
	}{
		{"never released", testNeverReleased},
		{"digest for digest", testPromoteByDigest},
		{"soak", testSoak},
		{"an earlier commit", testPromoteEarlier},
		{"a change of one service", testPromoteUnchanged},
		{"signatures and vulnerabilities", testPromotionGates},
		{"faults", testPromotionFaults},
		{"a tag of another image", testPromotionTag},
		{"unfinished and drifted", testDrifted}, // changes staging by hand
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, p) })
	}
}

func testNeverReleased(t *testing.T, p promotion) {
	p.refused(t, unsigned(""), "cannot promote from staging: s000 runs ecs-s000-task:1, which slipway never released: deploy a commit there first; s001 runs")
	p.staging.publish(t, p.binary, commitID("1"))
	p.staging.release(t, commitID("1"))
	p.refused(t, unsigned(commitID("9")), "cannot promote from staging: its registry has no image of commit "+commitID("9")+" for s000, so it was never released there")
	p.staging.publish(t, p.binary, commitID("8"))
	p.refused(t, unsigned(commitID("8")), "commit "+commitID("8")+" was never released there: no deployment of its image to s000 succeeded")
}

func testPromoteByDigest(t *testing.T, p promotion) {
	calls := len(p.staging.Server.Calls())
	got := p.promote(t, unsigned(""))
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, report.Succeeded, got.Result)
	require.Equal(t, commitID("1"), got.SHA)
	require.Equal(t, "staging", got.PromotedFrom.Environment)
	require.Equal(t, commitID("1"), got.PromotedFrom.SHA)
	require.WithinDuration(t, time.Now(), got.PromotedFrom.Since, time.Minute)
	require.Equal(t, p.staging.running(t), p.production.running(t))
	require.Len(t, got.Images, 2)
	for _, one := range got.Images {
		require.Equal(t, report.ImageCopied, one.Result)
		require.Equal(t, 1, one.Attached)
		require.Positive(t, one.Bytes)
		require.True(t, strings.HasPrefix(one.Image, p.production.Server.Registry()+"/"), one.Image)
		require.Equal(t, p.production.running(t)[one.Service], one.Digest)
	}
	for _, c := range p.staging.Server.Calls()[calls:] {
		require.NotRegexp(t, "^(Put|Initiate|Upload|Complete|Register|Update|Create|Stop|Run|Delete)", c.Action, "staging is only read")
	}

	for name, render := range map[string]func(*strings.Builder) error{"text": func(b *strings.Builder) error { return got.Text(b) }, "markdown": func(b *strings.Builder) error { return got.Markdown(b) }} {
		var b strings.Builder
		require.NoError(t, render(&b), name)
		require.Contains(t, strings.ToLower(b.String()), "romoted from staging, which has run 111111111111 since ")
	}

	began, source, target := time.Now(), len(p.staging.Server.Calls()), len(p.production.Server.Calls())
	again := p.promote(t, unsigned(""))
	require.Equal(t, report.Unchanged, again.Result, again.Error)
	for _, one := range again.Images {
		require.Equal(t, report.ImagePresent, one.Result)
		require.Zero(t, one.Bytes)
	}
	source, target = len(p.staging.Server.Calls())-source, len(p.production.Server.Calls())-target
	t.Logf("nothing to copy: %d requests to staging, %d to production, %s", source, target, time.Since(began).Round(time.Millisecond))
	require.LessOrEqual(t, source, 40)
	require.LessOrEqual(t, target, 30)
}

func testSoak(t *testing.T, p promotion) {
	o := unsigned("")
	o.Soak = time.Hour
	p.refused(t, o, "cannot promote from staging: commit "+commitID("1")+" has run there since ")
	p.refused(t, o, ", less than --soak 1h0m0s: promote it after ")
	later := func(from, _ *delivery.Delivery) { from.Clock = laterClock{from.Clock, 2 * time.Hour} }
	got := p.promote(t, o, later)
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	o.Soak = -time.Second
	got = p.promote(t, o)
	require.Equal(t, outcome.Usage, got.ExitCode)
	require.Contains(t, got.Error, "invalid --soak -1s")
}

func testPromoteEarlier(t *testing.T, p promotion) {
	p.staging.publish(t, p.binary, commitID("2"))
	p.staging.release(t, commitID("2"))
	p.staging.publish(t, p.binary, commitID("3"))
	p.staging.release(t, commitID("3"))
	got := p.promote(t, unsigned(commitID("2")))
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, commitID("2"), got.SHA)
	o := unsigned(commitID("2"))
	o.Soak = time.Hour
	p.refused(t, o, "s000 ran commit "+commitID("2")+" for only ")

	rolledBack := p.staging.delivery(t).Rollback(t.Context(), "", delivery.Options{SkipSmoke: true})
	require.Equal(t, outcome.Done, rolledBack.ExitCode, rolledBack.Error)
	p.refused(t, unsigned(commitID("3")), "commit "+commitID("3")+" was restored or rolled back there (s000)")
	got = p.promote(t, unsigned(""))
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, commitID("2"), got.SHA, "what staging runs after the rollback")

	p.staging.release(t, commitID("3"))
	rolledBack = p.staging.delivery(t).Rollback(t.Context(), commitID("1"), delivery.Options{SkipSmoke: true})
	require.Equal(t, outcome.Done, rolledBack.ExitCode, rolledBack.Error)
	p.refused(t, unsigned(commitID("3")), "commit "+commitID("3")+" was restored or rolled back there (s000)")
}

// testPromoteUnchanged: a commit that changes one service leaves the other at the revision
// of an earlier commit.
func testPromoteUnchanged(t *testing.T, p promotion) {
	p.staging.release(t, commitID("1"))
	p.staging.publish(t, p.binary, commitID("4"), p.staging.Services[0])
	release := p.staging.release(t, commitID("4"))
	require.Equal(t, report.Unchanged, release.Services[1].Result)
	got := p.promote(t, unsigned(""))
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, commitID("4"), got.SHA)
	require.Equal(t, p.staging.running(t), p.production.running(t))

	one := p.staging.Services[:1]
	p.staging.publish(t, p.binary, commitID("5"))
	d := p.staging.delivery(t)
	d.Services = one
	mixed := d.Deploy(t.Context(), delivery.Options{SHA: commitID("5"), NoBuild: true, SkipSmoke: true})
	require.Equal(t, outcome.Done, mixed.ExitCode, mixed.Error)
	p.refused(t, unsigned(""), "it does not run one commit (s000 "+commitID("5")+", s001 "+commitID("1")+"): release one commit there, or name one with --sha")
	got = p.promote(t, unsigned(""), func(from, to *delivery.Delivery) { from.Services, to.Services = one, one })
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, commitID("5"), got.SHA, "of the selected service")
	p.staging.release(t, commitID("5"))
}

func testPromotionGates(t *testing.T, p promotion) {
	tools := supplychaintest.Install(t)
	private, public := supplychaintest.Keys(t, "one")
	_, other := supplychaintest.Keys(t, "two")
	images := p.staging.publish(t, p.binary, commitID("6"))
	p.staging.release(t, commitID("6"))
	o := unsigned("")
	o.Trust = &supplychain.Trust{Key: public}
	p.refused(t, o, "is not signed: run slipway publish --sign-key")
	for _, reference := range images {
		require.NoError(t, exec.CommandContext(t.Context(), "cosign", "sign", "--key="+private, reference).Run())
	}
	o.Trust = &supplychain.Trust{Key: other}
	p.refused(t, o, "is not signed by the given key")
	o.Trust = &supplychain.Trust{Key: public}
	o.Scan.FailOn = supplychain.High
	tools.SetTrivyReport(`{"SchemaVersion": 2, "Results": [{"Target": "app", "Vulnerabilities": [{"VulnerabilityID": "CVE-2026-1", "PkgName": "x", "InstalledVersion": "1", "Severity": "CRITICAL"}]}]}`)
	p.refused(t, o, "vulnerabilities are of severity high or worse, the first CVE-2026-1 in x of s000")
	tools.SetTrivyReport(`{"SchemaVersion": 2}`)
	tools.Commands()
	got := p.promote(t, o)
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	var stages []string
	for _, s := range got.Stages {
		stages = append(stages, s.Name)
	}
	require.Equal(t, []string{"source", "verify", "scan", "copy", "deploy", "preflight"}, stages)
	require.Contains(t, strings.Join(tools.Commands(), "\n"), p.staging.Server.Registry(), "in the registry of the source")
}

func testPromotionFaults(t *testing.T, p promotion) {
	p.staging.publish(t, p.binary, commitID("7"))
	p.staging.release(t, commitID("7"))
	before := p.production.running(t)
	for name, tt := range map[string]struct {
		at    *environment
		fault localaws.Fault
		want  string
	}{
		"the source denies a pull":    {p.staging, localaws.Fault{Kind: localaws.AccessDenied, Action: "GetDownloadUrlForLayer"}, "copying the image of s00"},
		"the source's registry fails": {p.staging, localaws.Fault{Kind: localaws.ServerError, Action: "BatchGetImage"}, "the registry failed in all of 5 attempts"},
		"the source denies its state": {p.staging, localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribeServices"}, "DescribeServices"},
		"the target denies a push":    {p.production, localaws.Fault{Kind: localaws.AccessDenied, Action: "InitiateLayerUpload"}, "copying the image of s00"},
		"the target denies its tags":  {p.production, localaws.Fault{Kind: localaws.AccessDenied, Action: "DescribeImages"}, "ecr:DescribeImages"},
	} {
		t.Run(name, func(t *testing.T) {
			defer tt.at.Server.Inject(tt.fault)()
			got := p.promote(t, unsigned(""))
			require.Equal(t, outcome.Failed, got.ExitCode, got.Error)
			require.Contains(t, got.Error, tt.want)
			require.NotContains(t, got.Error, "\n")
			require.Equal(t, before, p.production.running(t))
		})
	}
	t.Run("killed while copying", func(t *testing.T) {
		for _, action := range []string{"InitiateLayerUpload", "UploadLayerPart", "PutImage"} {
			ctx, kill := context.WithCancel(t.Context())
			remove := p.production.Server.Inject(localaws.Fault{Kind: localaws.Slow, Action: action, Delay: 200 * time.Millisecond})
			to := p.production.delivery(t)
			to.Recorder = report.NewRecorder(time.Now, killingView{kill: kill})
			got := to.Promote(ctx, p.staging.delivery(t), unsigned(""))
			remove()
			require.Equal(t, outcome.Interrupted, got.ExitCode, got.Error)
			require.Equal(t, before, p.production.running(t))
		}
	})
	t.Run("it recovers", func(t *testing.T) {
		defer p.staging.Server.Inject(localaws.Fault{Kind: localaws.ServerError, Action: "GetDownloadUrlForLayer", Times: 2})()
		defer p.production.Server.Inject(localaws.Fault{Kind: localaws.ServerError, Action: "UploadLayerPart", Times: 2})()
		got := p.promote(t, unsigned(""))
		require.Equal(t, outcome.Done, got.ExitCode, got.Error)
		require.Equal(t, p.staging.running(t), p.production.running(t))
	})
}

// killingView ends a promotion while it copies.
type killingView struct{ kill func() }

func (v killingView) Line(text string) {
	if strings.HasPrefix(text, "copy ") {
		time.AfterFunc(50*time.Millisecond, v.kill)
	}
}
func (killingView) Status([]string) {}
func (killingView) Close()          {}

func testPromotionTag(t *testing.T, p promotion) {
	p.staging.publish(t, p.binary, commitID("a"))
	p.staging.release(t, commitID("a"))
	p.production.publish(t, p.binary, commitID("a"), platform.Service{Name: "s001"})
	p.refused(t, unsigned(""), "tag "+commitID("a")+" already names sha256:")
}

func testDrifted(t *testing.T, p promotion) {
	p.staging.publish(t, p.binary, commitID("b"))
	released := p.staging.release(t, commitID("b"))
	update := func(s platform.Service, definition string) {
		t.Helper()
		_, err := p.staging.ECS.UpdateService(t.Context(), &ecs.UpdateServiceInput{Cluster: aws.String(s.ClusterName()), Service: aws.String(s.ServiceName()), TaskDefinition: &definition})
		require.NoError(t, err)
	}
	update(p.staging.Services[1], released.Services[1].From.TaskDefinition)
	p.staging.WaitComplete()
	p.refused(t, unsigned(""), "is unfinished, s001 does not run it: slipway deploy --sha "+commitID("b")+" finishes it, slipway rollback undoes it")
	update(p.staging.Services[1], released.Services[1].To.TaskDefinition)
	p.staging.WaitComplete()
	service := p.staging.Services[0]
	described, err := p.staging.ECS.DescribeTaskDefinition(t.Context(), &ecs.DescribeTaskDefinitionInput{
		TaskDefinition: aws.String(service.Family()), Include: []ecstypes.TaskDefinitionField{ecstypes.TaskDefinitionFieldTags},
	})
	require.NoError(t, err)
	definition := described.TaskDefinition
	other := p.staging.publish(t, p.binary, commitID("c"))
	definition.ContainerDefinitions[0].Image = aws.String(other[service.Name])
	registered, err := p.staging.ECS.RegisterTaskDefinition(t.Context(), &ecs.RegisterTaskDefinitionInput{
		Family: definition.Family, Cpu: definition.Cpu, Memory: definition.Memory, NetworkMode: definition.NetworkMode, ExecutionRoleArn: definition.ExecutionRoleArn,
		RequiresCompatibilities: definition.RequiresCompatibilities, ContainerDefinitions: definition.ContainerDefinitions, Tags: described.Tags,
	})
	require.NoError(t, err)
	update(service, *registered.TaskDefinition.TaskDefinitionArn)
	p.staging.WaitComplete()
	p.refused(t, unsigned(""), "s000 has drifted: image: "+other[service.Name]+" runs, but release bbbbbbbbbbbb.")

	status, err := p.staging.delivery(t).Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, strings.Join(status.Services[0].Drift, "\n"), "it was changed by hand")

	diff, err := p.staging.delivery(t).DiffRunning(t.Context(), p.production.delivery(t))
	require.NoError(t, err)
	require.True(t, diff.Changed)
	require.Equal(t, []string{"staging", "production"}, []string{diff.Environment, diff.With})
	require.Equal(t, report.Change{Path: "commit", From: commitID("b"), To: commitID("7")}, diff.Services[0].Changes[0])
	require.Equal(t, "containers.s000.image", diff.Services[0].Changes[1].Path)
	require.Len(t, diff.Services[0].Changes, 2, "no names, roles and log groups")
	same, err := p.staging.delivery(t).DiffRunning(t.Context(), p.staging.delivery(t))
	require.NoError(t, err)
	require.False(t, same.Changed)
	absent := p.production.delivery(t)
	absent.Services = append([]platform.Service{}, absent.Services...)
	absent.Services[1].Service = "gone"
	diff, err = p.staging.delivery(t).DiffRunning(t.Context(), absent)
	require.NoError(t, err)
	require.Equal(t, []report.Change{{Path: "service", From: "exists"}}, diff.Services[1].Changes)
	for _, render := range []func(*strings.Builder) error{func(b *strings.Builder) error { return diff.Text(b) }, func(b *strings.Builder) error { return diff.Markdown(b) }} {
		var b strings.Builder
		require.NoError(t, render(&b))
		require.Contains(t, b.String(), "production")
	}
}
