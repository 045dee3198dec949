package platform_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

func TestMatchPattern(t *testing.T) {
	tests := []struct {
		pattern, text string
		want          bool
	}{
		{"/api/*", "/api/", true},
		{"/api/*", "/api/a/b", true},
		{"/api/*", "/api", false},
		{"/*", "/", true},
		{"*", "", true},
		{"/a?c", "/abc", true},
		{"/a?c", "/ac", false},
		{"*.png", "/x/y.png", true},
		{"*.png", "/x.png/", false},
		{"/*/img/*.png", "/a/b/img/c.png", true},
		{"", "", true},
		{"", "x", false},
		{"a*b*c", "aXbXbc", true},
		{"a**", "a", true},
	}
	for _, test := range tests {
		require.Equal(t, test.want, platform.MatchPattern(test.pattern, test.text), "%s %s", test.pattern, test.text)
	}
}

func TestRouteTo(t *testing.T) {
	services := []platform.Service{
		{Name: "deep", Routes: []string{"/api/*/b"}},
		{Name: "exact", Routes: []string{"/api/a/b", "/?ealth"}},
		{Name: "long", Routes: []string{"/api/long-name-*", "/health"}},
		{Name: "web", Routes: []string{"/*"}},
	}
	for path, want := range map[string]string{
		"/":                      "web",
		"/api":                   "web",
		"/api/a/b":               "exact", // no wildcard
		"/api/c/b":               "deep",
		"/api/c/d/b":             "deep", // * does not stop at a slash
		"/api/long-name-1":       "long",
		"/api/long-name-1/x/b":   "deep", // the deeper pattern, however long the other one is
		"/api/long-name-1/other": "long",
		"/health":                "long",
		"/wealth":                "exact",
	} {
		got, ok := platform.RouteTo(services, path)
		require.True(t, ok, path)
		require.Equal(t, want, got.Name, path)
	}
	_, ok := platform.RouteTo(services[:3], "/elsewhere")
	require.False(t, ok)
}

func TestRoutesConflict(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"/a/*", "/a/*"}:   true,
		{"/a/*", "/*/b"}:   true,
		{"/a/*", "/b/*"}:   false,
		{"/a/*", "/a/b/*"}: false, // the deeper one comes first
		{"/a", "/?"}:       false, // the one without a wildcard comes first
		{"/*", "/a*"}:      false, // the catch-all comes last
		{"/a?", "/ab*"}:    true,
	} {
		require.Equal(t, want, platform.RoutesConflict(pair[0], pair[1]), pair)
		require.Equal(t, want, platform.RoutesConflict(pair[1], pair[0]), pair)
	}
}

// TestRulePriority covers services whose traffic ECS shifts: all their routes are in one
// rule.
func TestRulePriority(t *testing.T) {
	canary := func(name string, routes ...string) platform.Service {
		return platform.Service{Name: name, Port: 8000, Routes: routes, Strategy: &platform.Strategy{Type: platform.Canary}}
	}
	api := canary("api", "/api", "/health", "/api/*")
	require.Equal(t, api.RulePriority("/api"), api.RulePriority("/api/*"))
	require.Equal(t, api.RulePriority("/api"), canary("other", "/health", "/api/*", "/api").RulePriority("/api"), "neither name nor order matters")
	for _, service := range []platform.Service{canary("one", "/one"), canary("web", "/*")} {
		require.NotEqual(t, platform.RoutePriority(service.Routes[0]), service.RulePriority(service.Routes[0]), "both rules exist for a while")
	}
	services := []platform.Service{canary("web", "/*"), api, {Name: "orders", Port: 8000, Routes: []string{"/api/orders/*"}}, canary("root", "/a*")}
	for path, want := range map[string]string{"/": "web", "/api": "api", "/api/x": "api", "/api/orders/1": "orders", "/about": "root"} {
		got, ok := platform.RouteTo(services, path)
		require.True(t, ok)
		require.Equal(t, want, got.Name, path)
	}
}
