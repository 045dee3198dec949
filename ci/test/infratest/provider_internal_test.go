package infratest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestFilterSchemas(t *testing.T) {
	field := func(number protowire.Number, content string) []byte {
		return protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), content)
	}
	entry := func(name string) string { return string(field(1, name)) + string(field(2, "schema")) }
	join := func(fields ...[]byte) (all []byte) {
		for _, f := range fields {
			all = append(all, f...)
		}
		return all
	}
	provider, capabilities, function := field(1, "schema"), field(6, "x"), field(7, entry("arn_build"))
	vpc, zones := field(2, entry("aws_vpc")), field(3, entry("aws_availability_zones"))
	all := join(provider, vpc, field(2, entry("aws_other")), zones, field(3, entry("aws_other")), capabilities, function, field(8, entry("aws_other")))
	kept, err := filterSchemas(all, map[string]bool{"aws_vpc": true, "aws_availability_zones": true})
	require.NoError(t, err)
	require.Equal(t, join(provider, vpc, zones, capabilities, function), kept)

	for _, broken := range [][]byte{{0x80}, all[:len(all)-1]} {
		_, err := filterSchemas(broken, nil)
		require.Error(t, err)
	}
}
