package step_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/exec/step"
)

func TestOnly(t *testing.T) {
	require.Equal(t, []string{"apps/api"}, step.Only("apps/api/"))
	require.Nil(t, step.Only("."), "all of it")
}
