package step_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/exec/step"
)

func TestTakes(t *testing.T) {
	s := step.Step{Pass: []string{"AWS_*", "TF_CLI_CONFIG_FILE"}}
	for variable, want := range map[string]bool{
		"AWS_REGION": true, "AWS_": true, "TF_CLI_CONFIG_FILE": true,
		"AWS": false, "TF_CLI_CONFIG_FILE_2": false, "HOME": false, "MY_AWS_KEY": false,
	} {
		require.Equal(t, want, s.Takes(variable), variable)
	}
	require.False(t, step.Step{}.Takes("PATH"))
}
