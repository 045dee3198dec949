package localawstest_test

import (
	"testing"

	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest/testapp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPlatform(t *testing.T) {
	binary, err := testapp.Build(t.Context(), t.TempDir())
	require.NoError(t, err)
	p := localawstest.New(t, binary, localaws.Options{TimeScale: 10})
	require.NotEqual(t, p.Group, p.UnattachedGroup())
	require.Empty(t, localawstest.EventMessages(ecstypes.Service{}))
	p.CreateService(p.RegisterTaskDefinition(p.PushImage("one"), func(d *ecstypes.ContainerDefinition) { d.StopTimeout = nil }))
	p.WaitStable()
	require.Equal(t, "one", p.Version())
	p.UpdateService(p.RegisterTaskDefinition(p.PushImage("two")))
	s := p.WaitStable()
	require.Equal(t, "two", p.Version())
	require.Equal(t, "(service app) has reached a steady state.", localawstest.EventMessages(s)[len(s.Events)-1])
	require.Len(t, localawstest.TaskID(p.DescribeTasks(ecstypes.DesiredStatusRunning)[0]), 32)
}
