package wire

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecodeQuery(t *testing.T) {
	form, err := url.ParseQuery("Action=X&TaskDefinition=app&Count=7&Enabled=true&Optional=false&Big=5&Names.member.1=a&Names.member.2=b" +
		"&Parts.member.1.Name=p&Parts.member.1.Count=1&Parts.member.2.Count=2&Part.Name=q&At=2023-11-14T22:13:20Z")
	require.NoError(t, err)
	var m message
	require.NoError(t, DecodeQuery(form, &m))
	require.Equal(t, "app", *m.TaskDefinition)
	require.Equal(t, []string{"a", "b"}, m.Names)
	require.Equal(t, []part{{new("p"), 1}, {nil, 2}}, m.Parts)
	require.Equal(t, "q", *m.Part.Name)
	require.Equal(t, int64(1700000000), m.At.Unix())
	require.Equal(t, int32(7), m.Count)
	require.True(t, m.Enabled)
	require.False(t, *m.Optional)
	require.Nil(t, m.Ratio)

	for _, bad := range []string{"Count=x", "Enabled=x", "At=x", "Names.member.1=a&Parts.member.1.Count=x", "Part.Count=99999999999"} {
		form, err := url.ParseQuery(bad)
		require.NoError(t, err)
		require.ErrorContains(t, DecodeQuery(form, &message{}), "MalformedInput", bad)
	}
}

func TestEncodeXML(t *testing.T) {
	m := message{TaskDefinition: new("<a & b>"), Names: []string{"x"}, Parts: []part{{new("p"), 1}}, At: full().At}
	require.Equal(t, `<GetResponse xmlns="ns"><GetResult><TaskDefinition>&lt;a &amp; b&gt;</TaskDefinition><Count>0</Count><Enabled>false</Enabled>`+
		`<At>2023-11-14T22:13:20.123Z</At><Names><member>x</member></Names><Parts><member><Name>p</Name><Count>1</Count></member></Parts>`+
		`</GetResult><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></GetResponse>`, string(EncodeXML("Get", "ns", "id", &m)))
	require.Equal(t, `<ErrorResponse xmlns="ns"><Error><Type>Receiver</Type><Code>C</Code><Message>a &lt; b</Message></Error><RequestId>id</RequestId></ErrorResponse>`,
		string(EncodeXMLError("ns", "id", &Error{Code: "C", Message: "a < b", Status: http.StatusInternalServerError})))
}

func TestPaginate(t *testing.T) {
	items := []int{1, 2, 3, 4, 5}
	var seen []int
	var token *string
	for range 3 {
		page, next, err := Paginate(items, token, new(int32(2)), 100)
		require.NoError(t, err)
		seen = append(seen, page...)
		token = next
	}
	require.Equal(t, items, seen)
	require.Nil(t, token)
	all, next, err := Paginate(items, nil, nil, 100)
	require.NoError(t, err)
	require.Equal(t, items, all)
	require.Nil(t, next)
	_, _, err = Paginate(items, new("?"), nil, 100)
	require.ErrorContains(t, err, "Invalid token.")
}
