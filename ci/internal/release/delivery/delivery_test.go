package delivery_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
	"github.com/slipway-cd/slipway/ci/internal/images/supplychain/supplychaintest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestMain(m *testing.M) { sourcetest.RunTests(m) }

// project is an environment whose two services are built from a small source tree.
type project struct {
	*environment
	cache         string // of builds
	first, second string // commits
}

// startProject starts an environment. Its services run the program of the first commit,
// which nobody has released.
func startProject(t *testing.T) *project {
	t.Helper()
	p := &project{environment: &environment{name: "staging", dir: sourcetest.New(t)}, cache: t.TempDir()}
	built := p.build(t, platform.Service{Name: "api", Build: platform.Build{Path: "api", Kind: platform.Go}})
	manifest, err := built[0].Index.IndexManifest()
	require.NoError(t, err)
	for _, m := range manifest.Manifests {
		if m.Platform.Architecture == image.HostPlatform().Architecture {
			img, err := built[0].Index.Image(m.Digest)
			require.NoError(t, err)
			p.Fleet = localawstest.NewFleet(t, localaws.Options{TimeScale: timeScale}, 2, img)
		}
	}
	for n := range p.Services {
		p.Services[n].Path = "api"
	}
	p.first = p.head(t)
	return p
}

func (p *project) build(t *testing.T, services ...platform.Service) []image.Image {
	t.Helper()
	built, err := image.Builder{Source: source.Tree{Dir: p.dir}, Exec: step.Host{Source: p.dir}, Cache: p.cache}.Build(t.Context(), services)
	require.NoError(t, err)
	return built
}

func (p *project) head(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(sourcetest.Git(t, p.dir, "rev-parse", "HEAD"))
}

// delivery returns a delivery that can build, and attaches nothing.
func (p *project) delivery(t *testing.T) delivery.Delivery {
	t.Helper()
	d := p.environment.delivery(t)
	d.BuildErr, d.Cache, d.Attestations.Off = nil, p.cache, true
	return d
}

func (p *project) publish(t *testing.T, d delivery.Delivery, o delivery.PublishOptions) (delivery.Published, error) {
	t.Helper()
	to, err := d.Account.Destination(t.Context())
	require.NoError(t, err)
	return d.Publish(t.Context(), to, o)
}

// TestDelivery publishes, releases and observes in one account. The parts share it, and run
// in this order.
func TestDelivery(t *testing.T) {
	p := startProject(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *project)
	}{
		{"publish", testPublish},
		{"attest, verify and scan", testAttest},
		{"deploy", testDeploy},
		{"smoke test", testSmokeTest},
		{"rollback", testRollback},
		{"release task", testReleaseTask},
		{"run", testRun},
		{"logs", testLogs},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, p) })
	}
}

func testPublish(t *testing.T, p *project) {
	first, err := p.publish(t, p.delivery(t), delivery.PublishOptions{})
	require.NoError(t, err)
	require.Equal(t, p.first, first.SHA)
	require.Equal(t, p.Server.Registry(), first.Registry)
	require.Len(t, first.Images, 2)
	for n, one := range first.Images {
		require.Equal(t, p.Services[n].Name, one.Service)
		require.True(t, one.Pushed)
		require.Equal(t, registry.LatestMoved, one.Latest.Result)
		require.Equal(t, []string{"linux/amd64", "linux/arm64"}, one.Platforms)
	}

	layouts := t.TempDir()
	require.NoError(t, image.WriteLayouts(layouts, p.build(t, p.Services...)))
	d := p.delivery(t)
	d.BuildErr = os.ErrPermission // not needed
	again, err := p.publish(t, d, delivery.PublishOptions{LayoutDir: layouts, Latest: new(bool)})
	require.NoError(t, err)
	require.Equal(t, first.Images[0].Digest, again.Images[0].Digest, "the same bytes")
	require.False(t, again.Images[0].Pushed)
	for format, want := range map[string]string{"text": "s000         unchanged " + first.Images[0].Image, "markdown": "| s001 | `" + first.Images[1].Image + "` | linux/amd64, linux/arm64 | unchanged | 0 blobs, 0.0 MB | ", "json": `"pushed": false`} {
		var b strings.Builder
		require.NoError(t, map[string]func(*strings.Builder) error{
			"text":     func(b *strings.Builder) error { return again.Text(b) },
			"markdown": func(b *strings.Builder) error { return again.Markdown(b) },
			"json":     func(b *strings.Builder) error { return again.JSON(b) },
		}[format](&b))
		require.Contains(t, b.String(), want)
	}

	absent := p.delivery(t)
	absent.Services = []platform.Service{{Name: "absent", Build: p.Services[0].Build}}
	for name, tt := range map[string]struct {
		delivery delivery.Delivery
		options  delivery.PublishOptions
		want     string
		code     outcome.Code
	}{
		"no layouts":     {d, delivery.PublishOptions{LayoutDir: t.TempDir()}, "opening the layout of s000", outcome.Usage},
		"cannot build":   {d, delivery.PublishOptions{}, "publishing commit " + p.first + " needs its files, and it cannot be built here", outcome.Failed},
		"another commit": {p.delivery(t), delivery.PublishOptions{SHA: commitID("5")}, "and the tree is at commit " + p.first + ": run git checkout " + commitID("5"), outcome.Usage},
		"no repository":  {absent, delivery.PublishOptions{}, "ecs-microservices-absent", outcome.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			published, err := p.publish(t, tt.delivery, tt.options)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, tt.code, outcome.Of(err))
			require.Empty(t, published.Images)
		})
	}
	sourcetest.Write(t, p.dir, "api/extra.go", "package main\n")
	_, err = p.publish(t, p.delivery(t), delivery.PublishOptions{})
	require.ErrorContains(t, err, "the tree has changes that are not in commit "+p.first)
	require.Equal(t, outcome.Usage, outcome.Of(err))
	_, err = p.publish(t, p.delivery(t), delivery.PublishOptions{SHA: p.first})
	require.ErrorContains(t, err, "the tree has uncommitted changes")
	require.NoError(t, os.Remove(filepath.Join(p.dir, "api/extra.go")))
}

// testAttest publishes the second commit signed.
func testAttest(t *testing.T, p *project) {
	tools := supplychaintest.Install(t)
	private, public := supplychaintest.Keys(t, "one")
	_, other := supplychaintest.Keys(t, "two")
	trust := func(key string) delivery.Options {
		return delivery.Options{SHA: p.head(t), Trust: &supplychain.Trust{Key: key}}
	}
	checked, err := p.delivery(t).Verify(t.Context(), trust(public))
	require.Equal(t, outcome.Refused, outcome.Of(err))
	require.ErrorContains(t, err, "is not signed: run slipway publish --sign-key")
	require.False(t, checked.Images[0].Trusted)
	var b strings.Builder
	require.NoError(t, checked.Text(&b))
	require.Contains(t, b.String(), "s000         REFUSED  "+checked.Images[0].Image)
	b.Reset()
	require.NoError(t, checked.Markdown(&b))
	require.Contains(t, b.String(), "**no**: ")

	sourcetest.Write(t, p.dir, "api/second.go", "package main\n\nvar _ = 2\n")
	sourcetest.Commit(t, p.dir, "second")
	p.second = p.head(t)
	d := p.delivery(t)
	d.Attestations = delivery.Attestations{Signer: &supplychain.Signer{Key: private}}
	t.Setenv("COSIGN_PASSWORD", "right")
	_, err = p.publish(t, d, delivery.PublishOptions{})
	require.NoError(t, err)
	var events report.Release
	d.Recorder.Fill(&events)
	require.Contains(t, fmt.Sprint(events.Events), "attached signed sbom of linux/amd64, signed sbom of linux/arm64, signed provenance, signature")

	checked, err = p.delivery(t).Verify(t.Context(), trust(public))
	require.NoError(t, err)
	require.Equal(t, p.second, checked.SHA)
	require.True(t, checked.Images[0].Trusted && checked.Images[1].Trusted)
	b.Reset()
	require.NoError(t, checked.JSON(&b))
	require.Contains(t, b.String(), `"trusted": true`)
	_, err = p.delivery(t).Verify(t.Context(), trust(other))
	require.Equal(t, outcome.Refused, outcome.Of(err))
	_, err = p.delivery(t).Verify(t.Context(), delivery.Options{SHA: commitID("9"), Trust: &supplychain.Trust{Key: public}})
	require.ErrorContains(t, err, "for s000, s001: publish it first")
	require.Equal(t, outcome.Failed, outcome.Of(err))
	t.Setenv("FAKE_BROKEN", "yes")
	_, err = p.delivery(t).Verify(t.Context(), trust(public))
	require.ErrorContains(t, err, "verifying the signature of ")
	require.Equal(t, outcome.Failed, outcome.Of(err), "what could not be found out is no refusal")

	scan := delivery.Scan{FailOn: supplychain.High}
	tools.SetTrivyReport(`{"SchemaVersion": 2}`)
	found, err := p.delivery(t).ScanPublished(t.Context(), p.second, scan)
	require.NoError(t, err)
	require.Len(t, found.Images, 2)
	require.Contains(t, strings.Join(found.Notes, "\n"), "does not scan on push, so ECR has no findings for its images")
	_, err = p.delivery(t).ScanPublished(t.Context(), commitID("9"), scan)
	require.ErrorContains(t, err, "publish it first, or scan the tree's images without --sha")
	built := p.build(t, p.Services...)
	shared := p.Services[1]
	shared.Names.Repository = p.Services[0].Repository()
	built[1].Service = shared
	tools.Commands()
	found, err = delivery.ScanImages(t.Context(), step.Host{Source: p.dir}, image.Lock{}, built, scan)
	require.NoError(t, err)
	require.Len(t, found.Images, 2)
	require.Equal(t, 2, strings.Count(strings.Join(tools.Commands(), "\n"), "trivy image"), "of two platforms, once although services share the image")
	tools.SetTrivyReport("{")
	_, err = delivery.ScanImages(t.Context(), step.Host{Source: p.dir}, image.Lock{}, built, scan)
	require.ErrorContains(t, err, "scanning s000: reading Trivy's report", "no report is no pass")
}

// testDeploy compares and releases commits: one that is published, and one that is built.
func testDeploy(t *testing.T, p *project) {
	for name, tt := range map[string]struct {
		options delivery.Options
		want    string
	}{
		"too short":                   {delivery.Options{Timeout: time.Second}, "invalid --timeout 1s: want 10s or more"},
		"restore too short":           {delivery.Options{RestoreTimeout: time.Second}, "invalid --restore-timeout 1s: want 10s or more"},
		"a turn in the past":          {delivery.Options{WaitForTurn: -1}, "invalid --wait-for-turn -1ns"},
		"no URL":                      {delivery.Options{URL: "example.com"}, `invalid --url "example.com": want http://HOST or https://HOST`},
		"a URL with a query":          {delivery.Options{URL: "https://u:secret@example.com/?q"}, `invalid --url "https://(hidden)@example.com/?q"`},
		"a URL that cannot be parsed": {delivery.Options{URL: "https://u:sec ret@[::1"}, `invalid --url "https://(hidden)@[::1"`},
		"an unknown commit":           {delivery.Options{SHA: "abcdef1"}, "abcdef1"},
	} {
		t.Run(name, func(t *testing.T) {
			got := p.delivery(t).Deploy(t.Context(), tt.options)
			require.Equal(t, outcome.Usage, got.ExitCode, got.Error)
			require.Contains(t, got.Error, tt.want)
			require.Equal(t, report.Unchanged, got.Services[0].Result)
			_, err := p.delivery(t).Diff(t.Context(), tt.options)
			require.Equal(t, outcome.Usage, outcome.Of(err))
		})
	}
	skip := delivery.Options{SkipSmoke: true}
	before := p.running(t)
	got := p.delivery(t).Deploy(t.Context(), delivery.Options{SHA: commitID("9"), SkipSmoke: true, NoBuild: true})
	require.Equal(t, outcome.Failed, got.ExitCode)
	require.Contains(t, got.Error, "publish it first, or leave out --no-build")
	require.Equal(t, before, p.running(t))

	got = p.delivery(t).Deploy(t.Context(), delivery.Options{SHA: p.first, SkipSmoke: true})
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, []string{"deploy", "preflight"}, stages(got), "nothing to build")

	sourcetest.Write(t, p.dir, "api/third.go", "package main\n\nvar _ = 3\n")
	sourcetest.Commit(t, p.dir, "third")
	third := p.head(t)
	diff, err := p.delivery(t).Diff(t.Context(), skip)
	require.NoError(t, err)
	require.True(t, diff.Changed)
	require.Equal(t, third, diff.SHA)
	got = p.delivery(t).Deploy(t.Context(), skip)
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, []string{"build", "publish", "deploy", "preflight"}, stages(got))
	require.Equal(t, diff.Services[0].To.Image, got.Services[0].To.Image, "the digest that was compared")
	diff, err = p.delivery(t).Diff(t.Context(), skip)
	require.NoError(t, err)
	require.False(t, diff.Changed)
}

func stages(r report.Release) []string {
	var names []string
	for _, s := range r.Stages {
		names = append(names, s.Name)
	}
	return names
}

// testSmokeTest: a failure of the released service restores it, one of another is a note.
func testSmokeTest(t *testing.T, p *project) {
	var broken atomic.Value // the prefix of paths that fail
	var removed atomic.Bool // the new version has no /s000/
	before := p.running(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, broken.Load().(string)):
			w.WriteHeader(http.StatusInternalServerError)
		case r.URL.Path == "/s000/health", r.URL.Path == "/s000/" && removed.Load() && p.running(t)["s000"] != before["s000"]:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	d := p.delivery(t)
	d.Services, d.SmokeTimeout = d.Services[:1], 100*time.Millisecond
	o := delivery.Options{SHA: p.second, URL: server.URL + "/"}
	broken.Store("none")
	removed.Store(true)
	got := d.Deploy(t.Context(), o)
	require.Equal(t, outcome.Restored, got.ExitCode, got.Error)
	require.Contains(t, got.Error, "/s000/ returned 404 Not Found, want a status below 400 as before the release")
	require.NotContains(t, got.Error, "/s000/health", "it was not there before, either")
	require.Equal(t, before, p.running(t))

	removed.Store(false)
	d.Recorder = p.delivery(t).Recorder
	broken.Store("/s000/")
	got = d.Deploy(t.Context(), o)
	require.Equal(t, outcome.Restored, got.ExitCode, got.Error)
	require.Contains(t, got.Error, "/s000/ returned 500 Internal Server Error, want a status below 500")
	require.Equal(t, before, p.running(t))

	broken.Store("/s001/")
	d.Recorder = p.delivery(t).Recorder
	got = d.Deploy(t.Context(), o)
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, []string{"deploy", "preflight", "smoke"}, stages(got))
	require.Contains(t, strings.Join(got.Notes, "\n"), "service s001 fails the smoke test, and this release started no task of it")
	require.NotEqual(t, before, p.running(t))

	got = p.delivery(t).Deploy(t.Context(), delivery.Options{SHA: p.second})
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Contains(t, strings.Join(got.Notes, "\n"), "no smoke test: ", "there is no load balancer")
}

func testRollback(t *testing.T, p *project) {
	running := func() string { return p.running(t)["s000"] }
	second := running()
	back := func(to string, o delivery.Options) report.Release {
		o.SkipSmoke = true
		return p.delivery(t).Rollback(t.Context(), to, o)
	}
	got := back("", delivery.Options{Of: p.first})
	require.Equal(t, report.Unchanged, got.Result)
	require.Equal(t, outcome.Done, got.ExitCode)
	require.Equal(t, second, running(), "the last release is of another commit")
	for to, want := range map[string]string{
		p.second[:8]: p.second[:8] + " is short for " + p.second + ": give " + p.second,
		"fffffff":    "fffffff",
	} {
		got := back(to, delivery.Options{})
		require.Equal(t, outcome.Usage, got.ExitCode, got.Error)
		require.Contains(t, got.Error, want)
	}
	require.Equal(t, outcome.Usage, back("", delivery.Options{Timeout: time.Second}).ExitCode)
	got = back(commitID("9"), delivery.Options{})
	require.Equal(t, outcome.Failed, got.ExitCode)
	require.Contains(t, got.Error, "roll back to a commit that was released (slipway status)")

	got = back(p.first, delivery.Options{})
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.NotEqual(t, second, running())
	revision := got.Services[0].From.TaskDefinition
	got = back(revision[strings.LastIndex(revision, "/")+1:], delivery.Options{})
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, p.second, got.SHA, "of the revision's tags")
	require.Equal(t, second, running())
	require.Len(t, got.Services, 1)
}

func testReleaseTask(t *testing.T, p *project) {
	deploy := func(command ...string) report.Release {
		d := p.delivery(t)
		d.Services = []platform.Service{d.Services[0]}
		d.Services[0].ReleaseTask = &platform.ReleaseTask{Command: command}
		return d.Deploy(t.Context(), delivery.Options{SHA: p.second, SkipSmoke: true, Force: true})
	}
	before := p.running(t)
	got := deploy("exit", "3")
	require.Equal(t, outcome.Failed, got.ExitCode)
	require.Equal(t, "the release task of s000 failed: container s000 exited with code 3", got.Error)
	require.Equal(t, []string{"task exit 3 "}, got.Services[0].Causes[0].LogTail)
	require.Equal(t, before, p.running(t))
	got = deploy("exit", "0")
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, report.Succeeded, got.Tasks[0].Result)
	require.Contains(t, stages(got), "release-task")
	require.Contains(t, fmt.Sprint(got.Events), "| task exit 0")
}

func testRun(t *testing.T, p *project) {
	run := func(ctx context.Context, o delivery.RunOptions) report.Run {
		d := p.delivery(t)
		d.Services = d.Services[:1]
		return d.Run(ctx, o)
	}
	var lines []string
	got := run(t.Context(), delivery.RunOptions{
		Command: []string{"exit", "0"}, Environment: map[string]string{"GREETING": "hello"}, Output: func(more []string) { lines = append(lines, more...) },
	})
	require.Equal(t, outcome.Done, got.ExitCode, got.Error)
	require.Equal(t, report.Succeeded, got.Result)
	require.Equal(t, []string{"task exit 0 hello"}, lines)
	require.Equal(t, "s000", got.Container)
	require.Equal(t, int32(0), *got.Task.ExitCode)

	got = run(t.Context(), delivery.RunOptions{Command: []string{"exit", "3"}, SHA: p.first})
	require.Equal(t, outcome.Failed, got.ExitCode)
	require.Equal(t, "container s000 exited with code 3", got.Error)
	require.Equal(t, []string{"task exit 3 "}, got.Causes[0].LogTail)

	got = run(t.Context(), delivery.RunOptions{Command: []string{"exit", "0"}, NoWait: true})
	require.Equal(t, report.Started, got.Result)
	require.Contains(t, got.Task.Task, ":task/ecs-cluster/")

	for want, o := range map[string]delivery.RunOptions{
		"invalid --timeout 1ms: want 1s or more":           {Timeout: time.Millisecond},
		`no container "agent" in task definition arn:aws:`: {Container: "agent"},
		"abcdef1": {SHA: "abcdef1"},
	} {
		got := run(t.Context(), o)
		require.Equal(t, outcome.Usage, got.ExitCode, got.Error)
		require.Contains(t, got.Error, want)
		require.Empty(t, got.Task.Task)
	}
	got = run(t.Context(), delivery.RunOptions{SHA: commitID("9")})
	require.Equal(t, outcome.Failed, got.ExitCode)
	require.Contains(t, got.Error, "publish it first (slipway publish)")

	ctx, cancel := context.WithCancelCause(t.Context())
	got = run(ctx, delivery.RunOptions{
		Command: []string{"sleep", "1h"}, Output: func([]string) { cancel(outcome.Interruption("interrupted by SIGINT")) },
	})
	require.Equal(t, outcome.Interrupted, got.ExitCode)
	require.Equal(t, report.Interrupted, got.Result)
	require.Contains(t, fmt.Sprint(got.Events), "stopping task")
}

func testLogs(t *testing.T, p *project) {
	d := p.delivery(t)
	d.Services = d.Services[:1]
	logs, err := d.Logs(t.Context(), delivery.LogOptions{})
	require.NoError(t, err)
	var task string // that was greeted
	for _, line := range logs.Lines {
		require.Equal(t, "s000", line.Service)
		if line.Text == "task exit 0 hello" {
			task = line.Task
		}
	}
	require.NotEmpty(t, task)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	shown := 0
	one, err := d.Logs(ctx, delivery.LogOptions{Task: task, SHA: p.second, Follow: func(lines []report.LogLine) bool { shown += len(lines); return false }})
	require.NoError(t, err)
	require.Equal(t, 1, shown)
	require.Len(t, one.Lines, 1)

	none, err := d.Logs(t.Context(), delivery.LogOptions{SHA: commitID("9")})
	require.NoError(t, err)
	require.Empty(t, none.Lines)
	require.Contains(t, none.Notes, "s000: ECS knows no task of commit "+commitID("9")+": it shows stopped tasks for about an hour")
	for _, unknown := range []delivery.LogOptions{
		{Task: strings.Repeat("0", 32)}, {Task: "unknown"}, {Task: "unknown", SHA: p.second}, {Task: "unknown", Follow: func([]report.LogLine) bool { return true }},
	} {
		_, err = d.Logs(t.Context(), unknown)
		require.EqualError(t, err, fmt.Sprintf("no task %q of s000: ECS lists none, and CloudWatch has no lines of it in the last 10m0s: check the id, or choose a longer --since", unknown.Task))
		require.Equal(t, outcome.Failed, outcome.Of(err))
	}
	none, err = d.Logs(t.Context(), delivery.LogOptions{Task: task, Since: time.Nanosecond})
	require.NoError(t, err)
	require.Equal(t, []string{"no lines in the last 1ns: choose a longer --since"}, none.Notes)
	none, err = d.Logs(t.Context(), delivery.LogOptions{Task: task[:8], Since: time.Nanosecond})
	require.NoError(t, err, "ECS lists it")
	require.Empty(t, none.Lines)
	for want, o := range map[string]delivery.LogOptions{
		"invalid --since -1s": {Since: -time.Second}, `invalid --task "a b"`: {Task: "a b"}, "abcdef1": {SHA: "abcdef1"},
	} {
		_, err := d.Logs(t.Context(), o)
		require.ErrorContains(t, err, want)
		require.Equal(t, outcome.Usage, outcome.Of(err))
	}

	d.Services = append([]platform.Service{{Name: "absent"}}, d.Services...)
	logs, err = d.Logs(t.Context(), delivery.LogOptions{})
	require.NoError(t, err, "the logs of the others are shown")
	require.Contains(t, strings.Join(logs.Notes, "\n"), "no log of absent: ")
	d.Services = d.Services[:1]
	_, err = d.Logs(t.Context(), delivery.LogOptions{})
	require.ErrorContains(t, err, "absent")
}
