package cli

import (
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"dagger/slipway/internal/inspect"
	"dagger/slipway/internal/outcome"
	"dagger/slipway/internal/registry"
	"dagger/slipway/internal/report"
)

func (a *app) inspectCommand() *cobra.Command {
	var against, built, platform string
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Tell what is in an image, or what two images differ in",
		Long: `Inspect tells the layers, files, configuration and Go modules of an image: the
folder of an OCI image layout, a service that was built, or a reference into a
registry, which gets the login of docker login.`,
		Example: `  slipway inspect backend
  slipway inspect backend --against registry.example.com/backend:latest
  slipway inspect .slipway/build/frontend --platform linux/arm64 --output json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return outcome.Usagef("inspect takes one image, and got %d: name the other one with --against", len(args))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&against, "against", "", "tell what IMAGE has otherwise than this image (default tells what is in it)")
	cmd.Flags().StringVar(&built, "built", "", "directory of the layouts that slipway build wrote (default SOURCE/.slipway/build)")
	cmd.Flags().StringVar(&platform, "platform", "", "look at this platform only, such as linux/arm64 (default all)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if built == "" {
			built = filepath.Join(a.source, ".slipway", "build")
		}
		carrier := registry.NewTransport()
		defer carrier.CloseIdleConnections()
		opener := inspect.Opener{Built: built, Transport: carrier}
		open := func(what string) (img inspect.Image, err error) {
			img, err = opener.Open(ctx, what)
			if err == nil && platform != "" {
				img, err = img.Only(platform)
			}
			return img, err
		}
		img, err := open(args[0])
		if err != nil {
			return err
		}
		if against == "" {
			found, err := inspect.Inspect(ctx, img)
			if err != nil {
				return err
			}
			return a.printText(found, found.WriteText)
		}
		other, err := open(against)
		if err != nil {
			return err
		}
		difference, err := inspect.Compare(ctx, other, img)
		if err != nil {
			return err
		}
		return a.printText(difference, difference.WriteText)
	}
	return cmd
}

// printText prints what has a text for people and is a document for programs.
func (a *app) printText(document any, write func(io.Writer)) error {
	switch a.output {
	case jsonDoc:
		return report.WriteJSON(a.stdout, document)
	case markdown:
		var b strings.Builder
		write(&b)
		fence := report.Fence(b.String())
		return report.WriteMarkdown(a.stdout, fence+"\n"+b.String()+fence+"\n")
	default:
		write(a.stdout)
	}
	return nil
}
