package browser

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// sandboxVariable makes the test binary enter the sandbox instead of running tests.
const sandboxVariable = "BROWSER_TEST_SANDBOX"

func TestMain(m *testing.M) {
	if os.Getenv(sandboxVariable) != "" {
		enterSandbox() // does not return
	}
	goleak.VerifyTestMain(stopping{m})
}

// stopping stops the shared browser after the tests.
type stopping struct{ *testing.M }

func (s stopping) Run() int {
	defer StopChromium()
	return s.M.Run()
}
