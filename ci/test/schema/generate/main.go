// Command generate writes the schemas to docs/schema: go -C ci/test
// generate ./schema runs it in the package's folder.
package main

import (
	"fmt"
	"os"

	"github.com/slipway-cd/slipway/ci/test/schema"
)

func main() {
	if err := schema.Write("../../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
