package awsauth_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Planted secrets, which no error may contain.
const (
	plantedKey   = "AKIAPLANTED"
	plantedToken = "planted-runner-token"
	plantedJWT   = "planted.jwt.value"
)

// clean removes all credentials settings from the environment and sets those of the
// test. Calls are not retried.
func clean(t *testing.T, env map[string]string) {
	t.Helper()
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		for _, prefix := range []string{"AWS_", "ACTIONS_", "GITHUB_", "SLIPWAY_"} {
			if strings.HasPrefix(name, prefix) {
				t.Setenv(name, "")
			}
		}
	}
	t.Setenv("HOME", t.TempDir())
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	for name, value := range env {
		t.Setenv(name, value)
	}
}

// awsFiles writes an AWS configuration file and sets AWS_CONFIG_FILE.
func awsFiles(t *testing.T, content string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	t.Setenv("AWS_CONFIG_FILE", file)
}

// call makes one call with the loaded configuration and explains its error.
func call(t *testing.T, o awsauth.Options) (*sts.GetCallerIdentityOutput, error) {
	t.Helper()
	cfg, err := awsauth.Load(t.Context(), o)
	if err != nil {
		return nil, err
	}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	return out, awsauth.Explain(err)
}

// fakeClock advances instead of waiting.
type fakeClock struct {
	mu    sync.Mutex
	now   time.Time
	slept []time.Duration
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slept = append(c.slept, d)
	c.now = c.now.Add(d)
	return context.Cause(ctx)
}
