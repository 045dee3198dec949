// Command generate writes the schemas to docs/schema: go generate
// ./ci/internal/schema runs it in the package's folder.
package main

import (
	"fmt"
	"os"

	"dagger/slipway/internal/schema"
)

func main() {
	if err := schema.Write("../../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
