package wire

import (
	"bytes"
	"testing"

	"github.com/aws/smithy-go/encoding/cbor"
	"github.com/stretchr/testify/require"
)

func TestCBORRoundTrip(t *testing.T) {
	raw, err := EncodeCBOR(full())
	require.NoError(t, err)
	var back message
	require.NoError(t, DecodeCBOR(bytes.NewReader(raw), &back))
	want, err := EncodeJSON(full())
	require.NoError(t, err)
	got, err := EncodeJSON(back)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(got))
}

func TestDecodeCBOR(t *testing.T) {
	for name, tt := range map[string]struct {
		in   []byte
		want message
		err  string
	}{
		"empty":           {},
		"nil":             {in: cbor.Encode(&cbor.Nil{})},
		"negative":        {in: cbor.Encode(cbor.Map{"count": cbor.NegInt(7)}), want: message{Count: -7}},
		"32-bit fraction": {in: cbor.Encode(cbor.Map{"ratio": cbor.Float32(0.5)}), want: message{Ratio: new(0.5)}},
		"no CBOR":         {in: []byte{0xff}, err: "SerializationException: the request is not CBOR"},
		"wrong type":      {in: cbor.Encode(cbor.Map{"count": cbor.String("7")}), err: "request.count is a string where int32 is expected"},
	} {
		t.Run(name, func(t *testing.T) {
			var got message
			err := DecodeCBOR(bytes.NewReader(tt.in), &got)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
	_, err := EncodeCBOR(struct{ Any any }{1})
	require.ErrorContains(t, err, "not supported")
}
