package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func echo(ctx context.Context, in *message) (*message, error) {
	AddResources(ctx, "arn:"+*in.TaskDefinition)
	if *in.TaskDefinition == "broken" {
		return nil, errors.New("disk full")
	}
	if *in.TaskDefinition == "refused" {
		return nil, Errorf("ClientException", "no %s", "way")
	}
	return &message{TaskDefinition: new(CallerAccessKey(ctx) + " sent " + *in.TaskDefinition)}, nil
}

// serve starts a router with one service for each protocol and returns its URL and the
// observed call.
func serve(t *testing.T, disturb func(Call) Injection) (url string, calls chan Call) {
	t.Helper()
	calls = make(chan Call, 1)
	ops := []Operation{NewOperation("Echo", echo)}
	server := httptest.NewServer(&Router{
		Services: []Service{{Name: "json", Target: "Json_2020", Operations: ops}, {Name: "query", Version: "2020-01-01", Namespace: "ns", Operations: ops}},
		Observe:  func(c Call) { calls <- c }, Inject: disturb,
	})
	t.Cleanup(server.Close)
	return server.URL, calls
}

func send(t *testing.T, url, target, body string) (status int, header http.Header, answer string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20260101/eu-west-1/json/aws4_request, SignedHeaders=host, Signature=0")
	if target == "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		req.Header.Set("X-Amz-Target", target)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(raw), nil
}

func TestRouterResponses(t *testing.T) {
	tests := map[string]struct {
		target, body string
		status       int
		want         string
		code         string
	}{
		"json":                    {"Json_2020.Echo", `{"taskDefinition":"x"}`, 200, `"taskDefinition":"AKIA sent x"`, ""},
		"json error":              {"Json_2020.Echo", `{"taskDefinition":"refused"}`, 400, `{"__type":"ClientException","message":"no way"}`, "ClientException"},
		"json failure":            {"Json_2020.Echo", `{"taskDefinition":"broken"}`, 500, `{"__type":"InternalFailure","message":"disk full"}`, "InternalFailure"},
		"json malformed":          {"Json_2020.Echo", `[`, 400, `"__type":"SerializationException"`, "SerializationException"},
		"json unknown action":     {"Json_2020.Sing", `{}`, 400, `{"__type":"UnknownOperationException","message":"The operation Sing of json is not served by the embedded AWS."}`, "UnknownOperationException"},
		"json unknown service":    {"Other_1.Do", `{}`, 400, `"__type":"UnknownOperationException"`, "UnknownOperationException"},
		"query":                   {"", "Action=Echo&Version=2020-01-01&TaskDefinition=x", 200, "<TaskDefinition>AKIA sent x</TaskDefinition>", ""},
		"query error":             {"", "Action=Echo&Version=2020-01-01&TaskDefinition=refused", 400, "<Code>ClientException</Code><Message>no way</Message>", "ClientException"},
		"query malformed":         {"", "Action=Echo&Version=2020-01-01&Count=x", 400, "<Code>MalformedInput</Code>", "MalformedInput"},
		"query unknown action":    {"", "Action=Sing&Version=2020-01-01", 400, "<Code>InvalidAction</Code><Message>Could not find operation Sing for version 2020-01-01</Message>", "InvalidAction"},
		"query unknown version":   {"", "Action=Echo&Version=1999-01-01", 400, "<Code>InvalidAction</Code>", "InvalidAction"},
		"neither of the two":      {"", "", 501, "<Code>NotImplemented</Code>", "-"},
		"neither, with some body": {"", "a=b", 501, "<Code>NotImplemented</Code>", "-"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			url, calls := serve(t, nil)
			status, header, body, err := send(t, url, test.target, test.body)
			require.NoError(t, err)
			require.Equal(t, test.status, status)
			require.Contains(t, body, test.want)
			require.Len(t, header.Get("X-Amzn-Requestid"), 36)
			if test.code == "-" {
				require.Empty(t, calls)
				return
			}
			call := <-calls
			require.Equal(t, test.code, call.Err)
			require.Equal(t, "eu-west-1", call.Region)
			require.Equal(t, "AKIA", call.AccessKey)
			if test.code == "" {
				require.Equal(t, []string{"arn:x"}, call.Resources)
			}
		})
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestRouterInjections(t *testing.T) {
	tests := map[string]struct {
		d       Injection
		status  int // 0 for a cut connection
		effects int
	}{
		"nothing":         {Injection{}, 200, 1},
		"slow":            {Injection{Delay: 20 * time.Millisecond}, 200, 1},
		"refused":         {Injection{Err: Errorf("ThrottlingException", "Rate exceeded")}, 400, 0},
		"reset":           {Injection{Reset: true}, 0, 0},
		"done, then lost": {Injection{Reset: true, Execute: true}, 0, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			url, calls := serve(t, func(Call) Injection { return test.d })
			began := time.Now()
			status, _, _, err := send(t, url, "Json_2020.Echo", `{"taskDefinition":"x"}`)
			require.GreaterOrEqual(t, time.Since(began), test.d.Delay)
			if test.status == 0 {
				require.Error(t, err)
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, test.status, status)
			require.Len(t, (<-calls).Resources, test.effects)
		})
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestOutsideCall(t *testing.T) {
	AddResources(t.Context(), "arn:x")
	require.Empty(t, CallerAccessKey(t.Context()))
}
