package detect_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/detect"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// program returns a main package that listens, with more statements.
func program(statements string) string {
	return "package main\n\nimport (\n\t\"flag\"\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc main() {\n" + statements + "\n\t_ = http.ListenAndServe(os.Args[1], nil)\n\tflag.Parse()\n}\n"
}

const goMod = "module example.com/shop\n\ngo 1.26\n"

func TestFind(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"a program in the root": {
			map[string]string{"go.mod": goMod, "main.go": program(`	http.HandleFunc("/healthz", nil); _ = ":9090"`)},
			[]string{"shop: go in . port=9090 health=/healthz"},
		},
		"the major version is no name": {
			map[string]string{"go.mod": "module example.com/shop/v2\n", "cmd/server/main.go": program(`_ = os.Getenv("PORT")`)},
			[]string{"shop: go in .:./cmd/server port=8000 health=/"},
		},
		"several programs": {
			map[string]string{
				"go.mod": goMod, "cmd/api/main.go": program(`_ = ":8001"`), "cmd/ctl/main.go": "package main\nfunc main() {}\n", "internal/x/x.go": "package x\n",
				"examples/demo/main.go": program(`_ = ":1234"`), "cmd/api/testdata/main.go": program(""), "vendor/x/main.go": program(""), "cmd/ctl/main_test.go": "package main\n",
			},
			[]string{
				"api: go in .:./cmd/api port=8001 health=/",
				"ctl: go in .:./cmd/ctl port=0 health= worker not: listens on no port: a worker, a job or a command-line program",
				"demo: go in .:./examples/demo port=1234 health=/ not: in a folder examples",
			},
		},
		"a monorepo": {
			map[string]string{
				"go.work": "go 1.26\n", "services/a/go.mod": "module a\n", "services/a/main.go": program(`_ = "localhost:8001"`),
				"services/b/go.mod": "module b\n", "services/b/cmd/main/main.go": program(`_ = ":8002"`), "web/site/index.html": "<p>", "docs/index.html": "<p>",
			},
			[]string{
				"a: go in services/a port=8001 health=/", "b: go in services/b:./cmd/main port=8002 health=/",
				"docs: nginx in docs port=8080 health=/healthz not: in a folder docs", "web: nginx in web port=8080 health=/healthz",
			},
		},
		"in a package of the module": {
			map[string]string{
				"go.mod": goMod, "cmd/api/main.go": "package main\nimport \"example.com/shop/internal/web\"\nfunc main() { web.Run(\"healthcheck\") }\n",
				"internal/web/web.go": "package web\nimport \"net/http\"\nfunc Run(string) { s := http.Server{Addr: \":7000\"}; _ = s; http.HandleFunc(\"GET /api/health\", nil) }\n",
			},
			[]string{"api: go in .:./cmd/api port=7000 health=/api/health command healthcheck"},
		},
		"a flag sets the port": {
			map[string]string{"go.mod": goMod, "main.go": program(`_ = flag.Int("port", 9898, "")`)},
			[]string{"shop: go in . port=9898 health=/"},
		},
		"a flag and a privileged port": {
			map[string]string{"go.mod": goMod, "main.go": program(`var p string; flag.StringVar(&p, "port", env("P", "80"), "")`)},
			[]string{"shop: go in . port=8000 health=/ args=[--port=8000]"},
		},
		"a privileged port without a flag": {
			map[string]string{"go.mod": goMod, "main.go": program(`_ = ":80"`)},
			[]string{"shop: go in . port=80 health=/"},
		},
		"several addresses": {
			map[string]string{"go.mod": goMod, "main.go": program(`_, _ = ":8001", ":8002"`)},
			[]string{"shop: go in . port=0 health=/"},
		},
		"the Dockerfile has the port": {
			map[string]string{"go.mod": goMod, "main.go": program(`_, _ = ":8001", ":8002"`), "Dockerfile": "FROM golang\nEXPOSE 1\nRUN go build .\nFROM scratch\n expose 8002/tcp\n"},
			[]string{
				"repo: dockerfile in . port=8002 health=/ not: the main package in . needs no Dockerfile (--kind dockerfile uses it)",
				"shop: go in . port=8002 health=/",
			},
		},
		"the Dockerfile has the port that the program reads": {
			map[string]string{"go.mod": goMod, "main.go": program(`_ = os.Getenv("PORT")`), "Dockerfile": "FROM scratch\nEXPOSE 8003\n"},
			[]string{
				"repo: dockerfile in . port=8003 health=/ not: the main package in . needs no Dockerfile (--kind dockerfile uses it)",
				"shop: go in . port=8003 health=/",
			},
		},
		"a framework": {
			map[string]string{"go.mod": goMod, "main.go": "package main\nimport \"github.com/gin-gonic/gin\"\nfunc main() { gin.Default().Run(\":8081\") }\n"},
			[]string{"shop: go in . port=8081 health=/"},
		},
		"cgo": {
			map[string]string{"go.mod": goMod + "require github.com/mattn/go-sqlite3 v1.14.0\n", "main.go": program(`_ = ":8001"`), "Dockerfile": "FROM golang\nRUN go build .\nEXPOSE 8001"},
			[]string{
				"repo: dockerfile in . port=8001 health=/",
				"shop: go in . port=8001 health=/ not: needs cgo (github.com/mattn/go-sqlite3), and kind go compiles without: build it with a Dockerfile",
			},
		},
		"Dockerfiles": {
			map[string]string{"vote/Dockerfile": "FROM python\nEXPOSE 80\n", "vote/templates/index.html": "<p>", "job/Dockerfile": "FROM scratch\nEXPOSE $PORT\n"},
			[]string{"job: dockerfile in job port=0 health=/ not: it exposes no port: a worker, or name the port", "vote: dockerfile in vote port=80 health=/"},
		},
		"files of other systems, and what is no Go": {
			map[string]string{"go.mod": goMod, "main_windows.go": program(""), "ignored.go": "//go:build ignore\n\n" + program(""), "broken.go": "package main\nfunc main( {\n", ".x/Dockerfile": "EXPOSE 1"},
			nil,
		},
		"a page that a tool builds": {
			map[string]string{"package.json": "{}", "site/index.html": "<p>"},
			[]string{"repo: nginx in . port=8080 health=/healthz not: the folder has package.json, so the page is built by a tool"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sourcetest.Git(t, dir, "init", "-q")
			for file, content := range tt.files {
				sourcetest.Write(t, dir, file, content)
			}
			sourcetest.Git(t, dir, "add", "-A", "--force")
			sourcetest.Write(t, dir, "untracked/Dockerfile", "FROM scratch\n")
			found, err := detect.Find(t.Context(), source.Tree{Dir: dir}, "repo")
			require.NoError(t, err)
			var got []string
			for _, c := range found {
				line := fmt.Sprintf("%s: %s port=%d health=%s", c.Name, c.Describe(), c.Port, c.HealthPath)
				if c.Command != nil {
					line += fmt.Sprintf(" args=%v", c.Command)
				}
				if c.HasHealthCommand {
					line += " command healthcheck"
				}
				if c.Worker {
					line += " worker"
				}
				if c.Not != "" {
					line += " not: " + c.Not
				}
				require.NotEmpty(t, c.Reasons)
				require.Len(t, slices.Compact(slices.Clone(c.Reasons)), len(c.Reasons), "a reason is given once: %v", c.Reasons)
				require.NotContains(t, strings.Join(c.Reasons, ""), "\n")
				got = append(got, line)
			}
			require.Equal(t, tt.want, got)
		})
	}
}
