package outcome_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestOf(t *testing.T) {
	plain := errors.New("registry down")
	tests := map[string]struct {
		err  error
		want outcome.Code
	}{
		"no error":                    {nil, outcome.Done},
		"an error without a code":     {plain, outcome.Failed},
		"usage":                       {outcome.Usagef("no service %q", "x"), outcome.Usage},
		"a guard":                     {outcome.Refusedf("tag moved"), outcome.Refused},
		"a code under a wrapping":     {fmt.Errorf("deploying: %w", outcome.With(outcome.Restored, plain)), outcome.Restored},
		"a code joined to an error":   {errors.Join(plain, outcome.With(outcome.Unrestored, plain)), outcome.Unrestored},
		"a cancelled context":         {fmt.Errorf("testing: %w", context.Canceled), outcome.Interrupted},
		"an interruption":             {fmt.Errorf("testing: %w", outcome.Interruption("Ctrl-C")), outcome.Interrupted},
		"a code over a cancelled one": {outcome.With(outcome.Unrestored, context.Canceled), outcome.Unrestored},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, outcome.Of(tt.err))
		})
	}
}

func TestWithWrapsTheError(t *testing.T) {
	cause := errors.New("cause")
	err := outcome.With(outcome.Refused, fmt.Errorf("pushing: %w", cause))
	require.ErrorIs(t, err, cause)
	require.EqualError(t, err, "pushing: cause")
	require.NoError(t, outcome.With(outcome.Refused, nil))
}
