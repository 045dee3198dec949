package workflow

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The expected values are from GitHub's documentation of expressions.
func TestEvaluate(t *testing.T) {
	contexts := map[string]any{
		"github": map[string]any{"ref": "refs/heads/main", "event": map[string]any{"before": nil}},
		"inputs": map[string]any{"run_apply": true},
	}
	for source, want := range map[string]any{
		"'it''s'":                        "it's",
		"GitHub.REF":                     "refs/heads/main",
		"github.nope.nope":               nil,
		"'a' && 'b'":                     "b",
		"'' || 'b'":                      "b",
		"!''":                            true,
		"!github.event.before":           true,
		"!github":                        false,
		"'Main' == 'main'":               true,
		"'a' != 'b'":                     true,
		"github.event.before == 'b'":     false,
		"inputs.run_apply && 'x' == 'x'": true,
		"Failure()":                      true,
		"success() || cancelled()":       false,
		"always()":                       true,
		"!inputs.run_apply && nope.x":    false,
		"github['REF']":                  "refs/heads/main",
		"github[github.nope]":            nil,
		"fromJSON('[\"a\"]')":            []any{"a"},
	} {
		got, err := scope{contexts, &status{failure: true}}.evaluate(source, func(string) {})
		require.NoError(t, err)
		require.Equal(t, want, got, source)
	}
	// Unsupported expressions are an error.
	for source, want := range map[string]string{
		"secrets.KEY":              `there is no context "secrets" here`,
		"hashFiles('x')":           "hashFiles() is more than this package understands",
		"github.event.*.x":         "more than this package understands",
		"github[nope.x]":           "no context",
		"nope['x']":                "no context",
		"fromJSON(nope.x)":         "no context",
		"fromJSON('[')":            "unexpected end of JSON input",
		"'b' > 'a'":                "more than this package understands",
		"inputs.run_apply == true": "true is compared, which is no text",
		"'' == github":             "is compared, which is no text",
		"!nope.x":                  "no context",
		"nope.x && true":           "no context",
		"nope.x == '1'":            "no context",
		"'1' == nope.x":            "no context",
		"a b":                      `parsing "a b"`,
	} {
		_, err := scope{contexts, &status{}}.evaluate(source, func(string) {})
		require.ErrorContains(t, err, want, source)
	}
}

func TestCondition(t *testing.T) {
	contexts := map[string]any{"github": map[string]any{"ref": "x"}}
	well, badly := status{success: true}, status{failure: true}
	for source, want := range map[string]struct{ well, badly bool }{
		"":                                {true, false},
		"github.ref == 'x'":               {true, false},
		"${{ github.ref == 'x' }}":        {true, false},
		"github.ref == 'y'":               {false, false},
		"failure()":                       {false, true},
		"github.ref == 'x' && !success()": {false, true},
		"ALWAYS()":                        {true, true},
	} {
		for s, want := range map[*status]bool{&well: want.well, &badly: want.badly} {
			got, err := scope{contexts, s}.condition(source)
			require.NoError(t, err)
			require.Equal(t, want, got, source)
		}
	}
	for source, want := range map[string]string{
		"${{ github.ref == 'y' }} && true":    "which always holds",
		"x ${{ true }}":                       "which always holds",
		"${{ false }} ${{ false }}":           "which always holds",
		"${{ github.ref == 'y' }} || failure": "which always holds",
		"github.ref ==":                       "parsing",
		"nope.x":                              "there is no context",
	} {
		_, err := scope{contexts, &well}.condition(source)
		require.ErrorContains(t, err, want, source)
	}
}

func TestInterpolate(t *testing.T) {
	s := scope{contexts: map[string]any{"a": map[string]any{"n": "7", "b": true}}}
	got, err := s.interpolate("x-${{ a.n }}-${{ a.b }}${{ a.none }}")
	require.NoError(t, err)
	require.Equal(t, "x-7-true", got)
	for source, want := range map[string]string{"${{ b.n }}": "no context", "${{ failure() }}": "failure() is more"} {
		_, err = s.interpolate(source)
		require.ErrorContains(t, err, want)
	}
}
