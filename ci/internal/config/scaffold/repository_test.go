package scaffold_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/config/scaffold"
	"github.com/slipway-cd/slipway/ci/internal/config/source"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

// listener is a main package that listens on port 8080.
const listener = "package main\n\nimport \"net/http\"\n\nfunc main() { _ = http.ListenAndServe(\":8080\", nil) }\n"

// repository creates and commits a repository.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	require.NoError(t, os.Mkdir(dir, 0o755))
	sourcetest.Git(t, dir, "init", "-q", "-b", "main")
	for name, content := range files {
		sourcetest.Write(t, dir, name, content)
	}
	sourcetest.Git(t, dir, "add", "-A")
	sourcetest.Git(t, dir, "commit", "-q", "--allow-empty", "-m", "first")
	return dir
}

func goService(folder string) map[string]string {
	return map[string]string{filepath.Join(folder, "go.mod"): "module example.com/team/" + strings.Replace(filepath.Base(folder), ".", "shop", 1) + "\n", filepath.Join(folder, "main.go"): listener}
}

func merge(all ...map[string]string) map[string]string {
	merged := map[string]string{}
	for _, files := range all {
		for name, content := range files {
			merged[name] = content
		}
	}
	return merged
}

func initialize(t *testing.T, dir string, o scaffold.InitOptions) (scaffold.Initialized, error) {
	t.Helper()
	o.Version = "v1.2.3"
	return scaffold.Init(t.Context(), dir, o)
}

// files returns the files of a repository but git's, with their content.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.Name() == ".git" {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return err
		}
		relative, _ := filepath.Rel(dir, name)
		if entry.Type().IsRegular() {
			all[relative] = read(t, name)
		} else {
			all[relative] = entry.Type().String()
		}
		return nil
	}))
	return all
}

func TestInit(t *testing.T) {
	answers := func(lines ...string) func(string) (string, error) {
		return func(string) (string, error) {
			if len(lines) == 0 {
				return "", errors.New("asked too often")
			}
			answer := lines[0]
			lines = lines[1:]
			return answer, nil
		}
	}
	several := merge(goService("api"), goService("bill"), map[string]string{"web/Dockerfile": "FROM x\nEXPOSE 80\n", "job/Dockerfile": "FROM x\n"})
	for name, tt := range map[string]struct {
		files map[string]string
		o     scaffold.InitOptions
		want  string // name kind path main port health routes command
	}{
		"one program": {goService("."), scaffold.InitOptions{}, "shop go . . 8080 / [/*] [] NONE"},
		"values of flags": {
			goService("."),
			scaffold.InitOptions{Choices: scaffold.Choices{Ports: []string{"9000"}, HealthPaths: []string{"/up"}, Routes: []string{"/a", "/a/*"}}},
			"shop go . . 9000 /up [/a /a/*] [] NONE",
		},
		"all of several": {
			several,
			scaffold.InitOptions{Choices: scaffold.Choices{All: true}},
			"api go api . 8080 / [/api /api/*] [] NONE; bill go bill . 8080 / [/bill /bill/*] [] NONE; web dockerfile web  80 / [/*] [] ",
		},
		"named": {
			several,
			scaffold.InitOptions{Choices: scaffold.Choices{Services: []string{"api=api", "jobs=job"}, Ports: []string{"jobs=0"}}},
			"api go api . 8080 / [/*] [] NONE; jobs dockerfile job  0  [] [] ",
		},
		"a person chooses": {
			several,
			scaffold.InitOptions{Choices: scaffold.Choices{Ask: answers("api, web")}},
			"api go api . 8080 / [/api /api/*] [] NONE; web dockerfile web  80 / [/*] [] ",
		},
		"a person takes all":        {several, scaffold.InitOptions{Choices: scaffold.Choices{Ask: answers("")}}, "api go api . 8080 / [/api /api/*] [] NONE; bill go bill . 8080 / [/bill /bill/*] [] NONE; web dockerfile web  80 / [/*] [] "},
		"a person knows the port":   {several, scaffold.InitOptions{Choices: scaffold.Choices{Services: []string{"job=job"}, Ask: answers("81")}}, "job dockerfile job  81 / [/*] [] "},
		"a Dockerfile instead":      {merge(goService("."), map[string]string{"Dockerfile": "FROM x\nEXPOSE 81\nRUN go build"}), scaffold.InitOptions{Choices: scaffold.Choices{Kinds: []string{"dockerfile"}}}, "shop dockerfile .  81 / [/*] [] "},
		"one kind of several":       {merge(several, map[string]string{"api/Dockerfile": "FROM x\nEXPOSE 81\n"}), scaffold.InitOptions{Choices: scaffold.Choices{Services: []string{"api=api"}, Kinds: []string{"api=dockerfile"}}}, "api dockerfile api  81 / [/*] [] "},
		"a package by its folder":   {map[string]string{"go.mod": "module m\n", "cmd/x/main.go": listener}, scaffold.InitOptions{Choices: scaffold.Choices{Services: []string{"api=cmd/x"}}}, "api go . ./cmd/x 8080 / [/*] [] NONE"},
		"the usual main package":    {map[string]string{"go.mod": "module m/api\n", "cmd/server/main.go": listener}, scaffold.InitOptions{}, "api go .  8080 / [/*] [] NONE"},
		"a worker":                  {map[string]string{"go.mod": "module m\n", "main.go": "package main\nfunc main() {}\n"}, scaffold.InitOptions{Choices: scaffold.Choices{Services: []string{"work=."}}}, "work go . . 0  [] [] "},
		"the services file remains": {merge(goService("xy"), map[string]string{platform.ServicesFile: `{"services": {"xy": {"kind": "go", "path": "xy", "cpu": 256, "memory": 512}}}`}), scaffold.InitOptions{Without: []string{"services"}}, "xy go xy  0  [] [] "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := repository(t, tt.files)
			result, err := initialize(t, dir, tt.o)
			require.NoError(t, err)
			p, err := platform.Load(dir)
			require.NoError(t, err)
			var got []string
			for _, s := range p.Services {
				check := ""
				if s.HealthCheck != nil {
					check = strings.Join(s.HealthCheck.Command, " ")
				}
				got = append(got, strings.Join([]string{s.Name, string(s.Kind), s.Path, s.Main, formatted(t, s.Port), s.HealthPath, formatted(t, s.Routes), formatted(t, s.Command), check}, " "))
			}
			require.Equal(t, tt.want, strings.ReplaceAll(strings.Join(got, "; "), "null", "[]"))
			for _, file := range result.Files {
				require.FileExists(t, filepath.Join(dir, strings.TrimSuffix(file, " (extended)")))
			}
			require.Len(t, result.Next, 3)
			for _, s := range result.Services {
				require.NotEmpty(t, s.Reasons)
			}
			_, err = initialize(t, dir, tt.o)
			require.ErrorContains(t, err, "exists and is not overwritten", "once only")
		})
	}
}

func formatted(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return strings.NewReplacer(`"`, "", ",", " ").Replace(string(data))
}

func TestInitFiles(t *testing.T) {
	dir := repository(t, merge(goService("."), map[string]string{".gitignore": "*.log"}))
	sourcetest.Git(t, dir, "remote", "add", "origin", "git@github.com:team/shop.git")
	sourcetest.Git(t, dir, "update-ref", "refs/remotes/origin/trunk", "HEAD")
	sourcetest.Git(t, dir, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk")
	result, err := initialize(t, dir, scaffold.InitOptions{Region: "eu-west-1", Workflow: "deliver.yaml"})
	require.NoError(t, err)
	require.Equal(t, []string{
		platform.ServicesFile, "terraform/main.tf", "terraform/.terraform.lock.hcl", "terraform/bootstrap/main.tf", "terraform/bootstrap/.terraform.lock.hcl", ".github/workflows/deliver.yaml", "dagger.json", ".gitignore (extended)",
	}, result.Files)
	written := files(t, dir)
	require.Equal(t, "*.log\n.slipway/\n.terraform/\n*.tfstate*\n", written[".gitignore"])
	for _, root := range []string{"terraform", "terraform/bootstrap"} {
		require.Equal(t, read(t, sourcetest.Repository("terraform/.terraform.lock.hcl")), written[root+"/.terraform.lock.hcl"], "run cp terraform/.terraform.lock.hcl ci/internal/config/scaffold/repository/terraform.lock.hcl")
	}
	require.Contains(t, written["terraform/main.tf"], `source = "git::https://github.com/slipway-cd/slipway.git//terraform/modules/environment?ref=v1.2.3"`)
	require.Contains(t, written["terraform/main.tf"], `region = "eu-west-1", repository = "team/shop", azs = ["eu-west-1a", "eu-west-1b"]`)
	require.Contains(t, written["terraform/main.tf"], `region       = "eu-west-1"`, "of the state")
	require.Contains(t, written["terraform/bootstrap/main.tf"], `github_repository = "team/shop"`)
	require.Contains(t, written["terraform/bootstrap/main.tf"], `github_branch     = "trunk"`)
	require.Contains(t, written["terraform/bootstrap/main.tf"], `deploy = "slipway-cd/slipway/.github/workflows/deliver.yml@refs/tags/v1.2.3"`)
	require.Contains(t, written[".github/workflows/deliver.yaml"], "branches: [trunk]")
	require.Contains(t, written[".github/workflows/deliver.yaml"], "      branch: trunk\n")
	require.Contains(t, written[".github/workflows/deliver.yaml"], "uses: slipway-cd/slipway/.github/workflows/deliver.yml@v1.2.3")
	var module struct {
		Name, EngineVersion string
		Toolchains          []struct{ Source string }
	}
	require.NoError(t, json.Unmarshal([]byte(written["dagger.json"]), &module))
	require.Equal(t, "shop", module.Name)
	require.Equal(t, "github.com/slipway-cd/slipway@v1.2.3", module.Toolchains[0].Source)
	require.Contains(t, read(t, sourcetest.Repository("dagger.json")), `"engineVersion": "`+module.EngineVersion+`"`)

	var text, markdown, document bytes.Buffer
	require.NoError(t, result.Text(&text))
	require.Contains(t, text.String(), "service shop of kind go in ., on port 8080, for /*\n  because  *.go: main package of module example.com/team/shop\n")
	require.Contains(t, text.String(), "\nwrote      terraform/main.tf\n")
	require.Contains(t, text.String(), "\nNext:\n  slipway rehearse\n")
	require.NoError(t, result.Markdown(&markdown))
	require.Contains(t, markdown.String(), "| shop | go | `.` |")
	require.NoError(t, result.JSON(&document))
	require.Contains(t, document.String(), `"skipped": []`)

	_, err = initialize(t, dir, scaffold.InitOptions{Workflow: "deliver.yaml", Force: true, Without: []string{"dagger"}})
	require.NoError(t, err)
	now := files(t, dir)
	require.Contains(t, now["terraform/main.tf"], "us-east-1", "replaced")
	require.Equal(t, platformCall(t, read(t, sourcetest.Repository("terraform/main.tf"))), platformCall(t, now["terraform/main.tf"]), "this repository uses itself in the same way")
	require.Equal(t, written[".gitignore"], now[".gitignore"])

	_, err = initialize(t, repository(t, goService(".")), scaffold.InitOptions{})
	require.NoError(t, err, "without a remote, bootstrap has a variable for the repository")
}

// platformCall returns the part of a terraform/main.tf that calls the platform, without what
// differs between repositories.
func platformCall(t *testing.T, text string) string {
	t.Helper()
	call := regexp.MustCompile(`(?s)variable "services".*\nmodule "environment" .*?\n}\n`).FindString(text)
	require.NotEmpty(t, call)
	return regexp.MustCompile(`(source = |repository = )"[^"]*"`).ReplaceAllString(call, "$1")
}

// TestInitBadInput checks that each bad input is one line, and that nothing is written.
func TestInitBadInput(t *testing.T) {
	several := merge(goService("api"), goService("bill"))
	choices := func(c scaffold.Choices) scaffold.InitOptions { return scaffold.InitOptions{Choices: c} }
	for name, tt := range map[string]struct {
		files  map[string]string
		o      scaffold.InitOptions
		change func(t *testing.T, dir string) string // returns the folder to initialize
		want   string
	}{
		"no service":              {map[string]string{"README.md": "x"}, scaffold.InitOptions{}, nil, "no file that git tracks is a Go main package, a Dockerfile or an index.html: add one, or read a cluster with --from-ecs CLUSTER"},
		"no main package":         {map[string]string{"go.mod": "module m\n", "x.go": "package m\n"}, scaffold.InitOptions{}, nil, "index.html: go.mod is of a library: add a main package, or read a cluster with --from-ecs CLUSTER"},
		"no program that listens": {map[string]string{"go.mod": "module m\n", "cmd/x/main.go": "package main\nfunc main() {}\n"}, scaffold.InitOptions{}, nil, "no service found, but go in .:./cmd/x (listens on no port: a worker, a job or a command-line program): name one with --service NAME=FOLDER[:PACKAGE]"},
		"several":                 {several, scaffold.InitOptions{}, nil, "2 services found: api=api, bill=bill: take all with --yes, or name those to take with --service NAME=FOLDER[:PACKAGE]"},
		"no commit":               {goService("."), scaffold.InitOptions{}, func(t *testing.T, dir string) string { sourcetest.Git(t, dir, "update-ref", "-d", "HEAD"); return dir }, "has no commit yet: commit first"},
		"no repository": {goService("."), scaffold.InitOptions{}, func(t *testing.T, dir string) string {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, ".git")))
			return dir
		}, "is not a git work tree"},
		"no folder":                    {goService("."), scaffold.InitOptions{}, func(_ *testing.T, dir string) string { return dir + "x" }, "no source tree at"},
		"a folder without a service":   {merge(several, map[string]string{"docs/x.md": "x"}), scaffold.InitOptions{}, func(_ *testing.T, dir string) string { return filepath.Join(dir, "docs") }, "it is the folder docs of a repository: run slipway init --source "},
		"a workflow of the repository": {merge(several, map[string]string{".github/workflows/ci.yml": "x"}), scaffold.InitOptions{}, func(_ *testing.T, dir string) string { return filepath.Join(dir, "api") }, "../.github/workflows/ci.yml exists and is not overwritten: name another with --workflow FILE"},
		"a submodule": {map[string]string{"README.md": "x"}, scaffold.InitOptions{}, func(t *testing.T, dir string) string {
			inner := filepath.Join(dir, "services", "api")
			for file, content := range goService(".") {
				sourcetest.Write(t, inner, file, content)
			}
			sourcetest.Git(t, inner, "init", "-q")
			sourcetest.Commit(t, inner, "first")
			sourcetest.Git(t, dir, "add", "services/api")
			sourcetest.Git(t, dir, "commit", "-q", "-m", "submodule")
			return dir
		}, "index.html: services/api is a submodule, a repository of its own: run slipway init in it"},
		"a name that AWS refuses": {goService("My_Service"), scaffold.InitOptions{}, nil, `"My_Service" cannot name a service, whose name must be 2 to 25 lower-case letters, digits and hyphens: name it with --service my-service=My_Service`},
		"a long name":             {goService("a-service-with-a-name-of-many-words"), scaffold.InitOptions{}, nil, "name it with --service a-service-with-a-name-of=a-service-with-a-name-of-many-words"},
		"a name without letters":  {goService("42"), scaffold.InitOptions{}, nil, "name it with --service service=42"},
		"a flag's bad name":       {goService("api"), choices(scaffold.Choices{Services: []string{"A=api"}}), nil, `"A" cannot name a service`},
		"a name twice":            {several, choices(scaffold.Choices{Services: []string{"xy=api", "xy=bill"}}), nil, "two services have the name xy"},
		"two of one name":         {merge(goService("x/api"), goService("y/api")), choices(scaffold.Choices{All: true}), nil, "two services have the name api: name them with --service"},
		"a workflow":              {merge(goService("."), map[string]string{".github/workflows/ci.yml": "x"}), scaffold.InitOptions{}, nil, ".github/workflows/ci.yml exists and is not overwritten: name another with --workflow FILE, such as slipway.yml, or replace it with --force"},
		"a workflow's other name": {merge(goService("."), map[string]string{".github/workflows/ci.yaml": "x"}), scaffold.InitOptions{}, nil, ".github/workflows/ci.yaml exists and is not overwritten"},
		"a services file":         {merge(goService("."), map[string]string{platform.ServicesFile: "{}"}), scaffold.InitOptions{}, nil, platform.ServicesFile + " exists and is not overwritten: keep it with --without services, or replace it with --force"},
		"Terraform's root":        {merge(goService("."), map[string]string{"terraform/main.tf": "x"}), scaffold.InitOptions{}, nil, "terraform/main.tf exists and is not overwritten: leave it with --without terraform, or replace it with --force"},
		"a provider lock":         {merge(goService("."), map[string]string{"terraform/bootstrap/.terraform.lock.hcl": "x"}), scaffold.InitOptions{}, nil, "terraform/bootstrap/.terraform.lock.hcl exists and is not overwritten: leave it with --without terraform, or replace it with --force"},
		"a Dagger module":         {merge(goService("."), map[string]string{"dagger.json": "{}"}), scaffold.InitOptions{}, nil, "dagger.json exists and is not overwritten: leave it with --without dagger"},
		"a file for a folder":     {merge(goService("."), map[string]string{"terraform": "x"}), scaffold.InitOptions{}, nil, "terraform is no folder, so terraform/services.auto.tfvars.json cannot be written: rename it"},
		"a link for a folder": {goService("."), scaffold.InitOptions{Force: true}, func(t *testing.T, dir string) string {
			require.NoError(t, os.Symlink(t.TempDir(), filepath.Join(dir, ".github")))
			return dir
		}, ".github is no folder"},
		"a link to nowhere": {goService("."), scaffold.InitOptions{}, func(t *testing.T, dir string) string {
			require.NoError(t, os.Symlink("nowhere/at/all", filepath.Join(dir, ".gitignore")))
			return dir
		}, ".gitignore cannot be read (no such file or directory): remove it"},
		"a folder for a file":      {merge(goService("."), map[string]string{"dagger.json/x": "x"}), scaffold.InitOptions{Force: true}, nil, "dagger.json is no regular file: remove it"},
		"no services file to keep": {goService("."), scaffold.InitOptions{Without: []string{"services"}}, nil, "no services file at"},
		"unknown part":             {goService("."), scaffold.InitOptions{Without: []string{"docs"}}, nil, `invalid --without "docs": want of services, terraform, workflow, dagger`},
		"GitHub's name":            {goService("."), scaffold.InitOptions{GitHub: "shop"}, nil, `invalid --github "shop": want OWNER/REPO`},
		"a region":                 {goService("."), scaffold.InitOptions{Region: "frankfurt"}, nil, `invalid --region "frankfurt": want an AWS region like us-east-1`},
		"a workflow's path":        {goService("."), scaffold.InitOptions{Workflow: "../ci.yml"}, nil, `invalid --workflow "../ci.yml": want a file name like ci.yml`},
		"unknown kind":             {goService("."), choices(scaffold.Choices{Kinds: []string{"golang"}}), nil, `invalid --kind golang: unknown kind "golang": `},
		"kind image":               {goService("."), choices(scaffold.Choices{Kinds: []string{"image"}}), nil, "an image has no folder: add its entry with slipway new service NAME --kind image --image IMAGE"},
		"a kind that is not there": {goService("api"), choices(scaffold.Choices{Kinds: []string{"dockerfile"}}), nil, "service api cannot have kind dockerfile: api has no Dockerfile"},
		"no pair":                  {several, choices(scaffold.Choices{Services: []string{"api"}}), nil, `invalid --service "api": want NAME=FOLDER or NAME=FOLDER:PACKAGE`},
		"another folder":           {several, choices(scaffold.Choices{Services: []string{"api=c"}}), nil, "invalid --service api=c: folder c has no main package, no Dockerfile and no site that git tracks: there are go in api, go in bill"},
		"an outer folder":          {several, choices(scaffold.Choices{Services: []string{"api=../a"}}), nil, "invalid --service api=../a: folder ../a has no main package"},
		"another package":          {several, choices(scaffold.Choices{Services: []string{"api=api:./cmd/a"}}), nil, "invalid --service api=api:./cmd/a: api has only go in api"},
		"several packages":         {map[string]string{"go.mod": "module m\n", "cmd/x/main.go": listener, "cmd/y/main.go": listener}, choices(scaffold.Choices{Services: []string{"a=."}}), nil, "has several: go in .:./cmd/x, go in .:./cmd/y: name the package as FOLDER:PACKAGE, or --kind"},
		"a value of several":       {several, choices(scaffold.Choices{All: true, Ports: []string{"80"}}), nil, "--port 80 is of one service, and there are api, bill: write --port NAME=80"},
		"a value of none":          {several, choices(scaffold.Choices{All: true, Routes: []string{"c=/x"}}), nil, "invalid --route c=/x: no service c is taken: it has api, bill"},
		"no port":                  {map[string]string{"Dockerfile": "FROM x\n"}, choices(scaffold.Choices{Services: []string{"web=."}}), nil, "the port of service web (.) is not known: add --port web=PORT, or --port web=0 for a worker"},
		"a wrong port":             {goService("api"), choices(scaffold.Choices{Ports: []string{"http"}}), nil, `invalid --port "http" for service api: want 1 to 65535, or 0 for a worker`},
		"a privileged port":        {goService("api"), choices(scaffold.Choices{Ports: []string{"80"}}), nil, `service "api": port 80 must be between 1024 and 65535`},
		"a wrong route":            {goService("api"), choices(scaffold.Choices{Routes: []string{"api=x"}}), nil, `service "api": route "x" must begin with "/"`},
		"a route of a worker":      {goService("api"), choices(scaffold.Choices{Ports: []string{"0"}, Routes: []string{"/x"}}), nil, "service api listens on no port, so it has no route and no health path: add --port api=PORT, or leave them out"},
		"no answer":                {several, choices(scaffold.Choices{Ask: func(string) (string, error) { return "", outcome.Usagef("no answer") }}), nil, "no answer"},
		"a wrong answer":           {several, choices(scaffold.Choices{Ask: func(string) (string, error) { return "c", nil }}), nil, `no service "c" was found: want of api=api, bill=bill`},
	} {
		t.Run(name, func(t *testing.T) {
			top := repository(t, tt.files)
			dir := top
			if tt.change != nil {
				dir = tt.change(t, top)
			}
			before := files(t, top)
			_, err := initialize(t, dir, tt.o)
			require.ErrorContains(t, err, tt.want)
			require.Equal(t, outcome.Usage, outcome.Of(err))
			require.NotContains(t, err.Error(), "\n", "one line")
			require.Equal(t, before, files(t, top), "nothing was written")
		})
	}
}

// TestInitFolder adds the pipeline to a folder of a repository. Only its workflow is in the
// root, where GitHub reads it; and upgrade in the folder finds it there.
func TestInitFolder(t *testing.T) {
	top := repository(t, merge(goService("teams/a b"), goService("other")))
	dir := filepath.Join(top, "teams", "a b")
	sourcetest.Git(t, top, "remote", "add", "origin", "git@github.com:team/mono.git")
	result, err := initialize(t, dir, scaffold.InitOptions{Choices: scaffold.Choices{Services: []string{"api=."}}})
	require.NoError(t, err)
	require.Contains(t, result.Files, "../../.github/workflows/ci.yml")
	written := files(t, top)
	require.Contains(t, written[".github/workflows/ci.yml"], "    with:\n      source: \"teams/a b\"\n")
	require.Contains(t, written["teams/a b/terraform/main.tf"], `repository = "team/mono"`)
	for _, name := range []string{"teams/a b/" + platform.ServicesFile, "teams/a b/dagger.json", "teams/a b/.gitignore"} {
		require.Contains(t, written, name)
	}

	tree := source.Tree{Dir: dir}
	upgraded, err := scaffold.Upgrade(t.Context(), tree, "v1.3.0", scaffold.UpgradeOptions{})
	require.NoError(t, err)
	require.Len(t, upgraded.Pins, 7)
	for name, content := range files(t, top) {
		require.NotContains(t, content, "v1.2.3", name)
	}
}

// TestInitElsewhere checks work trees whose repository is elsewhere.
func TestInitElsewhere(t *testing.T) {
	dir := repository(t, goService("."))
	linked := filepath.Join(t.TempDir(), "linked")
	sourcetest.Git(t, dir, "worktree", "add", "-q", linked)
	_, err := initialize(t, linked, scaffold.InitOptions{})
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(linked, "terraform", "main.tf"))
	require.NoFileExists(t, filepath.Join(dir, "terraform", "main.tf"))

	outer := repository(t, map[string]string{"README.md": "x"})
	sourcetest.Git(t, outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", dir, "inner")
	_, err = initialize(t, filepath.Join(outer, "inner"), scaffold.InitOptions{})
	require.NoError(t, err)
}

// TestInitUndone checks that a failure in the middle leaves nothing.
func TestInitUndone(t *testing.T) {
	dir := repository(t, goService("."))
	before := files(t, dir)
	_, err := initialize(t, dir, scaffold.InitOptions{Workflow: strings.Repeat("a", 250) + ".yml"}) // its temporary file's name is longer
	require.ErrorContains(t, err, "adding the pipeline: ")
	require.ErrorContains(t, err, ": nothing was written")
	require.Equal(t, before, files(t, dir))
}
