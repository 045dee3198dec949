package coverage_test

import (
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/check/coverage"
)

func TestGateFlag(t *testing.T) {
	gate := coverage.Gate{Default: 80}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Var(&gate, "min-coverage", "least coverage")

	require.NoError(t, flags.Parse([]string{"--min-coverage", "85.5", "--min-coverage=./backend/=95%", "--min-coverage", "ci=70, tools/x=0"}))

	require.Equal(t, coverage.Gate{Default: 85.5, Modules: map[string]float64{"backend": 95, "ci": 70, "tools/x": 0}}, gate)
	require.Equal(t, "85.5,backend=95,ci=70,tools/x=0", gate.String())
	require.Equal(t, "[MODULE=]PERCENT", gate.Type())
	var again coverage.Gate
	require.NoError(t, again.Set(gate.String()))
	require.Equal(t, gate, again)

	require.InDelta(t, 95, gate.For("backend"), 0)
	require.InDelta(t, 85.5, gate.For("frontend"), 0)
	require.InDelta(t, 0, coverage.Gate{}.For("any"), 0)
}

func TestGateSetCopies(t *testing.T) {
	var gate coverage.Gate
	require.NoError(t, gate.Set("a=1"))
	copied := gate
	require.NoError(t, gate.Set("a=2"))
	require.InDelta(t, 1, copied.For("a"), 0)
}

func TestGateSetErrors(t *testing.T) {
	for value, want := range map[string]string{
		"":          `"" is not a percentage from 0 to 100: want PERCENT or MODULE=PERCENT, such as 85 or backend=95`,
		"high":      `"high" is not a percentage`,
		"-1":        `"-1" is not a percentage`,
		"100.1":     `"100.1" is not a percentage`,
		"NaN":       `"NaN" is not a percentage`,
		"Inf":       `"Inf" is not a percentage`,
		"ci=":       `"" is not a percentage`,
		"a=b=3":     `"b=3" is not a percentage`,
		"=90":       `"=90" has no module`,
		"ci=80,,90": `"" is not a percentage`,
	} {
		var gate coverage.Gate
		require.ErrorContains(t, gate.Set(value), want, "value %q", value)
	}
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"ci/*.go", "ci/main.go", true},
		{"ci/*.go", "ci/internal/main.go", false},
		{"*.go", "ci/main.go", false},
		{"**/*.go", "main.go", true},
		{"**/*.go", "ci/cmd/main.go", true},
		{"ci/**", "ci/a/b/c.go", true},
		{"ci/**", "cicada/a.go", false},
		{"ci/**/mock/*.go", "ci/mock/a.go", true},
		{"ci/**/mock/*.go", "ci/a/b/mock/a.go", true},
		{"ci/**/mock/*.go", "ci/a/b/mocks/a.go", false},
		{"ci/a.go/x", "ci/a.go", false},
		{"ci", "ci/a.go", false},
		{"[", "[", false},
	} {
		require.Equal(t, c.want, coverage.Globs{"never", c.pattern}.Match(c.name), "%s on %s", c.pattern, c.name)
	}
	require.NoError(t, coverage.Globs{"**/*.pb.go", "ci/[a-z]*.go"}.Check())
	require.EqualError(t, coverage.Globs{"ok", "ci/[a-.go"}.Check(), `pattern "ci/[a-.go": syntax error in pattern`)
	require.False(t, coverage.Globs(nil).Match("a.go"))
	but := coverage.Globs{"ci/**", "!ci/kept/**", "ci/kept/x.go"}
	require.True(t, but.Match("ci/a.go"))
	require.False(t, but.Match("ci/kept/a.go"))
	require.True(t, but.Match("ci/kept/x.go"))
	require.EqualError(t, coverage.Globs{"!["}.Check(), `pattern "![": syntax error in pattern`)
}
