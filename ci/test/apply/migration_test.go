package apply_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/infra/mototest"
	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
	"github.com/slipway-cd/slipway/ci/test/infratest"
	"github.com/slipway-cd/slipway/ci/test/terraform"
)

const oldBucket = "my-terraform-state"

// TestTheReferenceSystemMovesIn follows the migration in terraform/README.md, with its
// code blocks, from resources with the reference system's names in AWS. What holds data
// and what the pipeline depends on must be imported, not replaced.
func TestTheReferenceSystemMovesIn(t *testing.T) {
	if os.Getenv("SLIPWAY_MIGRATION") == "" {
		t.Skip("two applies to moto take minutes, and the way is gone once: SLIPWAY_MIGRATION=1 go -C ci/test test -run ReferenceSystem ./apply")
	}
	t.Parallel()
	endpoint, environment := mototest.Start(t)
	site := site{t: t, endpoint: endpoint}
	site.object(http.MethodPut, "/"+oldBucket, "")

	reference, err := os.ReadFile("testdata/reference.tf")
	require.NoError(t, err)
	old := infratest.NewFromSource(t, string(reference), environment...)
	old.Init()
	started := time.Now()
	old.Run("apply", "-auto-approve")
	t.Logf("a system with the reference's names: %d resources, in %.0f s", len(managed(old.State())), time.Since(started).Seconds())

	t.Run("moved", func(t *testing.T) {
		// Nothing is applied: the plan shows what happens to existing resources.
		main := infratest.New(t, ".", environment...)
		main.Write("modules/platform/kms_override.tf", withoutKey)
		main.Write("moved.tf", block(t, "moved {"))
		main.Init("-backend-config=bucket=" + oldBucket)
		plan := main.Plan(append([]string{"-lock=false"}, motoPlatform...)...)
		taken := map[string]string{}
		for _, change := range plan.ResourceChanges {
			if change.PreviousAddress != "" {
				require.False(t, change.Change.Actions.Replace() || change.Change.Actions.Delete(), change.Address)
				taken[change.PreviousAddress] = change.Address
			}
		}
		require.Equal(t, map[string]string{
			"aws_ecr_repository.backend": addressPrefix + `aws_ecr_repository.service["backend"]`, "aws_ecr_repository.frontend": addressPrefix + `aws_ecr_repository.service["frontend"]`,
			"aws_cloudwatch_log_group.backend": addressPrefix + `aws_cloudwatch_log_group.service["backend"]`, "aws_cloudwatch_log_group.frontend": addressPrefix + `aws_cloudwatch_log_group.service["frontend"]`,
		}, taken)
	})

	stays := regexp.MustCompile(stays(t))
	keep := []string{"state", "rm"}
	for line := range strings.Lines(old.Run("state", "list")) {
		if line = strings.TrimSpace(line); stays.MatchString(line) {
			keep = append(keep, line)
		}
	}
	require.Len(t, keep[2:], 14, keep)
	old.Run(keep...)
	old.Write("main.tf", strings.Replace(string(reference), "import {\n  to = aws_s3_bucket.terraform_state\n  id = \"my-terraform-state\"\n}\n", "", 1))
	started = time.Now()
	old.Run("destroy", "-auto-approve")
	t.Logf("what is made anew: destroyed in %.0f s", time.Since(started).Seconds())

	bootstrap := infratest.New(t, "bootstrap", environment...)
	bootstrap.Write("../modules/bootstrap/moto_override.tf", terraform.NotMotos)
	bootstrap.Write("import.tf", block(t, "aws_s3_bucket.state"))
	bootstrap.Init()
	variables := []string{"-var=account_id=" + infratest.Account, "-var=github_repository=acme/shop", "-var=state_bucket=" + oldBucket}
	require.ElementsMatch(t, []string{
		"module.bootstrap.aws_s3_bucket.state", "module.bootstrap.aws_dynamodb_table.locks", "module.bootstrap.aws_iam_openid_connect_provider.github",
		`module.bootstrap.aws_iam_role.ci["deploy"]`, `module.bootstrap.aws_iam_role.ci["apply"]`, `module.bootstrap.aws_iam_role.ci["build"]`,
	}, imported(t, bootstrap.Plan(variables...)))
	bootstrap.Run("apply", "plan")
	require.Equal(t, motoKeepsTableUnencrypted, terraform.Changes(bootstrap.Plan(variables...)), "a second plan of bootstrap")

	main := infratest.New(t, ".", environment...)
	main.Write("import.tf", block(t, "aws_ecr_repository.service[each.key]"))
	main.Init("-backend-config=bucket=" + oldBucket)
	require.ElementsMatch(t, []string{
		addressPrefix + `aws_ecr_repository.service["backend"]`, addressPrefix + `aws_ecr_repository.service["frontend"]`,
		addressPrefix + `aws_cloudwatch_log_group.service["backend"]`, addressPrefix + `aws_cloudwatch_log_group.service["frontend"]`,
	}, imported(t, main.Plan(motoPlatform...)))
	started = time.Now()
	main.Run("apply", "plan")
	t.Logf("the platform: %d resources, 4 of them taken over, in %.0f s", len(managed(main.State())), time.Since(started).Seconds())
	p, err := platform.Read(sourcetest.Root("terraform"))
	require.NoError(t, err)
	site.checkNames(main.State(), p)
}

// motoKeepsTableUnencrypted is a change caused by moto, which stores the encryption of
// a new table, but not that of an existing one.
var motoKeepsTableUnencrypted = []string{"module.bootstrap.aws_dynamodb_table.locks: [update] [server_side_encryption]"}

// withoutKey replaces the key that bootstrap has not created yet.
const withoutKey = `data "aws_kms_alias" "platform" {
  name = "alias/aws/s3"
}
`

// imported returns the addresses that a plan imports. The plan must destroy nothing.
func imported(t *testing.T, plan *tfjson.Plan) []string {
	t.Helper()
	var addresses []string
	for _, change := range plan.ResourceChanges {
		if change.Mode == tfjson.DataResourceMode {
			continue
		}
		require.False(t, change.Change.Actions.Delete() || change.Change.Actions.Replace(), "%s is %v", change.Address, change.Change.Actions)
		if change.Change.Importing != nil {
			addresses = append(addresses, change.Address)
		}
	}
	return addresses
}

// block returns the only code block of terraform/README.md that contains text.
func block(t *testing.T, text string) string {
	t.Helper()
	var found []string
	for _, match := range regexp.MustCompile("(?s)```hcl\n(.*?)```").FindAllStringSubmatch(readme(t), -1) {
		if strings.Contains(match[1], text) {
			found = append(found, match[1])
		}
	}
	require.Len(t, found, 1, text)
	return found[0]
}

// stays returns the pattern of addresses that terraform/README.md removes from the
// state.
func stays(t *testing.T) string {
	t.Helper()
	match := regexp.MustCompile(`terraform state list \| grep -E '([^']+)'`).FindStringSubmatch(readme(t))
	require.NotNil(t, match)
	return match[1]
}

func readme(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(sourcetest.Repository("terraform/README.md"))
	require.NoError(t, err)
	return string(data)
}
