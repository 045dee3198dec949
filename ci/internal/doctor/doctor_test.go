package doctor_test

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/doctor"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/schema/schematest"
	"dagger/slipway/internal/sourcetest"
)

func TestExamine(t *testing.T) {
	stuck := program("stuck", "version ", nil, "stuck")
	stuck.Exec = hangs{}
	there := probe{"there", doctor.Finding{State: doctor.OK, Says: "1.0"}}
	found := doctor.Examine(t.Context(), 20*time.Millisecond, []doctor.Probe{stuck, there})
	require.Equal(t, []string{"stuck", "there"}, []string{found[0].Name, found[1].Name}, "in their order")
	require.Equal(t, doctor.Missing, found[0].State)
	require.Equal(t, "no answer within 20ms", found[0].Says)
	require.Equal(t, "get it", found[0].Mend)
	require.Equal(t, doctor.OK, found[1].State)
}

// machine has all that stages ask for, but for what is changed.
func machine(changed map[string]doctor.State) []doctor.Probe {
	var all []doctor.Probe
	for _, p := range doctor.Machine(".", http.DefaultTransport) {
		found := doctor.Finding{State: doctor.OK, Says: "there"}
		if state, is := changed[p.Name()]; is {
			found = doctor.Finding{State: state, Says: "so so", Mend: "get it"}
		}
		all = append(all, probe{p.Name(), found})
	}
	return all
}

func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		changed map[string]doctor.State
		stages  []string
		ready   bool
		want    map[string]doctor.Fitness
	}{
		"all there":                    {nil, nil, true, map[string]doctor.Fitness{"test": doctor.Ready, "deploy": doctor.Ready, "dagger": doctor.Ready}},
		"no account, asked about all":  {map[string]doctor.State{"credentials": doctor.Missing, "ecr": doctor.Missing}, nil, true, map[string]doctor.Fitness{"deploy": doctor.Cannot, "rehearse": doctor.Ready, "plan": doctor.Cannot}},
		"no account, asked about it":   {map[string]doctor.State{"credentials": doctor.Missing}, []string{"deploy"}, false, map[string]doctor.Fitness{"deploy": doctor.Cannot}},
		"no Go":                        {map[string]doctor.State{"go": doctor.Missing}, nil, false, map[string]doctor.Fitness{"test": doctor.Cannot, "deploy": doctor.Limits, "status": doctor.Ready}},
		"no compiler":                  {map[string]doctor.State{"compiler": doctor.Missing}, []string{"test"}, true, map[string]doctor.Fitness{"test": doctor.Limits}},
		"an older Go":                  {map[string]doctor.State{"go": doctor.Limited}, []string{"test", "fmt"}, true, map[string]doctor.Fitness{"test": doctor.Limits, "fmt": doctor.Limits}},
		"one of two that are asked of": {map[string]doctor.State{"terraform": doctor.Missing}, []string{"lint", "plan"}, false, map[string]doctor.Fitness{"lint": doctor.Limits, "plan": doctor.Cannot}},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := doctor.Run(t.Context(), machine(tt.changed), tt.stages...)
			require.NoError(t, err)
			require.Equal(t, tt.ready, report.Ready)
			got := map[string]doctor.Fitness{}
			for _, v := range report.Stages {
				got[v.Stage] = v.Fitness
			}
			for stage, fitness := range tt.want {
				require.Equal(t, fitness, got[stage], stage)
			}
			if len(tt.stages) > 0 {
				require.Len(t, report.Stages, len(tt.stages))
				require.Less(t, len(report.Findings), len(machine(nil)), "only what they need is looked at")
			}
		})
	}
}

func TestRunOfAnUnknownStage(t *testing.T) {
	_, err := doctor.Run(t.Context(), nil, "deploi")
	require.EqualError(t, err, `no stage "deploi": did you mean deploy?`)
	require.Equal(t, outcome.Usage, outcome.Of(err))
	_, err = doctor.Run(t.Context(), nil, "weather")
	require.ErrorContains(t, err, `no stage "weather": there are test, lint, fmt, build,`)
}

func TestRunIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(context.Canceled)
	_, err := doctor.Run(ctx, machine(nil))
	require.ErrorIs(t, err, context.Canceled)
}

// TestStagesNeedWhatIsLookedAt: a misspelt need would never be met.
func TestStagesNeedWhatIsLookedAt(t *testing.T) {
	known := map[string]bool{}
	for _, p := range machine(nil) {
		require.False(t, known[p.Name()], "two are called %s", p.Name())
		known[p.Name()] = true
	}
	for _, stage := range doctor.Stages() {
		for _, need := range stage.Needs {
			require.True(t, known[need], "%s needs %s", stage.Name, need)
		}
		for _, want := range stage.Wants {
			require.True(t, known[want.Probe], "%s wants %s", stage.Name, want.Probe)
			require.NotEmpty(t, want.Without)
		}
	}
}

func TestReport(t *testing.T) {
	report, err := doctor.Run(t.Context(), machine(map[string]doctor.State{"compiler": doctor.Limited, "trivy": doctor.Missing, "ecr": doctor.Missing}), "test", "lint", "deploy")
	require.NoError(t, err)
	report.DurationMS = 1234
	var text, markdown, document bytes.Buffer
	require.NoError(t, report.Text(&text))
	require.NoError(t, report.Markdown(&markdown))
	require.NoError(t, report.JSON(&document))
	schematest.RequireValid(t, "doctor", document.Bytes())

	require.Contains(t, text.String(), "go               ok       there\n")
	require.Contains(t, text.String(), "trivy            missing  so so\n                          -> get it\n")
	require.Contains(t, text.String(), "test             limited  compiler: so so\n")
	require.Contains(t, text.String(), "lint             limited  trivy: misconfiguration of the platform is not searched for\n")
	require.Contains(t, text.String(), "deploy           cannot   needs ecr\n")
	require.Contains(t, text.String(), "\nexamined in 1.2s, and changed nothing\n")
	require.Contains(t, markdown.String(), "| trivy | missing | so so | get it |\n")
	require.Contains(t, markdown.String(), "| deploy | cannot | needs ecr |\n")
}

// TestMachine looks at the machine that the test runs on: whatever is there, each
// probe comes to an end and says something.
func TestMachine(t *testing.T) {
	carrier := &http.Transport{}
	defer carrier.CloseIdleConnections()
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	t.Setenv("AWS_ACCESS_KEY_ID", "any")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "any")
	for _, found := range doctor.Examine(t.Context(), doctor.DefaultDeadline, doctor.Machine(sourcetest.New(t), carrier)) {
		require.NotEmpty(t, found.Name)
		require.Contains(t, []doctor.State{doctor.OK, doctor.Limited, doctor.Missing}, found.State, found.Name)
		require.NotEmpty(t, found.Says, found.Name)
		if found.Name == "go" || found.Name == "git" {
			require.NotEqual(t, doctor.Missing, found.State, "these tests run with it: %s", found.Says)
		}
	}
}
