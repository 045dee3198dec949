package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/slipway-cd/slipway/ci/internal/images/image"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func (a *app) lockCommand() *cobra.Command {
	var check bool
	var names []string
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Update the digests of the base images",
		Long: `Lock looks up the current digests of the images in ` + image.LockFile + `
and writes them to that file. It does not write a file that is up to date. For
registries that require a login it uses the credentials of docker login.

A tree without this file uses the images that are built into slipway. Lock then
writes the file with them, or with those of --image.`,
		Example: `  slipway lock
  slipway lock --image nginx
  slipway lock --check`,
	}
	cmd.Flags().BoolVar(&check, "check", false, "change no file, and exit with 1 if the file is not up to date")
	cmd.Flags().StringSliceVar(&names, "image", nil, "lock only these images (default all)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		renewed, err := a.pipeline("", nil).Lock(cmd.Context(), check, names...)
		if err != nil {
			return err
		}
		if check && renewed.Stale() {
			a.code = outcome.Failed
			fmt.Fprintf(a.stderr, "%s is not up to date: run slipway lock and commit the file\n", image.LockFile)
		}
		return a.printDocument(renewed, nil)
	}
	return cmd
}
