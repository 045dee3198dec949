package localaws_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/slipway/internal/rehearse/localaws"
	"dagger/slipway/internal/rehearse/localaws/localawstest"
)

// TestBoto3 calls the embedded AWS with boto3, which validates the responses by AWS's
// models.
func TestBoto3(t *testing.T) {
	if err := exec.Command("python3", "-c", "import boto3").Run(); err != nil {
		t.Skip("needs python3 with boto3:", err)
	}
	p := localawstest.New(t, binary, localaws.Options{TimeScale: 10})
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "python3", "testdata/boto3_session.py",
		p.Server.Endpoint(), p.PushImage("one"), p.PushImage("two"), p.PushImage("bad", "exit", "7"))
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var seen struct {
		ARN          string
		Repositories []string
		Health       []string
		Rolling      []string
		Events       []string
		Failed       [][2]any
		Log          []string
		History      []string
		Deregistered string
		NoCluster    string `json:"unknown cluster"`
		NoOperation  string `json:"unknown operation"`
		NoAction     string `json:"unknown action"`
		NoService    string `json:"unknown service"`
	}
	require.NoError(t, json.Unmarshal(out, &seen))
	require.Equal(t, "arn:aws:iam::000000000000:user/local", seen.ARN)
	require.Equal(t, []string{"app"}, seen.Repositories)
	require.Equal(t, []string{"healthy", "healthy"}, seen.Health)
	require.Equal(t, []string{"PRIMARY", "ACTIVE"}, seen.Rolling)
	require.Equal(t, "(service py) has reached a steady state.", seen.Events[0])
	require.GreaterOrEqual(t, len(seen.Failed), 3)
	require.True(t, slices.Contains(seen.Failed, [2]any{"Essential container in task exited", 7.0}))
	require.Equal(t, []string{"starting bad", "panic: the database is on fire"}, seen.Log)
	require.Equal(t, []string{"ROLLBACK_SUCCESSFUL", "SUCCESSFUL", "SUCCESSFUL"}, seen.History)
	require.Equal(t, "INACTIVE", seen.Deregistered)
	require.Equal(t, "ClusterNotFoundException", seen.NoCluster)
	require.Equal(t, "UnknownOperationException", seen.NoOperation)
	require.Equal(t, "InvalidAction", seen.NoAction)
	require.Equal(t, "NotImplemented", seen.NoService)
}
