package scaffold

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var orders = platform.Service{
	Name: "orders", Build: platform.Build{Path: "orders", Kind: platform.Go}, Port: 8001, HealthPath: "/health",
	Routes: []string{"/orders", "/orders/*"}, CPU: 256, Memory: 512, DesiredCount: 2,
}

// TestInsertEntry checks that the entry has the layout of the one before it, and that no
// other byte changes.
func TestInsertEntry(t *testing.T) {
	tests := map[string]struct{ before, want string }{
		"many lines": {
			"{\n  \"services\": {\n    \"web\": {\n      \"path\": \"web\",\n      \"routes\": [\"/*\"],\n      \"port\": 8080\n    }\n  },\n  \"region\": \"eu-central-1\"\n}\n",
			",\n    \"orders\": {\n      \"path\": \"orders\",\n      \"kind\": \"go\",\n      \"port\": 8001,\n      \"health_path\": \"/health\",\n      \"routes\": [\"/orders\", \"/orders/*\"],\n      \"cpu\": 256,\n      \"memory\": 512,\n      \"desired_count\": 2\n    }",
		},
		"a line each": {
			"{\"services\": {\n\t\"web\": { \"path\": \"web\", \"kind\": \"nginx\" }\n}}",
			",\n\t\"orders\": { \"path\": \"orders\", \"kind\": \"go\", \"port\": 8001, \"health_path\": \"/health\", \"routes\": [\"/orders\", \"/orders/*\"], \"cpu\": 256, \"memory\": 512, \"desired_count\": 2 }",
		},
		"lists on lines of their own, and the ends of lines": {
			"{\r\n \"services\": {\r\n  \"web\": {\r\n   \"routes\": [\r\n    \"/*\"\r\n   ],\r\n   \"path\": \"web\"\r\n  }\r\n }\r\n}",
			",\r\n  \"orders\": {\r\n   \"path\": \"orders\",\r\n   \"kind\": \"go\",\r\n   \"port\": 8001,\r\n   \"health_path\": \"/health\",\r\n   \"routes\": [\"/orders\", \"/orders/*\"],\r\n   \"cpu\": 256,\r\n   \"memory\": 512,\r\n   \"desired_count\": 2\r\n  }",
		},
		"no space at all": {
			`{"services":{"web":{"path":"web","port":8080}}}`,
			`,"orders":{"path":"orders","kind":"go","port":8001,"health_path":"/health","routes":["/orders","/orders/*"],"cpu":256,"memory":512,"desired_count":2}`,
		},
		"two on a line": {
			`{"services": {"api": {"path": "api"}, "web": {"path": "web"}}}`,
			`, "orders": {"path": "orders", "kind": "go", "port": 8001, "health_path": "/health", "routes": ["/orders", "/orders/*"], "cpu": 256, "memory": 512, "desired_count": 2}`,
		},
		"an empty example": {
			`{"services": {"web": {}}}`,
			`, "orders": {"path": "orders", "kind": "go", "port": 8001, "health_path": "/health", "routes": ["/orders", "/orders/*"], "cpu": 256, "memory": 512, "desired_count": 2}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := insertEntry([]byte(tt.before), orders)
			require.NoError(t, err)
			require.Contains(t, string(got), tt.want)
			require.Equal(t, tt.before, strings.Replace(string(got), tt.want, "", 1), "nothing else has changed")
		})
	}
}

func TestInsertEntryErrors(t *testing.T) {
	for before, want := range map[string]string{
		``:                         "a JSON object was expected",
		`[]`:                       "a JSON object was expected",
		`{"a": 1}`:                 `no "services" in it`,
		`{"services": []}`:         "a JSON object was expected",
		`{"services": {}}`:         `"services" is empty`,
		`{"services": {"a": 1}}`:   "a JSON object was expected",
		`{"services": {"a": {"b}`:  "unexpected EOF",
		`{"services"`:              "EOF",
		`{"a": {"b": 1}} {"c": 1}`: `no "services" in it`,
	} {
		_, err := insertEntry([]byte(before), orders)
		require.ErrorContains(t, err, want, before)
	}
}

// TestAddEntryErrors has a key that Go matches case-insensitively, unlike Terraform.
func TestAddEntryErrors(t *testing.T) {
	data := []byte(`{"services": {"x": {}}, "Services": {"web": {"path": "web", "kind": "nginx", "port": 8080, "health_path": "/healthz", "routes": ["/*"], "cpu": 256, "memory": 512, "desired_count": 1}}}`)
	p, err := platform.Parse(data)
	require.NoError(t, err)
	_, err = addEntry(data, p, orders)
	require.ErrorContains(t, err, `has a layout to which no entry can be added: add orders by hand: {"path": "orders", "kind": "go"`)
}

func FuzzAddEntry(f *testing.F) {
	f.Add([]byte(sourcetest.Services))
	f.Add([]byte(strings.ReplaceAll(sourcetest.Services, `", "`, "\",\r\n\t\"")))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := platform.Parse(data)
		if err != nil {
			return
		}
		extended, err := addEntry(data, p, orders)
		if err != nil {
			return
		}
		now, err := platform.Parse(extended)
		require.NoError(t, err)
		require.Len(t, now.Services, len(p.Services)+1)
		require.Greater(t, len(extended), len(data))
	})
}

// TestWriteRollsBack makes the last change fail.
func TestWriteRollsBack(t *testing.T) {
	dir := sourcetest.New(t)
	files := []file{{"a/b.txt", []byte("b")}}
	for name, changes := range map[string][]change{
		"a file that is not there": {{"nope", nil}, {"api/main.go", []byte("changed")}},
		"a folder":                 {{"api", nil}, {"api/main.go", []byte("changed")}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, write(t.Context(), source.Tree{Dir: dir}, "new/folder", files, changes))
			require.Empty(t, sourcetest.Git(t, dir, "status", "--porcelain"))
			require.NoDirExists(t, filepath.Join(dir, "new"))
			require.Equal(t, sourcetest.Files()["api/main.go"], read(t, dir, "api/main.go"))
		})
	}
	t.Run("files in each other's way", func(t *testing.T) {
		require.Error(t, write(t.Context(), source.Tree{Dir: dir}, "new/folder", append(files, file{"a", nil}), nil))
		require.Error(t, write(t.Context(), source.Tree{Dir: dir}, "new/folder", append(files, file{"a/b.txt/c", nil}), nil))
		require.NoDirExists(t, filepath.Join(dir, "new"))
	})
	t.Run("a file for a folder", func(t *testing.T) {
		require.Error(t, write(t.Context(), source.Tree{Dir: dir}, "api/main.go/new", files, nil))
	})
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	require.NoError(t, err)
	return string(data)
}
