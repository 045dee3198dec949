package policy_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/test/policy"
)

const (
	issuer   = "token.actions.githubusercontent.com"
	provider = "arn:aws:iam::" + account + ":oidc-provider/" + issuer
)

// token has the claims of a GitHub OIDC token that AWS maps to condition keys.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_iam-condition-keys.html#condition-keys-wif
// https://docs.github.com/en/actions/reference/security/oidc
type token map[string]string

// Prefixes of sub: the original form, and the form of repositories created or renamed
// since mid-July 2026.
const (
	mutable   = "repo:acme/shop"
	immutable = "repo:acme@1234/shop@5678"
)

// job returns the token of a job of deliver.yml in acme/shop, on main.
func job(prefix string) token {
	return token{
		"aud": "sts.amazonaws.com", "sub": prefix + ":ref:refs/heads/main", "ref": "refs/heads/main", "repository": "acme/shop",
		"repository_id": "5678", "actor": "octocat", "actor_id": "1", "workflow": "CI",
		"job_workflow_ref": "acme/shop/.github/workflows/deliver.yml@refs/heads/main",
	}
}

// with returns the token with other claims; "" removes a claim.
func (t token) with(claims token) token {
	t = maps.Clone(t)
	maps.Copy(t, claims)
	maps.DeleteFunc(t, func(_, value string) bool { return value == "" })
	return t
}

// request returns the request to assume a role with the token.
func (t token) request() policy.Request {
	r := policy.Request{Action: "sts:AssumeRoleWithWebIdentity", Resource: "*", Context: map[string][]string{}}
	r.Principal.Kind, r.Principal.Name = "Federated", provider
	for claim, value := range t {
		r.Context[issuer+":"+claim] = []string{value}
	}
	return r
}

// TestTrust presents tokens to every role, in both forms of sub.
func TestTrust(t *testing.T) {
	for name, prefix := range map[string]string{"names": mutable, "names and numbers": immutable} {
		t.Run(name, func(t *testing.T) {
			rendered := grants(t, map[string]any{"github_subject_prefix": prefix})
			other := map[string]string{mutable: immutable, immutable: mutable}[prefix]
			forked := map[string]string{mutable: "repo:evil/shop", immutable: "repo:evil@666/shop@5678"}[prefix]

			main := job(prefix)
			production := main.with(token{"sub": prefix + ":environment:production", "environment": "production"})
			apply := production.with(token{"job_workflow_ref": "acme/shop/.github/workflows/infrastructure.yml@refs/heads/main"})
			pull := main.with(token{
				"sub": prefix + ":pull_request", "ref": "refs/pull/7/merge", "job_workflow_ref": "acme/shop/.github/workflows/deliver.yml@refs/pull/7/merge",
			})
			fork := func(of token) token {
				return of.with(token{
					"sub": forked + of["sub"][len(prefix):], "repository": "evil/shop", "repository_id": "666",
					"job_workflow_ref": "evil/shop/.github/workflows/deliver.yml@" + of["ref"],
				})
			}
			tests := map[string]struct {
				token token
				roles []string // roles that may be assumed
			}{
				"main":                               {main, []string{"build", "plan"}},
				"main, in production":                {production, []string{"deploy"}},
				"the workflow that applies":          {apply, []string{"apply"}},
				"a pull request":                     {pull, []string{"plan"}},
				"the workflow, not in production":    {apply.with(token{"sub": prefix + ":ref:refs/heads/main", "environment": ""}), []string{"plan"}},
				"another branch":                     {main.with(token{"sub": prefix + ":ref:refs/heads/feature", "ref": "refs/heads/feature"}), nil},
				"a branch that begins like main":     {main.with(token{"sub": prefix + ":ref:refs/heads/main2", "ref": "refs/heads/main2"}), nil},
				"a branch in another case":           {main.with(token{"sub": prefix + ":ref:refs/heads/Main", "ref": "refs/heads/Main"}), nil},
				"a tag that is called main":          {main.with(token{"sub": prefix + ":ref:refs/tags/main", "ref": "refs/tags/main"}), nil},
				"a branch that is not the subject's": {main.with(token{"ref": "refs/heads/feature"}), []string{"plan"}},
				"another branch, in production":      {production.with(token{"ref": "refs/heads/feature"}), nil},
				"another branch's workflow":          {production.with(token{"job_workflow_ref": "acme/shop/.github/workflows/deliver.yml@refs/heads/feature"}), nil},
				"a pull request, in production":      {production.with(token{"ref": "refs/pull/7/merge", "job_workflow_ref": pull["job_workflow_ref"]}), nil},
				"another environment":                {production.with(token{"sub": prefix + ":environment:staging", "environment": "staging"}), nil},
				"one that begins like it":            {production.with(token{"sub": prefix + ":environment:production2"}), nil},
				"another workflow":                   {production.with(token{"job_workflow_ref": "acme/shop/.github/workflows/drift.yml@refs/heads/main"}), nil},
				"another workflow, on main":          {main.with(token{"job_workflow_ref": "acme/shop/.github/workflows/drift.yml@refs/heads/main"}), []string{"plan"}},
				"somebody else's workflow":           {production.with(token{"job_workflow_ref": "evil/shop/.github/workflows/deliver.yml@refs/heads/main"}), nil},
				"no workflow":                        {production.with(token{"job_workflow_ref": ""}), nil},
				"no branch":                          {production.with(token{"ref": ""}), nil},
				"another audience":                   {production.with(token{"aud": "https://github.com/acme"}), nil},
				"no audience":                        {production.with(token{"aud": ""}), nil},
				"no audience, applying":              {apply.with(token{"aud": ""}), nil},
				"no audience, on main":               {main.with(token{"aud": ""}), nil},
				"no audience, of a pull request":     {pull.with(token{"aud": ""}), nil},
				"no subject":                         {production.with(token{"sub": ""}), nil},
				"a fork":                             {fork(main), nil},
				"a fork, in production":              {fork(production), nil},
				"a fork, applying":                   {fork(apply), nil},
				"a pull request within a fork":       {fork(pull), nil},
				"a fork that claims our name":        {fork(production).with(token{"repository": "acme/shop", "job_workflow_ref": production["job_workflow_ref"]}), nil},
				"a repository that begins like it":   {production.with(token{"sub": prefix + "2:environment:production"}), nil},
				"the other form of a subject":        {production.with(token{"sub": other + ":environment:production"}), nil},
				"the other form, on main":            {main.with(token{"sub": other + ":ref:refs/heads/main"}), nil},
				"the other form, of a pull request":  {pull.with(token{"sub": other + ":pull_request"}), nil},
				"another repository of that number":  {production.with(token{"sub": "repo:acme@1234/shop@5679:environment:production"}), nil},
				"a subject with a wildcard":          {production.with(token{"sub": prefix + ":*"}), nil},
			}
			for name, tt := range tests {
				t.Run(name, func(t *testing.T) {
					var roles []string
					for _, role := range []string{"build", "deploy", "plan", "apply"} {
						if assumable(t, rendered.Policies["trust-"+role], tt.token.request()) {
							roles = append(roles, role)
						}
					}
					require.Equal(t, tt.roles, roles)
				})
			}
			for _, role := range []string{"build", "deploy", "plan", "apply"} {
				for _, good := range []token{main, production, apply, pull} {
					elsewhere := good.request()
					elsewhere.Principal.Name = "arn:aws:iam::" + account + ":oidc-provider/evil.example"
					require.False(t, assumable(t, rendered.Policies["trust-"+role], elsewhere), "tokens of another issuer")
					user := good.request()
					user.Principal.Kind, user.Principal.Name = "AWS", "arn:aws:iam::"+account+":root"
					require.False(t, assumable(t, rendered.Policies["trust-"+role], user), "the account's own users")
					plain := good.request()
					plain.Action = "sts:AssumeRole"
					require.False(t, assumable(t, rendered.Policies["trust-"+role], plain))
				}
			}
		})
	}
}

// TestTrustTakesItsVariables checks that branch, environment and workflow come from
// bootstrap's variables.
func TestTrustTakesItsVariables(t *testing.T) {
	rendered := grants(t, map[string]any{"github_branch": "trunk", "github_environment": "live", "github_workflows": map[string]string{"deploy": "ship.yml"}})
	own := job(mutable).with(token{
		"sub": mutable + ":environment:live", "ref": "refs/heads/trunk", "job_workflow_ref": "acme/shop/.github/workflows/ship.yml@refs/heads/trunk",
	})
	require.True(t, assumable(t, rendered.Policies["trust-deploy"], own.request()))
	require.False(t, assumable(t, rendered.Policies["trust-apply"], own.request()))
	for _, standard := range []token{{"sub": mutable + ":environment:production"}, {"ref": "refs/heads/main"}, {"job_workflow_ref": job(mutable)["job_workflow_ref"]}} {
		require.False(t, assumable(t, rendered.Policies["trust-deploy"], own.with(standard).request()))
	}
}

// TestTrustOfACalledWorkflow: the roles of a repository that calls the workflows of a release
// trust these, in its own jobs.
func TestTrustOfACalledWorkflow(t *testing.T) {
	const release = "slipway-cd/slipway/.github/workflows/deliver.yml@refs/tags/v1.2.3"
	const applying = "slipway-cd/slipway/.github/workflows/infrastructure.yml@refs/tags/v1.2.3"
	rendered := grants(t, map[string]any{"github_workflows": map[string]string{"build": release, "deploy": release, "apply": applying}})
	production := job(mutable).with(token{"sub": mutable + ":environment:production", "environment": "production", "job_workflow_ref": release})
	tests := map[string]struct {
		token token
		role  string // that may be assumed
	}{
		"deploy":                      {production, "deploy"},
		"apply":                       {production.with(token{"job_workflow_ref": applying}), "apply"},
		"another repository calls it": {production.with(token{"sub": "repo:evil/shop:environment:production", "repository": "evil/shop"}), ""},
		"another branch calls it":     {production.with(token{"ref": "refs/heads/feature"}), ""},
		"another environment":         {production.with(token{"sub": mutable + ":environment:staging"}), ""},
		"another release":             {production.with(token{"job_workflow_ref": strings.Replace(release, "v1.2.3", "v1.2.4", 1)}), ""},
		"its main branch":             {production.with(token{"job_workflow_ref": strings.Replace(release, "tags/v1.2.3", "heads/main", 1)}), ""},
		"a fork of it":                {production.with(token{"job_workflow_ref": strings.Replace(release, "slipway-cd", "mallory", 1)}), ""},
		"the repository's own file":   {production.with(token{"job_workflow_ref": "acme/shop/.github/workflows/deliver.yml@refs/heads/main"}), ""},
		"a workflow beside it":        {production.with(token{"job_workflow_ref": strings.Replace(release, "deliver", "drift", 1)}), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, role := range []string{"build", "deploy", "apply"} {
				require.Equal(t, role == tt.role, assumable(t, rendered.Policies["trust-"+role], tt.token.request()), role)
			}
		})
	}
}

func assumable(t *testing.T, text string, r policy.Request) bool {
	t.Helper()
	trust, err := policy.ParseTrust(text)
	require.NoError(t, err)
	verdict, err := policy.Policies{trust}.Decide(r)
	require.NoError(t, err)
	return verdict.Decision == policy.Allowed
}
