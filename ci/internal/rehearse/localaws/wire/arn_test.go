package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIdentifiers(t *testing.T) {
	s := Scope{Region: "eu-west-1", Account: "123456789012"}
	require.Equal(t, "arn:aws:ecs:eu-west-1:123456789012:cluster/x", s.ARN("ecs", "cluster/x"))
	require.Equal(t, "arn:aws:iam::123456789012:role/x", s.GlobalARN("iam", "role/x"))
	require.Equal(t, "x", ResourceName("arn:aws:ecs:eu-west-1:123456789012:cluster/x"))
	require.Equal(t, "x", ResourceName("x"))
	seen := map[string]bool{}
	for range 200 {
		require.Regexp(t, `^[1-9][0-9]{18}$`, RandomDigits(19))
		require.Regexp(t, `^[0-9a-f]{21}$`, RandomHex(21))
		id := NewUUID()
		require.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id)
		require.False(t, seen[id])
		seen[id] = true
	}
}
