//go:build never

package sourcetest

// What only tests import: Dagger's code generation tidies go.mod, and sees no tests.
import _ "pgregory.net/rapid"
