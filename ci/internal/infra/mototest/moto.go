// Package mototest runs moto, an emulator of AWS with Terraform's services, for tests.
package mototest

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// motoTimeout is how long moto may take to start: it loads all of botocore.
const motoTimeout = time.Minute

// Start starts moto, an emulator of AWS, on a free port and returns the environment of
// its clients. It ends with the test, which is skipped if moto is not installed.
func Start(t testing.TB) (endpoint string, environment []string) {
	t.Helper()
	if _, err := exec.LookPath("moto_server"); err != nil {
		t.Skip("moto_server is not installed: pip install 'moto[server]==5.2.1'")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	host, port, err := net.SplitHostPort(address)
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(context.Background())
	var output bytes.Buffer
	command := exec.CommandContext(ctx, "moto_server", "-H", host, "-p", port)
	// Without MOTO_ECS_SERVICE_RUNNING, the tasks of a service would never run.
	command.Env = append(os.Environ(), "MOTO_IAM_LOAD_MANAGED_POLICIES=true", "MOTO_ECS_SERVICE_RUNNING=1")
	command.Stdout, command.Stderr = &output, &output
	require.NoError(t, command.Start())
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})

	endpoint = "http://" + address
	waitReady(t, endpoint, ended, &output)
	return endpoint, []string{
		"AWS_ENDPOINT_URL=" + endpoint, "AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any",
		"AWS_SESSION_TOKEN=", "AWS_PROFILE=", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
}

// waitReady waits until the server responds.
func waitReady(t testing.TB, endpoint string, ended chan error, output *bytes.Buffer) {
	t.Helper()
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(motoTimeout)
	for {
		if response, err := client.Get(endpoint + "/moto-api/"); err == nil {
			response.Body.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("moto_server ended: %v\n%s", err, output)
		case <-limit:
			t.Fatalf("moto_server did not respond within %s", motoTimeout)
		case <-tick.C:
		}
	}
}
