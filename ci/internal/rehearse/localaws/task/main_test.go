package task

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"dagger/slipway/internal/rehearse/localaws/localawstest/testapp"
)

var binary string // the compiled test service

func TestMain(m *testing.M) {
	if os.Getenv(victim) != "" {
		beVictim()
		return
	}
	dir, err := os.MkdirTemp("", "testapp-")
	if err == nil {
		binary, err = testapp.Build(context.Background(), dir)
	}
	if err != nil {
		_ = os.RemoveAll(dir)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}
