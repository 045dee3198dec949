package wire

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type color string

type part struct {
	Name  *string
	Count int32
}

// message has a member of every kind that the SDK's structs have.
type message struct {
	TaskDefinition *string
	Color          color
	Count          int32
	Enabled        bool
	Optional       *bool
	Ratio          *float64
	Big            *int64
	At             *time.Time
	Raw            []byte
	Names          []string
	Parts          []part
	Part           *part
	Tags           map[string]string
	Nested         map[string]part
	ResultMetadata string
	hidden         string
}

func full() message {
	at := time.UnixMilli(1700000000123).UTC()
	return message{
		TaskDefinition: new("app:1"), Color: "red", Count: 7, Enabled: true, Optional: new(false), Ratio: new(0.5), Big: new(int64(1 << 60)),
		At: &at, Raw: []byte("hi"), Names: []string{"a", "b"}, Parts: []part{{new("p"), 1}}, Part: &part{new("q"), 2},
		Tags: map[string]string{"b": "2", "a": "1"}, Nested: map[string]part{"n": {nil, 3}},
	}
}

func TestJSON(t *testing.T) {
	raw, err := EncodeJSON(full())
	require.NoError(t, err)
	//nolint:testifylint // compared as text: decoded as JSON, the large number would lose digits
	require.Equal(t, `{"taskDefinition":"app:1","color":"red","count":7,"enabled":true,"optional":false,"ratio":0.5,"big":1152921504606846976,`+
		`"at":1700000000.123,"raw":"aGk=","names":["a","b"],"parts":[{"name":"p","count":1}],"part":{"name":"q","count":2},`+
		`"tags":{"a":"1","b":"2"},"nested":{"n":{"count":3}}}`, string(raw))
	var back message
	require.NoError(t, DecodeJSON(strings.NewReader(string(raw)), &back))
	require.Equal(t, full(), back)
}

func TestJSONOmitsMissing(t *testing.T) {
	raw, err := EncodeJSON(&message{Names: []string{}, ResultMetadata: "x", hidden: "y"})
	require.NoError(t, err)
	require.JSONEq(t, `{"count":0,"enabled":false,"names":[]}`, string(raw))
	_, err = EncodeJSON(struct{ Union any }{1})
	require.ErrorContains(t, err, "unions are not supported")
}

func TestDecodeJSON(t *testing.T) {
	tests := map[string]struct{ in, err string }{
		"nothing":             {"", ""},
		"null":                {"null", ""},
		"unknown member":      {`{"future":{"a":[1,{"b":2}]}}`, ""},
		"null member":         {`{"taskDefinition":null}`, ""},
		"no JSON":             {`{`, "SerializationException: the request is not JSON"},
		"text for a number":   {`{"count":"seven"}`, "request.count is a string where int32 is expected"},
		"number for text":     {`{"taskDefinition":7}`, "request.taskDefinition is a number where string is expected"},
		"list for text":       {`{"taskDefinition":[]}`, "request.taskDefinition is a list where string is expected"},
		"object for text":     {`{"names":[{}]}`, "request.names[0] is an object where string is expected"},
		"boolean for a list":  {`{"names":true}`, "request.names is a boolean where []string is expected"},
		"too large":           {`{"count":5000000000}`, "request.count is the number 5000000000 where int32 is expected"},
		"text for a time":     {`{"at":"yesterday"}`, "request.at is not a number where time.Time is expected"},
		"no base64":           {`{"raw":"?"}`, "request.raw is a string that is not base64"},
		"deep inside":         {`{"parts":[{"count":1},{"count":true}]}`, "request.parts[1].count is a boolean"},
		"inside a map":        {`{"nested":{"x":{"count":"1"}}}`, "request.nested.x.count is a string"},
		"number out of range": {`{"ratio":1e999}`, "request.ratio is the number 1e999"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := DecodeJSON(strings.NewReader(test.in), &message{})
			if test.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.err)
			require.Equal(t, "SerializationException", toError(err).Code)
		})
	}
}

func FuzzDecodeJSON(f *testing.F) {
	raw, err := EncodeJSON(full())
	require.NoError(f, err)
	f.Add(string(raw))
	f.Add(`{"parts":[{"count":1}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var m message
		if DecodeJSON(strings.NewReader(text), &m) != nil {
			return
		}
		// Encoding what was decoded returns the same.
		again, err := EncodeJSON(m)
		require.NoError(t, err)
		var back message
		require.NoError(t, DecodeJSON(strings.NewReader(string(again)), &back), "%s", again)
	})
}
