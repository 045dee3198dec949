package changes_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/changes"
	"github.com/slipway-cd/slipway/ci/internal/config/platform"
)

func TestForWorkflow(t *testing.T) {
	const production = `{"environment":"production","plan_role":"AWS_PLAN_ROLE_PRODUCTION"}`
	const staging = `{"environment":"staging","plan_role":"AWS_PLAN_ROLE_STAGING"}`
	promotion := func(to, from string) string { return `{"environment":"` + to + `","from":"` + from + `"}` }
	to := func(to, from string) string { return "[" + promotion(to, from) + "]" }
	for name, tt := range map[string]struct{ all, named, matrix, release, promote string }{
		"production":                {"production", "", production, "production", ""},
		"staging and production":    {"production staging", "", production + "," + staging, "staging", to("production", "staging")},
		"one named":                 {"production staging", "staging", staging, "staging", to("production", "staging")},
		"staging":                   {"staging", "", staging, "staging", ""},
		"one of another name":       {"live-eu", "", `{"environment":"live-eu","plan_role":"AWS_PLAN_ROLE_LIVE_EU"}`, "live-eu", ""},
		"production and another":    {"dev production", "production", production, "production", ""},
		"promote_from":              {"dev eu<stage stage us<stage", "dev", `{"environment":"dev","plan_role":"AWS_PLAN_ROLE_DEV"}`, "stage", "[" + promotion("eu", "stage") + "," + promotion("us", "stage") + "]"},
		"a chain":                   {"dev production<staging staging<dev", "dev", `{"environment":"dev","plan_role":"AWS_PLAN_ROLE_DEV"}`, "dev", to("staging", "dev")},
		"several, and neither name": {"blue green", "blue", `{"environment":"blue","plan_role":"AWS_PLAN_ROLE_BLUE"}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var all []platform.Environment
			for one := range strings.FieldsSeq(tt.all) {
				name, from, _ := strings.Cut(one, "<")
				all = append(all, platform.Environment{Name: name, PromoteFrom: from})
			}
			got, err := changes.ForWorkflow(all, tt.named).Outputs()
			require.NoError(t, err)
			require.Equal(t, "environments=["+tt.matrix+"]\nrelease="+tt.release+"\npromote="+tt.promote+"\n", got)
		})
	}
}
