package binding

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// Difference is an input that changed after the plan was made.
type Difference struct {
	What       string
	Bound, Now string
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: bound %s, now %s", d.What, cmp.Or(d.Bound, "none"), cmp.Or(d.Now, "none"))
}

// Compare returns the inputs that differ from the current ones. Account and region
// count only if they are known.
func (b Binding) Compare(now Binding) []Difference {
	var found []Difference
	differ := func(what, bound, current string) {
		if bound != current {
			found = append(found, Difference{what, bound, current})
		}
	}
	differ("environment", b.Environment, now.Environment)
	differ("commit", b.Commit, now.Commit)
	differ("folder", b.Root, now.Root)
	found = append(found, compareMaps("configuration", b.Files, now.Files)...)
	differ("provider lock file", shortHash(b.ProviderLockHash), shortHash(now.ProviderLockHash))
	found = append(found, compareMaps("variables", b.Variables, now.Variables)...)
	differ("backend", b.Backend.String(), now.Backend.String())
	differ("workspace", b.Workspace, now.Workspace)
	differ("state lineage", b.State.Lineage, now.State.Lineage)
	if b.State.Lineage == now.State.Lineage {
		differ("state serial", fmt.Sprint(b.State.Serial), fmt.Sprint(now.State.Serial))
	}
	if b.Account != "" {
		differ("account", b.Account, now.Account)
	}
	if b.Region != "" {
		differ("region", b.Region, now.Region)
	}
	differ("Terraform", b.TerraformVersion, now.TerraformVersion)
	differ("plan file", shortHash(b.PlanSHA256), shortHash(now.PlanSHA256))
	return found
}

// MismatchError returns the refusal of a plan whose inputs changed, or nil without
// differences.
func MismatchError(differences []Difference) error {
	if len(differences) == 0 {
		return nil
	}
	lines := make([]string, len(differences))
	stateOnly := true
	for i, d := range differences {
		lines[i] = d.String()
		stateOnly = stateOnly && strings.HasPrefix(d.What, "state ")
	}
	hint := ""
	if stateOnly {
		hint = " (the state has changed, perhaps because this plan was already applied)"
	}
	return outcome.Refusedf("the inputs of the plan have changed: %s%s: plan again", strings.Join(lines, "; "), hint)
}

// compareMaps returns the entries that differ.
func compareMaps(what string, bound, now map[string]string) []Difference {
	names := slices.Collect(maps.Keys(bound))
	for name := range now {
		if _, ok := bound[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var found []Difference
	for _, name := range names {
		if bound[name] != now[name] {
			found = append(found, Difference{what + " (" + name + ")", shortHash(bound[name]), shortHash(now[name])})
		}
	}
	return found
}

// String returns the backend's type and settings.
func (b Backend) String() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(b.Config)) {
		parts = append(parts, fmt.Sprintf("%s=%v", key, b.Config[key]))
	}
	return strings.TrimSpace(b.Type + " " + strings.Join(parts, " "))
}

// shortHash returns the first 12 characters of a hash.
func shortHash(hash string) string {
	if _, text, ok := strings.Cut(hash, "sha256:"); ok && len(text) > 12 {
		return text[:12]
	}
	return hash
}
