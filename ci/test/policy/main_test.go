package policy_test

import (
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/sourcetest"
)

func TestMain(m *testing.M) { sourcetest.RunTests(m) }
