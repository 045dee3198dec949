package cli

import (
	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/pipeline"
	"github.com/slipway-cd/slipway/ci/internal/release/delivery"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// publishFlags are the flags of publish.
type publishFlags struct {
	pipeline.PublishOptions
	region, latest string
	sign           signFlags
}

func (a *app) publishCommand() *cobra.Command {
	var f publishFlags
	cmd := &cobra.Command{
		Use:   "publish",
		Short: "Publish the images of a commit",
		Long: `Publish builds the images of a commit, pushes what the registry lacks, and tags
them with the commit's full id. The tree must be clean and at that commit. Publish
never moves a tag: if the tag exists with another digest, it refuses (exit code 5).
Only "latest" moves, if the registry allows it; --latest always moves it, and
--latest=false never does.

The registry is that of the AWS account. Use --registry for another one, with the
credentials of docker login or of a Docker credential helper.

An SBOM and provenance are attached before the tag is written, signed with
--sign-key or with the identity of the GitHub Actions job.`,
		Example: `  slipway publish
  slipway publish --service backend --output json
  slipway publish --registry registry.example.com/team --latest
  slipway publish --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --from .slipway/build`,
	}
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of the commit to publish (default HEAD)")
	cmd.Flags().StringSliceVar(&f.Services, "service", nil, "publish only these services (default all)")
	cmd.Flags().StringSliceVar(&f.Platforms, "platform", nil, "platforms to build for (default linux/amd64,linux/arm64)")
	cmd.Flags().StringVar(&f.Registry, "registry", "", "registry to publish to, HOST[/PREFIX] (default the AWS account's)")
	cmd.Flags().StringVar(&f.latest, "latest", "auto", "move the tag latest: auto (if the registry allows it), true or false")
	cmd.Flags().Lookup("latest").NoOptDefVal = "true"
	cmd.Flags().StringVar(&f.From, "from", "", "publish the OCI layouts in this directory, written by slipway build (default builds the images)")
	bindRegion(cmd, &f.region)
	f.sign.bind(cmd)
	cmd.Flags().StringVar(&f.sign.TrustedRoot, "trusted-root", "", "file with sigstore's trusted root (default that of the public sigstore instance)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.parse(); err != nil {
			return err
		}
		signer, err := a.signer(f.sign)
		if err != nil {
			return err
		}
		view, _ := a.view()
		p := a.pipeline(f.region, view)
		p.Attestations = delivery.Attestations{Off: f.sign.off, Signer: signer}
		published, err := p.Publish(cmd.Context(), f.PublishOptions)
		view.Close()
		if err != nil {
			return err
		}
		return a.printDocument(published, nil)
	}
	return cmd
}

// parse validates the flags and sets Latest.
func (f *publishFlags) parse() error {
	switch f.latest {
	case "auto":
	case "true", "false":
		move := f.latest == "true"
		f.Latest = &move
	default:
		return outcome.Usagef("invalid --latest %q: want auto, true or false", f.latest)
	}
	if f.From != "" && len(f.Platforms) > 0 {
		return outcome.Usagef("--platform and --from exclude each other: leave out one of them")
	}
	if f.Registry != "" && f.region != "" {
		return outcome.Usagef("--region and --registry exclude each other: leave out one of them")
	}
	return nil
}
