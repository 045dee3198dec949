package image_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// TestVendor: vendor/ is used if it exists, without a module cache, and is compared
// with the commit like other files.
func TestVendor(t *testing.T) {
	tests := map[string]struct {
		files map[string]string // over those of a module that vendors
		local map[string]string // not committed
		want  string
	}{
		"used": {},
		"a module in the tree that is vendored": {files: map[string]string{
			"api/go.mod":             "module example.com/api\n\ngo 1.26\n\nrequire example.org/greet v1.0.0\n\nreplace example.org/greet => ./greet\n",
			"api/vendor/modules.txt": "# example.org/greet v1.0.0 => ./greet\n## explicit; go 1.21\nexample.org/greet\n# example.org/greet => ./greet\n",
			"api/greet/go.mod":       "module example.org/greet\n\ngo 1.21\n",
		}},
		"not as in go.mod": {
			files: map[string]string{"api/vendor/modules.txt": "# example.org/greet v0.9.0\n## explicit; go 1.21\nexample.org/greet\n"},
			want:  "example.org/greet@v0.9.0: is marked as explicit in vendor/modules.txt, but not explicitly required in go.mod: run go mod vendor in api, and commit it",
		},
		"a file that git ignores": {
			files: map[string]string{".gitignore": "more.go\n"},
			local: map[string]string{"api/vendor/example.org/greet/more.go": "package greet\n"},
			want:  "api/vendor/example.org/greet/more.go is part of the image but ignored by git",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOPROXY", "off")
			t.Setenv("GOMODCACHE", t.TempDir())
			t.Setenv("GOFLAGS", "-mod=mod")
			dir := sourcetest.New(t)
			for _, files := range []map[string]string{{
				"api/main.go":                           "package main\n\nimport \"example.org/greet\"\n\nfunc main() { print(greet.Hello) }\n",
				"api/go.mod":                            "module example.com/api\n\ngo 1.26\n\nrequire example.org/greet v1.0.0\n",
				"api/vendor/modules.txt":                "# example.org/greet v1.0.0\n## explicit; go 1.21\nexample.org/greet\n",
				"api/vendor/example.org/greet/greet.go": "package greet\n\nconst Hello = \"hello\"\n",
			}, tt.files} {
				for file, content := range files {
					sourcetest.Write(t, dir, file, content)
				}
			}
			sourcetest.Commit(t, dir, "vendored")
			for file, content := range tt.local {
				sourcetest.Write(t, dir, file, content)
			}
			p, err := platform.Load(dir)
			require.NoError(t, err)
			b := builder(t, dir)
			b.RequireCommitted = true
			_, err = b.Build(t.Context(), p.Services[:1])
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n")
		})
	}
}
