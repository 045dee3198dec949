package task

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

func siteImage(t *testing.T, config v1.Config, more ...testapp.File) v1.Image {
	t.Helper()
	layer, err := testapp.Layer(append([]testapp.File{
		file("srv/index.html", "<h1>home</h1>"), file("srv/app.js", "alert(1)"), file("srv/sub/index.html", "sub"), file("secret", "no"),
		link("srv/out", "../secret"), file("srv/dir/x", ""),
	}, more...)...)
	require.NoError(t, err)
	config.Labels = map[string]string{SiteLabel: "/srv"}
	img, err := testapp.Image(config, layer)
	require.NoError(t, err)
	return img
}

func TestStaticSite(t *testing.T) {
	for name, config := range map[string]v1.Config{
		"no command":            {},
		"its program is absent": {Entrypoint: []string{"/docker-entrypoint.sh"}, Cmd: []string{"nginx"}},
	} {
		t.Run(name, func(t *testing.T) {
			forEachMode(t, func(t *testing.T, w testMode) {
				c := run(t, w, siteImage(t, config), nil)
				require.Equal(t, []string{"the image has no web server: the embedded AWS serves its site /srv"}, c.output.all())
				for path, want := range map[string]struct {
					status int
					body   string
				}{
					"/": {200, "<h1>home</h1>"}, "/index.html": {200, "<h1>home</h1>"}, "/app.js": {200, "alert(1)"}, "/sub/": {200, "sub"},
					"/healthz": {200, "ok"}, "/none": {404, "404 Not Found\n"}, "/dir": {404, "404 Not Found\n"}, "/out": {404, "404 Not Found\n"},
					"/../secret": {404, "404 Not Found\n"},
				} {
					status, body, err := c.get(t, path)
					require.NoError(t, err)
					require.Equal(t, want.status, status, path)
					require.Equal(t, want.body, body, path)
				}
				require.NoError(t, c.Check(t.Context(), []string{"anything"}))
				c.Stop(time.Second)
				<-c.Done()
				require.Zero(t, c.ExitCode())
				_, _, err := c.get(t, "/")
				require.Error(t, err)
			})
		})
	}
}

func TestStaticSiteRequests(t *testing.T) {
	w := testMode{"in place", ModePort, true}
	c := run(t, w, siteImage(t, v1.Config{}, file("srv/404.html", "lost")), nil)
	_, body, err := c.get(t, "/none")
	require.NoError(t, err)
	require.Equal(t, "lost", body)
	recorder := httptest.NewRecorder()
	siteHandler{}.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, recorder.Code)
}

func TestStaticSiteWithServer(t *testing.T) {
	body, err := os.ReadFile(binary)
	require.NoError(t, err)
	img := siteImage(t, v1.Config{Entrypoint: []string{"/app", "exit", "5"}}, testapp.File{Name: "app", Body: body, Mode: 0o755})
	c := run(t, testMode{"in place", ModePort, true}, img, nil)
	<-c.Done()
	require.Equal(t, 5, c.ExitCode())
	require.NoError(t, c.Check(t.Context(), []string{"/bin/sh", "-c", "wget x"}), "the shell of the image that is left out")
	require.Error(t, c.Check(t.Context(), []string{"/app", "exit", "1"}))
}

func TestMissingStaticSite(t *testing.T) {
	layer, err := testapp.Layer(file("x", ""))
	require.NoError(t, err)
	img, err := testapp.Image(v1.Config{Labels: map[string]string{SiteLabel: "/none"}}, layer)
	require.NoError(t, err)
	rt := newRuntime(t, testMode{"in place", ModePort, true}, fakeRegistry{"app": img})
	pulled, err := rt.Pull(t.Context(), "app", "")
	require.NoError(t, err)
	s, err := rt.NewSandbox("task", "10.0.10.4")
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Start(Spec{Name: "app", Image: pulled})
	require.ErrorContains(t, err, "label dev.slipway.site: /none does not exist in the image")
}
