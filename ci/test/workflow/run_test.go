package workflow_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/workflow"
)

// runner ends the named steps with the given outcomes, all others with success.
type runner map[string]workflow.Outcome

func (r runner) Run(s workflow.Step) (workflow.Outcome, map[string]string) {
	if fate := r[s.Name]; fate != "" {
		return fate, nil
	}
	return workflow.Success, nil
}

// How a job's outcome affects the jobs that need it, also past a skipped one.
func TestNeeds(t *testing.T) {
	const file = `on: push
permissions: {}
jobs:
  a:
    runs-on: x
    steps:
      - { name: a, run: dagger call a }
  b:
    needs: a
    if: github.ref == 'refs/heads/b'
    runs-on: x
    steps:
      - { name: b, run: dagger call b }
  c: # success() looks at all that came before, and a was skipped or b was
    needs: b
    runs-on: x
    steps:
      - { name: c, run: dagger call c }
  d:
    needs: b
    if: failure()
    runs-on: x
    steps:
      - { name: d, run: dagger call d }
  e:
    needs: [b, c]
    if: "!cancelled()"
    runs-on: x
    steps:
      - { name: e, run: dagger call e }
  f:
    needs: e
    if: needs.e.result == 'success' && !needs.b.result
    runs-on: x
    steps:
      - { name: f, run: dagger call f }
  g:
    needs: a
    if: cancelled()
    runs-on: x
    steps:
      - { name: g, run: dagger call g }
`
	tests := map[string]struct {
		ref   string
		fates runner
		want  []string
	}{
		"all well":      {"refs/heads/b", nil, []string{"a success", "b success", "c success", "e success", "f success"}},
		"one skipped":   {"refs/heads/x", nil, []string{"a success", "e success"}},
		"first fails":   {"refs/heads/b", runner{"a": workflow.Failure}, []string{"a failure", "d success", "e success"}},
		"second fails":  {"refs/heads/b", runner{"b": workflow.Failure}, []string{"a success", "b failure", "d success", "e success"}},
		"all cancelled": {"refs/heads/b", runner{"a": workflow.Cancelled}, []string{"a cancelled", "g success"}},
	}
	set, err := workflow.Parse(map[string]string{"ci.yml": file})
	require.NoError(t, err)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			runs, err := set.Start(workflow.Event{Name: "push", Ref: tt.ref}, nil, tt.fates)
			require.NoError(t, err)
			require.Len(t, runs, 1)
			var got []string
			for _, job := range runs[0].Jobs {
				got = append(got, job.Name+" "+string(job.Outcome))
				require.Empty(t, job.PermissionsText(), "the workflow's permissions hold")
			}
			require.Equal(t, tt.want, got)
		})
	}
}

// What GitHub would reject or this package does not support is an error.
func TestStartErrors(t *testing.T) {
	job := func(of string) string {
		return "on: { pull_request: { types: [opened] } }\npermissions: {}\njobs:\n  a:\n    runs-on: x\n" + of
	}
	const steps = "    steps:\n      - run: dagger call a\n"
	tests := map[string]struct{ file, want string }{
		"a condition":         {job("    if: nope.x\n" + steps), "no context"},
		"a step's condition":  {job("    steps:\n      - if: nope.x\n        run: dagger call a\n"), "no context"},
		"a script":            {job("    steps:\n      - run: make\n"), "make is not among"},
		"a step's variable":   {job("    steps:\n      - run: dagger call a\n        env: { A: '${{ nope.x }}' }\n"), "no context"},
		"an input":            {job("    steps:\n      - uses: a/b@c\n        with: { A: '${{ nope.x }}' }\n"), "no context"},
		"a variable":          {job("    env: { A: '${{ nope.x }}' }\n" + steps), "no context"},
		"an environment":      {job("    environment: ${{ nope.x }}\n" + steps), "no context"},
		"a group":             {job("    concurrency: ${{ nope.x }}\n" + steps), "no context"},
		"an output":           {job("    outputs: { a: '${{ nope.x }}' }\n" + steps), "no context"},
		"a group of all":      {"on: { pull_request: { types: [opened] } }\nconcurrency: ${{ nope.x }}\njobs:\n  a:\n    runs-on: x\n" + steps, "no context"},
		"all permissions":     {job("    permissions: write-all\n" + steps), "one by one"},
		"a job from nowhere":  {job("    needs: b\n" + steps), "there is no job b to need"},
		"no workflow to call": {"on: { pull_request: { types: [opened] } }\npermissions: {}\njobs:\n  a:\n    uses: ./.github/workflows/b.yml\n", "no workflow b.yml"},
		"an input of a call":  {"on: { pull_request: { types: [opened] } }\npermissions: {}\njobs:\n  a:\n    uses: ./.github/workflows/called.yml\n    with: { a: '${{ nope.x }}' }\n", "no context"},
		"no boolean":          {"on: { pull_request: { types: [opened] } }\npermissions: {}\njobs:\n  a:\n    uses: ./.github/workflows/called.yml\n    with: { b: 'yes' }\n", `input b is "yes", which is no boolean`},
		"a call's rights":     {"on: { pull_request: { types: [opened] } }\npermissions: {}\njobs:\n  a:\n    uses: ./.github/workflows/called.yml\n", "asks for contents:write, which the calling job does not have"},
	}
	const called = "on: { workflow_call: { inputs: { a: { type: string }, b: { type: boolean, default: false } } } }\njobs:\n  a:\n    permissions: { contents: write }\n    runs-on: x\n" + steps
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			set, err := workflow.Parse(map[string]string{"ci.yml": tt.file, "called.yml": called})
			require.NoError(t, err)
			_, err = set.Start(workflow.Event{Name: "pull_request", Action: "opened"}, nil, runner{})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "ci.yml: ")
		})
	}
}

// GitHub removes all write permissions of a fork's pull request.
func TestForksReadOnly(t *testing.T) {
	set, err := workflow.Parse(map[string]string{"ci.yml": `on: { pull_request: { types: [opened] } }
jobs:
  a:
    permissions: { contents: write, id-token: write, issues: read }
    runs-on: x
    steps:
      - run: dagger call a
`})
	require.NoError(t, err)
	event := workflow.Event{Name: "pull_request", Action: "opened"}
	for fork, want := range map[bool]string{false: "contents:write id-token:write issues:read", true: "contents:read issues:read"} {
		event.Fork = fork
		runs, err := set.Start(event, nil, runner{})
		require.NoError(t, err)
		require.Equal(t, want, runs[0].Jobs[0].PermissionsText())
	}
}
