package outcome_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestSuggestion(t *testing.T) {
	require.Equal(t, "did you mean backend?", outcome.Suggestion("bakcend", []string{"backend", "frontend"}))
	require.Equal(t, "want one of backend, frontend", outcome.Suggestion("database", []string{"backend", "frontend"}))
}

func TestNearest(t *testing.T) {
	known := []string{"backend", "frontend", "rehearse"}
	tests := map[string]string{
		"backend":  "backend",
		"bakcend":  "backend",
		"fronted":  "frontend",
		"re":       "rehearse",
		"":         "",
		"database": "",
	}
	for name, want := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, want, outcome.Nearest(name, known))
		})
	}
}

func TestOneLine(t *testing.T) {
	require.Equal(t, "a b c", outcome.OneLine("  a\n\tb  c\r\n"))
	require.Empty(t, outcome.OneLine("\n"))
	require.Equal(t, "a: x; b: y", outcome.JoinLines("a: x\nb: y"))
}
