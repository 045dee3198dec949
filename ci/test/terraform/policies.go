package terraform

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/infratest"
)

// Grants are the policies of bootstrap/ and the roles that have them.
type Grants struct {
	// Policies are the rendered documents, by their names in
	// terraform/modules/bootstrap/policies.
	Policies map[string]string
	// Roles are the names of each role's policies: build, deploy, plan, apply.
	Roles map[string][]string
}

// Bootstrap returns a workspace for Policies.
func Bootstrap(t testing.TB) *infratest.Workspace {
	t.Helper()
	w := infratest.New(t, "bootstrap")
	w.Offline()
	w.Init()
	return w
}

// Policies renders bootstrap's policies without an account, for the repository
// acme/shop. Further arguments are Terraform's, such as -var services=["backend"].
func Policies(t testing.TB, w *infratest.Workspace, arguments ...string) Grants {
	t.Helper()
	plan := w.Plan(append([]string{"-refresh=false", "-var=account_id=" + infratest.Account, "-var=github_repository=acme/shop"}, arguments...)...)
	grants := Grants{Policies: map[string]string{}, Roles: map[string][]string{}}
	for name, policy := range output[map[string]any](t, plan.PlannedValues.Outputs["policies"].Value) {
		grants.Policies[name] = output[string](t, policy)
	}
	for role, names := range output[map[string]any](t, plan.PlannedValues.Outputs["role_policies"].Value) {
		for _, name := range output[[]any](t, names) {
			grants.Roles[role] = append(grants.Roles[role], output[string](t, name))
		}
	}
	return grants
}

func output[T any](t testing.TB, value any) T {
	t.Helper()
	typed, ok := value.(T)
	require.True(t, ok, "an output is %T", value)
	return typed
}
