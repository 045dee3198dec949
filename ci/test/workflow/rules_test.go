package workflow_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/workflow"
)

// good is a workflow that keeps every rule.
const good = `on: push
permissions: {}
concurrency:
  group: a
jobs:
  job:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    permissions:
      contents: read
    steps:
      - uses: actions/checkout@1111111111111111111111111111111111111111 # v1.2.3
        with:
          persist-credentials: false
      - run: dagger call status >> "$GITHUB_STEP_SUMMARY"
`

// Each row breaks one rule and no other.
func TestCheck(t *testing.T) {
	run := func(script string) [2]string {
		return [2]string{`dagger call status >> "$GITHUB_STEP_SUMMARY"`, script}
	}
	step := func(uses, with string) [2]string {
		return [2]string{"      - run: dagger", "      - uses: " + uses + "@2222222222222222222222222222222222222222 # v1.0.0\n        with:\n          " + with + "\n      - run: dagger"}
	}
	type row struct {
		change [2]string
		want   string
	}
	in := func(environment, concurrency, function string) row {
		return row{[2]string{
			"    steps:", "    environment: " + environment + "\n    env: { ENVIRONMENT: " + environment + " }\n" + concurrency + "    steps:\n      - run: dagger call " + function,
		}, "one at a time"}
	}
	tests := map[string]row{
		"nothing":                        {[2]string{"", ""}, ""},
		"trigger":                        {[2]string{"on: push", "on: pull_request_target"}, "pull_request_target is no event"},
		"permissions above":              {[2]string{"permissions: {}\n", ""}, "permissions: {} at the top"},
		"permissions above, some":        {[2]string{"permissions: {}", "permissions:\n  contents: read"}, "permissions: {} at the top"},
		"permissions above, all":         {[2]string{"permissions: {}", "permissions: read-all"}, "permissions: {} at the top"},
		"no group":                       {[2]string{"concurrency:\n  group: a\n", ""}, "a concurrency group"},
		"env above":                      {[2]string{"jobs:\n", "env:\n  A: b\njobs:\n"}, "env belongs to the job"},
		"permissions of a job":           {[2]string{"    permissions:\n      contents: read\n", ""}, "job job lists its permissions"},
		"permissions of a job, all":      {[2]string{"    permissions:\n      contents: read\n", "    permissions: write-all\n"}, "job job lists its permissions"},
		"no time limit":                  {[2]string{"    timeout-minutes: 5\n", ""}, "timeout-minutes of at most 60"},
		"a time limit too long":          {[2]string{"timeout-minutes: 5", "timeout-minutes: 61"}, "timeout-minutes of at most 60"},
		"runner":                         {[2]string{"ubuntu-24.04", "ubuntu-latest"}, "names its runner's version"},
		"runner by expression":           {[2]string{"ubuntu-24.04", "${{ vars.RUNNER }}"}, "names its runner's version"},
		"failures hidden":                {[2]string{"    timeout", "    continue-on-error: true\n    timeout"}, "continue-on-error hides"},
		"failures of a step hidden":      {[2]string{"      - run: dagger", "      - continue-on-error: true\n        run: dagger"}, "continue-on-error hides"},
		"a tag":                          {[2]string{"1111111111111111111111111111111111111111 # v1.2.3", "v1"}, "pinned by the 40 digits"},
		"a short id":                     {[2]string{"1111111111111111111111111111111111111111", "1111111"}, "pinned by the 40 digits"},
		"no version":                     {[2]string{" # v1.2.3", ""}, "version follows in a comment"},
		"a version that moves":           {[2]string{"# v1.2.3", "# v1"}, "version follows in a comment"},
		"two pins":                       {step("actions/checkout", "persist-credentials: false"), "pinned to another commit elsewhere"},
		"credentials kept":               {[2]string{"        with:\n          persist-credentials: false\n", ""}, "persist-credentials is false"},
		"another commit":                 {[2]string{"persist-credentials: false", "persist-credentials: false\n          ref: main"}, "no other"},
		"an expression":                  {run(`dagger call "${{ github.head_ref }}"`), "never by ${{ }}"},
		"two commands":                   {run("dagger call a; dagger call b"), "one command, not 2"},
		"a list":                         {run("dagger call a || true"), "one plain command"},
		"a pipe":                         {run("dagger call a | tee b"), "one plain command"},
		"in the background":              {run("dagger call a &"), "one plain command"},
		"turned around":                  {run("! dagger call a"), "one plain command"},
		"with a variable":                {run("A=b dagger call a"), "one plain command"},
		"a substitution":                 {run(`dagger call "$(cat x)"`), "no substitutions"},
		"a variable without quotes":      {run("dagger call $A"), `write "$A", in quotes`},
		"a variable with an edit":        {run(`dagger call "${A:-b}"`), `write "$A", in quotes`},
		"joined":                         {run(`cat "$RUNNER_TEMP"/a/*.md > "$RUNNER_TEMP/b"`), ""},
		"another command":                {run("npm ci"), "npm is not among the commands"},
		"a runner's own file":            {run("cat /proc/self/environ"), "cat shows one file"},
		"two files":                      {run(`cat "$RUNNER_TEMP/a" /etc/passwd`), "cat shows one file"},
		"another file":                   {run("dagger call a > b"), "output goes nowhere"},
		"another variable's file":        {run(`dagger call a >> "$B"`), "output goes nowhere"},
		"no script":                      {run("dagger call 'a"), "not a script"},
		"a variable that nobody sets":    {run(`dagger call a --b="$UNKNOWN"`), "nobody sets UNKNOWN"},
		"no token for gh":                {run(`gh issue list --repo "$GITHUB_REPOSITORY"`), "nobody sets GH_TOKEN"},
		"after a cancel":                 {[2]string{"      - run: dagger", "      - if: always()\n        run: dagger"}, "always() runs on"},
		"rights that none asks for":      {[2]string{"jobs:\n", "jobs:\n  b:\n    permissions:\n      issues: write\n    uses: ./.github/workflows/called.yml\n"}, "gives issues:write to a workflow"},
		"a shell":                        {[2]string{"      - run: dagger", "      - shell: python\n        run: dagger"}, "the runner's own shell"},
		"a stored secret":                {[2]string{"      - run: dagger", "      - env:\n          A: ${{ secrets.KEY }}\n        run: dagger"}, "A is a stored secret"},
		"another's deployments":          {[2]string{"contents: read", "deployments: write"}, "so it runs nothing of it"},
		"no setup":                       {run("dagger-module environments outputs"), "environments needs the step ./.slipway/pipeline/.github/actions/setup before it"},
		"setup without the pipeline":     {[2]string{"      - run: dagger", "      - uses: ./.slipway/pipeline/.github/actions/setup\n      - run: dagger"}, "needs a checkout of the source, and then of the pipeline"},
		"another action of the tree":     {[2]string{"      - run: dagger", "      - uses: ./.github/actions/setup\n      - run: dagger"}, "pinned by the 40 digits"},
		"the pipeline of another commit": {[2]string{"persist-credentials: false", "persist-credentials: false\n          repository: ${{ job.workflow_repository }}\n          ref: main\n          path: .slipway/pipeline"}, "no other but the workflow's own"},
		"the pipeline elsewhere":         {[2]string{"persist-credentials: false", "persist-credentials: false\n          repository: ${{ job.workflow_repository }}\n          ref: ${{ job.workflow_sha }}\n          path: backend"}, "no other but the workflow's own"},
		"the source after the pipeline":  {[2]string{"    steps:\n", "    steps:\n      - uses: actions/checkout@1111111111111111111111111111111111111111 # v1.2.3\n        with: { persist-credentials: false, repository: \"${{ job.workflow_repository }}\", ref: \"${{ job.workflow_sha }}\", path: .slipway/pipeline }\n"}, "the source comes before the pipeline"},
		"rights that a call lacks":       {[2]string{"jobs:\n", "jobs:\n  b:\n    permissions: {}\n    uses: ./.github/workflows/called.yml\n"}, "asks for contents:read: without it GitHub starts no job at all"},
		"a release's workflow":           {[2]string{"jobs:\n", "jobs:\n  b:\n    permissions: {}\n    uses: slipway-cd/slipway/.github/workflows/c.yml@v1.2.3\n"}, ""},
		"a branch's workflow":            {[2]string{"jobs:\n", "jobs:\n  b:\n    permissions: {}\n    uses: slipway-cd/slipway/.github/workflows/c.yml@main\n"}, "calls a workflow of this repository"},
		"no token of deployments":        {run("dagger-release promote"), "nobody sets DEPLOYMENTS_TOKEN"},
		"writes and runs":                {[2]string{"contents: read", "contents: write"}, "so it runs nothing of it"},
		"tests with a token":             {[2]string{"contents: read\n    steps:", "id-token: write\n    steps:\n      - run: dagger call test"}, "runs test with id-token"},
		"compares without history":       {run("dagger call changes outputs"), "fetch-depth: 0"},
		"a role that nobody sets":        {run("dagger-call status"), "nobody sets AWS_ROLE"},
		"another script":                 {run(".github/other status"), ".github/other is not among"},
		"a change by the script":         {run("dagger-release deploy"), "changes an environment, so it is in that environment"},
		"a change":                       {run("dagger call apply"), "changes an environment, so it is in that environment"},
		"changes at once":                in("production", "", "apply"),
		"another's group":                in("production", "    concurrency: { group: apply-staging, cancel-in-progress: false }\n", "apply"),
		"a change that is cancelled":     in("production", "    concurrency: { group: apply-production, cancel-in-progress: true }\n", "apply"),
		"another's environment":          {[2]string{"    steps:", "    environment: production\n    env: { ENVIRONMENT: staging }\n    steps:"}, "so ENVIRONMENT is that, and no other"},
		"no environment's name":          {[2]string{"    steps:", "    environment: production\n    steps:"}, "so ENVIRONMENT is that, and no other"},
		"an environment's role":          {[2]string{"    steps:", "    env: { AWS_ROLE: \"${{ vars.AWS_DEPLOY_ROLE }}\" }\n    steps:"}, "assumes a role of an environment"},
		"a role to read another":         {[2]string{"      - run: dagger", "      - env: { FROM_ROLE: \"${{ vars.AWS_FROM_ROLE }}\" }\n        run: dagger"}, "assumes a role of an environment"},
		"a role for something else":      {[2]string{"    steps:", "    env: { AWS_ROLE: \"${{ vars.AWS_PREVIEW_ROLE }}\" }\n    steps:"}, "runs status in the role AWS_PREVIEW_ROLE, which is for preview-up"},
		"a release without a report":     {run("dagger call rollback"), "rollback runs by dagger-release"},
		"output to a file":               {run(`dagger call a > "$RUNNER_TEMP/b"`), "output goes nowhere"},
		"joined elsewhere":               {run(`cat "$RUNNER_TEMP"/a/* > b`), "output goes nowhere"},
		"artifacts of any name":          {step("actions/download-artifact", "pattern: '*'"), "takes every artifact"},
		"an artifact for long":           {step("actions/upload-artifact", "retention-days: 15"), "14 days at most"},
		"an artifact for ever":           {step("actions/upload-artifact", "name: a"), "14 days at most"},
		"a plan for two days":            {step("actions/upload-artifact", "{ path: a/plan, retention-days: 2 }"), "1 days at most"},
		"all artifacts":                  {step("actions/download-artifact", "path: a"), "takes every artifact"},
		"dagger's arguments":             {step("dagger/dagger-for-github", "call: test"), "it pastes call into a script"},
		"a workflow from elsewhere":      {[2]string{"jobs:\n", "jobs:\n  b:\n    permissions: {}\n    uses: a/b/.github/workflows/c.yml@main\n"}, "calls a workflow of this repository"},
		"secrets handed on":              {[2]string{"jobs:\n", "jobs:\n  b:\n    permissions: {}\n    uses: ./.github/workflows/c.yml\n    secrets: inherit\n"}, "hands on no secrets"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, good, tt.change[0])
			set, err := workflow.Parse(map[string]string{
				"a.yml": strings.Replace(good, tt.change[0], indent(tt.change[1]), 1), "called.yml": good,
			})
			require.NoError(t, err)
			found := set.Check()
			if tt.want == "" {
				require.Empty(t, found)
				return
			}
			require.NotEmpty(t, found)
			texts := ""
			for _, f := range found {
				require.Positive(t, f.Line)
				texts += f.String() + "\n"
			}
			require.Contains(t, texts, tt.want)
		})
	}
}

// indent turns a script that YAML would parse differently into a block.
func indent(script string) string {
	if strings.HasPrefix(script, "!") || strings.Contains(script, "'a") {
		return "|\n          " + script
	}
	return script
}
