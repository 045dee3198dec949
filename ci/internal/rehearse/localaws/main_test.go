package localaws_test

import (
	"os"
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

var binary string // the compiled test service

func TestMain(m *testing.M) {
	if os.Getenv(childDirVariable) != "" {
		runKilledChild()
		return
	}
	testapp.RunTests(m, &binary)
}
