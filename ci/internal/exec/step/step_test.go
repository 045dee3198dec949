package step_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/exec/step"
)

func TestExpandReplacesOutEverywhereAndLeavesTheStepAlone(t *testing.T) {
	original := step.Step{
		Args: []string{"go", "test", "-coverprofile=@out@/cover.out", "@out@:@out@"},
		Env:  map[string]string{"GOTMPDIR": "@out@", "GOWORK": "off"},
	}

	expanded := original.Expand("/out")

	require.Equal(t, []string{"go", "test", "-coverprofile=/out/cover.out", "/out:/out"}, expanded.Args)
	require.Equal(t, map[string]string{"GOTMPDIR": "/out", "GOWORK": "off"}, expanded.Env)
	require.Equal(t, "-coverprofile=@out@/cover.out", original.Args[2])
	require.Equal(t, "@out@", original.Env["GOTMPDIR"])
}

func TestExpandOfAnEmptyStep(t *testing.T) {
	require.Equal(t, step.Step{}, step.Step{}.Expand("/out"))
}
