package infra

import (
	"regexp"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/infra/module"
	"github.com/slipway-cd/slipway/ci/internal/infra/summary"
)

// index matches the index of an instance in an address.
var index = regexp.MustCompile(`\[(?:"(?:[^"\\]|\\.)*"|\d+)\]`)

// withoutIgnored removes from drift what the configuration ignores changes of: something
// else sets it, as releases set the revision of an ECS service.
func (s Stage) withoutIgnored(w *workDir, drift []summary.Resource) []summary.Resource {
	dirs, modules := w.modules(s.folder()), map[string]module.Module{}
	kept := []summary.Resource{}
	for _, r := range drift {
		// module.a.module.b.TYPE.NAME
		parts := strings.Split(index.ReplaceAllString(r.Address, ""), ".")
		var calls []string
		for len(parts) > 2 && parts[0] == "module" {
			calls, parts = append(calls, parts[1]), parts[2:]
		}
		call := strings.Join(calls, ".")
		if _, known := modules[call]; !known {
			dir := dirs[call]
			if call == "" {
				dir = s.folder()
			}
			modules[call], _ = module.Read(dir, s.folder()) // without one, nothing is ignored
		}
		ignored := modules[call].Ignored[strings.Join(parts, ".")]
		r.Attributes = slices.DeleteFunc(r.Attributes, func(a summary.Attribute) bool {
			return slices.ContainsFunc(ignored, func(path string) bool {
				return path == "all" || a.Path == path || strings.HasPrefix(a.Path, path+".") || strings.HasPrefix(a.Path, path+"[")
			})
		})
		if r.Action != summary.Update || len(r.Attributes) > 0 {
			kept = append(kept, r)
		}
	}
	return kept
}
