package policy_test

import (
	"testing"

	"dagger/slipway/internal/sourcetest"
)

func TestMain(m *testing.M) { sourcetest.RunTests(m) }
