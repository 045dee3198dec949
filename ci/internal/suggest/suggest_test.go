package suggest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/suggest"
)

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
			require.Equal(t, want, suggest.Nearest(name, known))
		})
	}
}
