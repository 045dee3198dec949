package cli

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestAsker(t *testing.T) {
	var out strings.Builder
	ask := asker(strings.NewReader(" api \n"), &out)
	answer, err := ask("Which? ")
	require.NoError(t, err)
	require.Equal(t, "api", answer)
	require.Equal(t, "Which? ", out.String())
	_, err = ask("Which? ")
	require.EqualError(t, err, "no answer: EOF")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}
