package cli

import (
	"github.com/spf13/cobra"

	"dagger/slipway/internal/pipeline"
	"dagger/slipway/internal/release/delivery"
	"dagger/slipway/internal/report/outcome"
)

// publishFlags are those of publish.
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
		Long: `Publish pushes what the registry lacks of the images of a commit, and tags them
with its full id. The tree must be clean and at that commit. A tag is never
moved: one that names another image is refused (exit code 5). Only "latest"
moves, where the registry says that it may (--latest moves it anywhere,
--latest=false nowhere).

The registry is the AWS account's own, or any other with --registry; its login
is then that of Docker's configuration ("docker login") or credential helpers.

A bill of materials and the provenance are attached before the tag is written,
signed with --sign-key or as the job of GitHub Actions that it is.`,
		Example: `  slipway publish
  slipway publish --service backend --output json
  slipway publish --registry registry.example.com/team --latest
  slipway publish --sha 4d91040c9a3e0f5d1f6c2a7b8e9d0c1b2a3f4e5d --from .slipway/build`,
	}
	cmd.Flags().StringVar(&f.SHA, "sha", "", "full id of the commit to publish (default the tree's)")
	cmd.Flags().StringSliceVar(&f.Services, "service", nil, "publish only these services (default all)")
	cmd.Flags().StringSliceVar(&f.Platforms, "platform", nil, "platforms to build for (default linux/amd64,linux/arm64)")
	cmd.Flags().StringVar(&f.Registry, "registry", "", "publish to this registry, HOST[/PREFIX] (default the AWS account's)")
	cmd.Flags().StringVar(&f.latest, "latest", "auto", "move the tag latest: auto (where the registry says that it may), true or false")
	cmd.Flags().Lookup("latest").NoOptDefVal = "true"
	cmd.Flags().StringVar(&f.From, "from", "", "publish the layouts in this directory, which build wrote (default builds)")
	bindRegion(cmd, &f.region)
	f.sign.bind(cmd)
	cmd.Flags().StringVar(&f.sign.TrustedRoot, "trusted-root", "", "what sigstore's services are known by, as a file (default asks sigstore's public ones)")
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

// parse reads what the flags say.
func (f *publishFlags) parse() error {
	switch f.latest {
	case "auto":
	case "true", "false":
		move := f.latest == "true"
		f.Latest = &move
	default:
		return outcome.Usagef("--latest %q: take auto, true or false", f.latest)
	}
	if f.From != "" && len(f.Platforms) > 0 {
		return outcome.Usagef("--platform says what to build, and with --from nothing is built: leave out one of them")
	}
	if f.Registry != "" && f.region != "" {
		return outcome.Usagef("--region is the AWS account's, and --registry names another registry: leave out one of them")
	}
	return nil
}
