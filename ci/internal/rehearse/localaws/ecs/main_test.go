package ecs_test

import (
	"testing"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

var binary string // the compiled test service

func TestMain(m *testing.M) { testapp.RunTests(m, &binary) }
