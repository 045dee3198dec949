//go:build never

package sourcetest

// What only tests import: Dagger's code generation tidies go.mod, and sees no tests.
import (
	_ "github.com/google/go-containerregistry/pkg/v1/validate"
	_ "pgregory.net/rapid"
)
