package leak

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTokenForms: a format is searched for only in text that has one of its
// markers, so each format must be found by each of them, also in the middle of a
// text.
func TestTokenForms(t *testing.T) {
	x := strings.Repeat("X7abc", 8)
	examples := []string{
		"AKIA" + strings.Repeat("AB", 8), "ASIA" + strings.Repeat("AB", 8), "eyJ" + x + ".a.b",
		"ghp_" + x, "gho_" + x, "ghu_" + x, "ghs_" + x, "ghr_" + x, "github_pat_" + x, "glpat-" + x, "xoxb-" + x, "xapp-" + x,
		"hooks.slack.com/services/a", "discord.com/api/webhooks/a", "discordapp.com/api/webhooks/a",
		"a.webhook.office.com/a", "outlook.office.com/webhook/a", "outlook.office365.com/webhook/a", "bot1:" + x,
		"sk_live_a", "rk_test_a", "whsec_a", "sk-" + x, "AIza" + x, "ya29.a", "SG." + x + "." + x, "npm_" + x, "pypi-" + x,
		"dckr_pat_" + x, "doo_v1_" + x, "hvs." + x, "hvb." + x, "hvr." + x, "NRAK-" + x, "dapi" + strings.Repeat("0a", 16), "AGE-SECRET-KEY-1a",
	}
	for _, form := range tokenForms {
		alone := regexp.MustCompile(form.pattern)
		for _, mark := range strings.Fields(form.marks) {
			found := false
			for _, example := range examples {
				found = found || strings.Contains(example, mark) && alone.FindString(example) == example
			}
			require.True(t, found, "no example of %s with %s", form.pattern, mark)
		}
	}
	for _, example := range examples {
		require.Equal(t, "it is (hidden), no?", Redact("it is "+example+", no?"), example)
	}
}

func TestLongestWord(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 1, " ": 0, "ab c": 2, "a b+/_-9Z": 7, "é": 0, "abc.": 3} {
		require.Equal(t, want, longestWord(text), text)
	}
}

// TestMayHaveSecretName: names are searched for only in text that has a part of a secret one,
// so each secret name must have one.
func TestMayHaveSecretName(t *testing.T) {
	names := []string{"DBPASS", "db_keys", "apiKey", "X-Auth", "x.pass", "tokenizPat", "tokenizer_key", "passtokenizw", "privateKey"}
	for _, name := range slices.Concat(names, secretParts, secretWords, secretEnds) {
		require.True(t, IsSecretName(name), name)
		for _, name := range []string{name, strings.ToUpper(name), "my_" + name} {
			require.True(t, mayHaveSecretName("it is: "+name+" = x"), name)
		}
	}
	require.False(t, mayHaveSecretName("service: number=1"))
}
