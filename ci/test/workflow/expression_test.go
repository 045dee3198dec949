package workflow

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The values are GitHub's, from its documentation of expressions.
func TestEvaluate(t *testing.T) {
	s := scope{
		contexts: map[string]any{
			"github": map[string]any{"ref": "refs/heads/main", "event": map[string]any{"inputs": map[string]any{"run_apply": "true"}, "labels": []any{"bug", "Urgent"}}},
			"inputs": map[string]any{"run_apply": true},
		},
		status: &status{failure: true},
	}
	tests := map[string]struct {
		source string
		want   any
	}{
		"null":                          {"null", nil},
		"a number":                      {"0x1F", 31.0},
		"a fraction":                    {"-2.5", -2.5},
		"a text":                        {"'it''s'", "it's"},
		"a name of whatever case":       {"GitHub.REF", "refs/heads/main"},
		"a name that is not there":      {"github.nope.nope", nil},
		"an index":                      {"github['ref']", "refs/heads/main"},
		"and returns what decided":      {"'a' && 'b'", "b"},
		"or returns what decided":       {"'' || 'b'", "b"},
		"not":                           {"!''", true},
		"texts without case":            {"'Main' == 'main'", true},
		"texts in order":                {"'b' > 'a'", true},
		"an input as a boolean":         {"inputs.run_apply == true", true},
		"an event's input as a boolean": {"github.event.inputs.run_apply == true", false},
		"an event's input as a text":    {"github.event.inputs.run_apply == 'true'", true},
		"a number as a text":            {"'1' == 1", true},
		"nothing is zero":               {"null == 0", true},
		"an empty text is zero":         {"'' == 0", true},
		"a text is not a number":        {"'x' == 0", false},
		"nor is it none":                {"'x' != 0", true},
		"less":                          {"1 < 2", true},
		"no less":                       {"2 <= 1", false},
		"more":                          {"2 >= 2", true},
		"false is zero":                 {"false == 0", true},
		"an object is no number":        {"github == 0", false},
		"contains":                      {"contains(github.ref, 'MAIN')", true},
		"contains, in a list":           {"contains(github.event.labels, 'urgent')", true},
		"contains, not in a list":       {"contains(github.event.labels, 'urg')", false},
		"begins":                        {"startsWith(github.ref, 'refs/heads/')", true},
		"ends":                          {"endsWith(github.ref, '/main')", true},
		"success":                       {"success()", false},
		"failure":                       {"failure()", true},
		"cancelled":                     {"cancelled()", false},
		"always":                        {"always()", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := evaluate(tt.source, s)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
	for source, want := range map[string]string{
		"secrets.KEY":          `there is no context "secrets" here`,
		"hashFiles('x')":       "hashFiles() is more than this package understands",
		"github.event.*.x":     "more than this package understands",
		"!nope.x":              "no context",
		"nope.x && true":       "no context",
		"nope.x == 1":          "no context",
		"1 == nope.x":          "no context",
		"contains(nope.x, '')": "no context",
		"nope[0]":              "no context",
		"github[nope]":         "no context",
		"a b":                  `parsing "a b"`,
	} {
		_, err := evaluate(source, s)
		require.ErrorContains(t, err, want, source)
	}
	_, err := evaluate("success()", scope{})
	require.ErrorContains(t, err, "success() is more than", "it is for conditions alone")
}

func TestCondition(t *testing.T) {
	contexts := map[string]any{"github": map[string]any{"ref": "x"}}
	well, badly := status{success: true}, status{failure: true}
	tests := map[string]struct {
		source      string
		well, badly bool
	}{
		"none":                      {"", true, false},
		"one that holds":            {"github.ref == 'x'", true, false},
		"in braces":                 {"${{ github.ref == 'x' }}", true, false},
		"one that does not":         {"github.ref == 'y'", false, false},
		"a status function":         {"failure()", false, true},
		"a status function, inside": {"github.ref == 'x' && !success()", false, true},
		"always":                    {"ALWAYS()", true, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for s, want := range map[*status]bool{&well: tt.well, &badly: tt.badly} {
				got, err := condition(tt.source, scope{contexts, s})
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
		})
	}
	for source, want := range map[string]string{
		"${{ github.ref == 'y' }} && true":    "which always holds",
		"x ${{ true }}":                       "which always holds",
		"${{ false }} ${{ false }}":           "which always holds",
		"github.ref ==":                       "parsing",
		"nope.x":                              "there is no context",
		"${{ github.ref == 'y' }} || failure": "which always holds",
	} {
		_, err := condition(source, scope{contexts, &well})
		require.ErrorContains(t, err, want, source)
	}
}

func TestInterpolate(t *testing.T) {
	s := scope{contexts: map[string]any{"a": map[string]any{"n": 7.0, "b": true, "list": []any{1.0}, "o": map[string]any{}}}}
	got, err := interpolate("x-${{ a.n }}-${{ a.b }}${{ a.none }}-${{ a.list }}-${{ a.o }}", s)
	require.NoError(t, err)
	require.Equal(t, "x-7-true-Array-Object", got)
	_, err = interpolate("${{ a.n", s)
	require.ErrorContains(t, err, "without a }}")
	_, err = interpolate("${{ b.n }}", s)
	require.ErrorContains(t, err, "no context")
}
