package rollout

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/stretchr/testify/require"
)

// TestDefinitionsSurviveARelease renders task definitions that have what AWS's
// documentation shows for each feature. The image and VERSION of the container "app" are
// the only differences.
func TestDefinitionsSurviveARelease(t *testing.T) {
	const image, version = "repo@sha256:new", "v2"
	files, err := filepath.Glob("testdata/definitions/*.json")
	require.NoError(t, err)
	require.Len(t, files, 7)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			document, err := os.ReadFile(file)
			require.NoError(t, err)
			decoder := json.NewDecoder(bytes.NewReader(document))
			decoder.DisallowUnknownFields()
			var template types.TaskDefinition
			require.NoError(t, decoder.Decode(&template), "the SDK knows every field")
			template.Status, template.Revision, template.TaskDefinitionArn = types.TaskDefinitionStatusActive, 7, aws.String("arn:aws:ecs:us-east-1:1:task-definition/x:7")

			rendered, err := render(template, "app", image, version)
			require.NoError(t, err)
			var want any
			require.NoError(t, json.Unmarshal(document, &want))
			for _, container := range want.(map[string]any)["containerDefinitions"].([]any) {
				if c := container.(map[string]any); c["name"] == "app" {
					c["image"] = image
					variables, _ := c["environment"].([]any)
					for _, variable := range variables {
						if v := variable.(map[string]any); v["name"] == VersionVariable {
							v["value"] = version
						}
					}
				}
			}
			require.Equal(t, pruned(want), pruned(toTree(t, rendered)))

			var paths []string
			for _, change := range compare(registerInput(template), rendered) {
				paths = append(paths, change.Path)
			}
			require.Subset(t, []string{"containers.app.image", "containers.app.environment.VERSION"}, paths)
			require.Contains(t, paths, "containers.app.image")
		})
	}
}

func toTree(t *testing.T, value any) (tree any) {
	t.Helper()
	document, err := json.Marshal(value)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(document, &tree))
	return tree
}

// pruned returns a JSON tree without empty values and with keys in lower case, as the API
// and the SDK's types differ in these.
func pruned(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, value := range v {
			if value := pruned(value); value != nil {
				kept[strings.ToLower(key)] = value
			}
		}
		if len(kept) == 0 {
			return nil
		}
		return kept
	case []any:
		var kept []any
		for _, value := range v {
			kept = append(kept, pruned(value))
		}
		if len(kept) == 0 {
			return nil
		}
		return kept
	case string:
		if v == "" {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	}
	return tree
}
