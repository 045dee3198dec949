package coverage

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Gate is the minimum coverage of each module, in percent of its statements. With the zero
// Gate every module passes. A *Gate is a [github.com/spf13/pflag.Value] for a repeatable
// flag.
type Gate struct {
	// Default is the minimum of modules that are not in Modules.
	Default float64
	// Modules are minimums by module directory.
	Modules map[string]float64
}

// For returns the minimum of the module in dir.
func (g Gate) For(dir string) float64 {
	if minimum, named := g.Modules[dir]; named {
		return minimum
	}
	return g.Default
}

// Set sets the default with "PERCENT" or a module's minimum with "MODULE=PERCENT". Several
// values are separated by commas.
func (g *Gate) Set(value string) error {
	for part := range strings.SplitSeq(value, ",") {
		module, text, named := strings.Cut(part, "=")
		if !named {
			text = module
		}
		text = strings.TrimSpace(text)
		percent, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return fmt.Errorf("%q is not a percentage from 0 to 100: want PERCENT or MODULE=PERCENT, such as 85 or backend=95", text)
		}
		if !named {
			g.Default = percent
			continue
		}
		module = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(module), "./"), "/")
		if module == "" {
			return fmt.Errorf("%q has no module before the equals sign", part)
		}
		// A copy, because Gates are passed by value and share the map.
		modules := maps.Clone(g.Modules)
		if modules == nil {
			modules = map[string]float64{}
		}
		modules[module] = percent
		g.Modules = modules
	}
	return nil
}

// String returns the gate in the syntax of [Gate.Set].
func (g *Gate) String() string {
	parts := []string{formatPercent(g.Default)}
	for _, module := range slices.Sorted(maps.Keys(g.Modules)) {
		parts = append(parts, module+"="+formatPercent(g.Modules[module]))
	}
	return strings.Join(parts, ",")
}

// Type returns the placeholder of the flag's value in help texts.
func (*Gate) Type() string { return "[MODULE=]PERCENT" }

func formatPercent(percent float64) string {
	return strconv.FormatFloat(percent, 'f', -1, 64)
}
