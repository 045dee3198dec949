package ecs_test

import (
	"testing"

	"dagger/slipway/internal/rehearse/localaws/localawstest/testapp"
)

var binary string // the compiled test service

func TestMain(m *testing.M) { testapp.RunTests(m, &binary) }
