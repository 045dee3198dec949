package delivery

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/config/platform"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestRunnable(t *testing.T) {
	definition := types.TaskDefinition{
		TaskDefinitionArn:    aws.String("arn:aws:ecs:us-east-1:1:task-definition/ecs-api-task:3"),
		ContainerDefinitions: []types.ContainerDefinition{{Name: aws.String("api")}, {Name: aws.String("agent")}},
	}
	api := platform.Service{Name: "api"}
	require.NoError(t, requireActive(api, definition))
	definition.Status = types.TaskDefinitionStatusInactive
	require.EqualError(t, requireActive(api, definition), "api runs ecs-api-task:3, which is deregistered, so ECS starts no task of it: name a commit (--sha), or register it again (slipway deploy --force)")
	require.NoError(t, requireContainer(definition, ""))
	require.NoError(t, requireContainer(definition, "agent"))
	err := requireContainer(definition, "agnt")
	require.ErrorContains(t, err, "it has api, agent")
	require.Equal(t, outcome.Usage, outcome.Of(err))
}
