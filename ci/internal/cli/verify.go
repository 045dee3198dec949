package cli

import (
	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/images/supplychain"
)

func (a *app) verifyCommand() *cobra.Command {
	var f releaseFlags
	var trust supplychain.Trust
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify the signatures of a commit's images",
		Long: `Verify verifies with cosign that the images of a commit are signed by a trusted key
or by an identity that sigstore has certified. It exits with 5 if one is not. It
changes nothing.`,
		Example: `  slipway verify --key cosign.pub
  slipway verify --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --output json \
    --identity https://github.com/OWNER/REPO/.github/workflows/deliver.yml@refs/heads/main`,
	}
	f.bind(cmd)
	bindTrust(cmd, &trust)
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of the commit (default the tree's)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		f.Trust = &trust
		checked, err := a.pipeline(f.region, nil).Verify(cmd.Context(), f.services, f.Options)
		if len(checked.Images) == 0 && err != nil {
			return err
		}
		return a.printDocument(checked, err)
	}
	return cmd
}
