package awsauth_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/aws/smithy-go/logging"
	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/localawstest"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

func TestRegion(t *testing.T) {
	const profile = "[default]\nregion = eu-west-3\n"
	tests := map[string]struct {
		option string
		env    map[string]string
		config string
		want   string
	}{
		"nothing specified":        {want: "us-east-1"},
		"the profile":              {config: profile, want: "eu-west-3"},
		"AWS_DEFAULT_REGION":       {env: map[string]string{"AWS_DEFAULT_REGION": "eu-west-2"}, config: profile, want: "eu-west-2"},
		"AWS_REGION":               {env: map[string]string{"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, config: profile, want: "eu-west-1"},
		"the option":               {option: "eu-north-1", env: map[string]string{"AWS_REGION": "eu-west-1"}, want: "eu-north-1"},
		"another profile's source": {env: map[string]string{"AWS_PROFILE": "b"}, config: profile + "[profile b]\nregion=sa-east-1\n", want: "sa-east-1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clean(t, tt.env)
			awsFiles(t, tt.config)
			cfg, err := awsauth.Load(t.Context(), awsauth.Options{Region: tt.option})
			require.NoError(t, err)
			require.Equal(t, tt.want, cfg.Region)
			require.Equal(t, "slipway", cfg.AppID)
			require.Equal(t, logging.Nop{}, cfg.Logger, "the SDK writes nothing between what a command prints")
		})
	}
}

func TestRetryer(t *testing.T) {
	r := awsauth.NewRetryer()
	require.Equal(t, 8, r.MaxAttempts())
	delay, err := r.RetryDelay(8, errors.New("x"))
	require.NoError(t, err)
	require.LessOrEqual(t, delay, 5*time.Second)

	clean(t, map[string]string{"AWS_MAX_ATTEMPTS": "3"})
	cfg, err := awsauth.Load(t.Context(), awsauth.Options{})
	require.NoError(t, err)
	require.Equal(t, 3, cfg.Retryer().MaxAttempts())
}

func exported(t *testing.T, change func(map[string]any)) string {
	t.Helper()
	document := map[string]any{
		"Version": 1, "AccessKeyId": plantedKey, "SecretAccessKey": plantedToken, "SessionToken": plantedJWT,
		"Expiration": time.Now().Add(time.Hour).Format(time.RFC3339),
	}
	if change != nil {
		change(document)
	}
	raw, err := json.Marshal(document)
	require.NoError(t, err)
	return string(raw)
}

func TestCredentialsJSON(t *testing.T) {
	tests := map[string]struct {
		document string
		want     string // of the error
	}{
		"good":                    {exported(t, nil), ""},
		"no expiry":               {exported(t, func(d map[string]any) { delete(d, "Expiration") }), ""},
		"expired":                 {exported(t, func(d map[string]any) { d["Expiration"] = "2020-01-02T03:04:05Z" }), "expired at 2020-01-02T03:04:05Z: renew the login (aws sso login)"},
		"no JSON":                 {plantedToken, "are not the JSON of a credential process"},
		"cut off":                 {exported(t, nil)[:60], "are not the JSON of a credential process"},
		"no secret":               {exported(t, func(d map[string]any) { d["SecretAccessKey"] = "" }), "lack AccessKeyId or SecretAccessKey"},
		"a line break in a key":   {exported(t, func(d map[string]any) { d["AccessKeyId"] = plantedKey + "\n" }), "the AccessKeyId of the AWS credentials (given) ends with a line break: set it again without it"},
		"a line break at its end": {exported(t, nil) + "\r\n", ""},
		"a byte order mark":       {"\ufeff" + exported(t, nil), ""},
		"UTF-16":                  {"\xff\xfe{\x00}\x00", "is in UTF-16: save it as UTF-8"},
		"a new version":           {exported(t, func(d map[string]any) { d["Version"] = 2 }), "have version 2 where 1 is known"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clean(t, map[string]string{"AWS_ACCESS_KEY_ID": "AKIAOTHER", "AWS_SECRET_ACCESS_KEY": "x"})
			cfg, err := awsauth.Load(t.Context(), awsauth.Options{CredentialsJSON: tt.document})
			if tt.want != "" {
				requireUsage(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			credentials, err := cfg.Credentials.Retrieve(t.Context())
			require.NoError(t, err)
			require.Equal(t, plantedKey, credentials.AccessKeyID)
			require.Equal(t, plantedJWT, credentials.SessionToken)
		})
	}
	t.Run("expires later", func(t *testing.T) {
		clean(t, nil)
		cfg, err := awsauth.Load(t.Context(), awsauth.Options{CredentialsJSON: exported(t, func(d map[string]any) {
			d["Expiration"] = time.Now().Add(30 * time.Millisecond)
		})})
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			_, err = cfg.Credentials.Retrieve(t.Context())
			return err != nil
		}, 10*time.Second, time.Millisecond)
		requireUsage(t, err, "the given AWS credentials expired at")
	})
}

// requireUsage checks for a usage error.
func requireUsage(t *testing.T, err error, want string) {
	t.Helper()
	require.ErrorContains(t, err, want)
	require.Equal(t, outcome.Usage, outcome.Of(err), err.Error())
	requireNoSecrets(t, err)
}

// requireNoSecrets checks that an error is one line without secrets.
func requireNoSecrets(t *testing.T, err error) {
	t.Helper()
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err)} {
		for _, secret := range []string{plantedKey, plantedToken, plantedJWT, "\n"} {
			require.NotContains(t, text, secret)
		}
	}
}

func TestCredentialChain(t *testing.T) {
	p := localawstest.Start(t, localaws.Options{})
	process := filepath.Join(t.TempDir(), "process.json")
	require.NoError(t, os.WriteFile(process, []byte(exported(t, nil)), 0o600))
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(jwt(t, time.Hour)), 0o600))
	tests := map[string]struct {
		env     map[string]string
		config  string
		options awsauth.Options
		want    string // what the caller's ARN ends with
	}{
		"keys": {
			env: map[string]string{"AWS_ACCESS_KEY_ID": plantedKey, "AWS_SECRET_ACCESS_KEY": plantedToken, "AWS_ROLE_ARN": "for another program"}, want: ":user/local",
		},
		"a profile's keys": {
			env:    map[string]string{"AWS_PROFILE": "a b", "GITHUB_ACTIONS": "true", "AWS_ROLE_ARN": "for another program"},
			config: "[ profile a b ]\naws_access_key_id=x\naws_secret_access_key=y\n", want: ":user/local",
		},
		"a profile's role": {
			env:    map[string]string{"AWS_PROFILE": "deploy"},
			config: "[default]\naws_access_key_id=x\naws_secret_access_key=y\n[profile deploy]\nrole_arn=" + role + "\nrole_session_name=me\nsource_profile=default\n",
			want:   "assumed-role/deploy/me",
		},
		"a process": {config: "[default]\ncredential_process = cat " + process + "\n", want: ":user/local"},
		"a web identity in a file": {
			env:     map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_SESSION_NAME": "file", "ACTIONS_ID_TOKEN_REQUEST_URL": "half"},
			options: awsauth.Options{Role: role}, want: "assumed-role/deploy/file",
		},
		"handed in":                  {options: awsauth.Options{CredentialsJSON: exported(t, nil)}, want: ":user/local"},
		"handed in, and an endpoint": {options: awsauth.Options{CredentialsJSON: exported(t, nil), Endpoint: p.Server.Endpoint()}, env: map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, want: ":user/local"},
		"a service's own endpoint": {
			env: map[string]string{"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_STS": p.Server.Endpoint()}, want: ":user/local",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clean(t, map[string]string{"AWS_ENDPOINT_URL": p.Server.Endpoint()})
			awsFiles(t, tt.config)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			out, err := call(t, tt.options)
			require.NoError(t, err)
			require.Regexp(t, tt.want+"$", *out.Arn)
		})
	}
}

func TestIMDS(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			fmt.Fprint(w, "t")
		case "/latest/meta-data/iam/security-credentials/":
			fmt.Fprint(w, "role")
		default:
			fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":"ASIAINSTANCE","SecretAccessKey":"x","Token":"y","Expiration":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		}
	}))
	defer server.Close()
	clean(t, map[string]string{"AWS_EC2_METADATA_SERVICE_ENDPOINT": server.URL})
	cfg, err := awsauth.Load(t.Context(), awsauth.Options{IMDS: true})
	require.NoError(t, err)
	credentials, err := cfg.Credentials.Retrieve(t.Context())
	require.NoError(t, err)
	require.Equal(t, "ASIAINSTANCE", credentials.AccessKeyID)

	cfg, err = awsauth.Load(t.Context(), awsauth.Options{})
	require.NoError(t, err)
	_, err = cfg.Credentials.Retrieve(t.Context())
	requireUsage(t, err, "no AWS credentials: set AWS_PROFILE")
}

func TestMisconfigured(t *testing.T) {
	tests := map[string]struct {
		env     map[string]string
		config  string
		options awsauth.Options
		want    string
	}{
		"half a key":        {env: map[string]string{"AWS_ACCESS_KEY_ID": plantedKey}, want: "AWS_SECRET_ACCESS_KEY is not: set both"},
		"the other half":    {env: map[string]string{"AWS_SECRET_ACCESS_KEY": plantedToken}, want: "AWS_ACCESS_KEY_ID is not: set both"},
		"no role for file":  {env: map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": "x"}, want: "set AWS_ROLE_ARN"},
		"region":            {options: awsauth.Options{Region: "us_east"}, want: `invalid AWS region "us_east"`},
		"endpoint":          {env: map[string]string{"AWS_ENDPOINT_URL": "::"}, want: `invalid AWS endpoint "::": want http://HOST or https://HOST, such as http://127.0.0.1:4566`},
		"endpoint's scheme": {env: map[string]string{"AWS_ENDPOINT_URL": "user:word@localhost:4566"}, want: `invalid AWS endpoint "localhost:4566"`},
		"no profile":        {env: map[string]string{"AWS_PROFILE": "prod"}, want: `no AWS profile "prod": `},
		"profile misspelt":  {env: map[string]string{"AWS_PROFILE": "prdo"}, config: "[default]\n[profile prod]\n[sso-session s]\n", want: `no AWS profile "prdo": did you mean "prod"? `},
		"other profiles":    {env: map[string]string{"AWS_PROFILE": "x"}, config: "[default]\n[profile staging]\n", want: ` has: default, staging`},
		"source profile": {
			env: map[string]string{"AWS_PROFILE": "a"}, config: "[profile a]\nrole_arn=" + role + "\nsource_profile=nope\n", want: `no AWS profile "nope": `,
		},
		"no source": {
			env: map[string]string{"AWS_PROFILE": "a"}, config: "[profile a]\nrole_arn=" + role + "\n[profile b]\nsource_profile=a\n", want: "",
		},
		"MFA": {
			env: map[string]string{"AWS_PROFILE": "break glass"}, config: "[profile break glass]\nrole_arn=" + role + "\nsource_profile=b\nmfa_serial=arn:aws:iam::1:mfa/x\n[profile b]\naws_access_key_id=x\naws_secret_access_key=y\n",
			want: `profile 'break glass' requires an MFA code (mfa_serial), which slipway does not prompt for: use a session of the AWS CLI: eval "$(aws configure export-credentials --profile 'break glass' --format env)"`,
		},
		"a number": {env: map[string]string{"AWS_MAX_ATTEMPTS": "many"}, want: "AWS's configuration: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			clean(t, tt.env)
			awsFiles(t, tt.config)
			_, err := call(t, tt.options)
			requireUsage(t, err, tt.want)
		})
	}
	t.Run("the credentials file", func(t *testing.T) {
		clean(t, map[string]string{"AWS_PROFILE": "nope"})
		file := filepath.Join(t.TempDir(), "credentials")
		require.NoError(t, os.WriteFile(file, []byte("[old]\naws_access_key_id="+plantedKey+"\n"), 0o600))
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
		_, err := awsauth.Load(t.Context(), awsauth.Options{})
		requireUsage(t, err, ": old")
	})
	t.Run("a line break in a process's key", func(t *testing.T) {
		clean(t, nil)
		file := filepath.Join(t.TempDir(), "document")
		require.NoError(t, os.WriteFile(file, []byte(exported(t, func(d map[string]any) { d["SecretAccessKey"] = plantedToken + "\n" })), 0o600))
		awsFiles(t, "[default]\ncredential_process = cat "+file+"\n")
		_, err := call(t, awsauth.Options{})
		requireUsage(t, err, "the SecretAccessKey of the AWS credentials (ProcessProvider) ends with a line break: set it again without it")
	})
	t.Run("a file that is a folder", func(t *testing.T) {
		clean(t, map[string]string{"AWS_CONFIG_FILE": t.TempDir()})
		_, err := call(t, awsauth.Options{})
		requireUsage(t, err, "")
	})
}

// TestMalformedValues: leftovers of files, shells and copying at the ends of a
// value are reported with the variable, without the value.
func TestMalformedValues(t *testing.T) {
	const key, secret, session = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
	for flawed, want := range map[string]string{
		plantedKey + "\n": "ends with a line break", plantedKey + "\r": "ends with a line break", plantedKey + "\r\n": "ends with a line break",
		"a\n" + plantedKey: "has a line break in it", plantedKey + " ": "ends with a space", "\t" + plantedKey: "begins with a space",
		plantedKey + "\u00a0": "ends with a space", `"` + plantedKey + `"`: "has quotes around it", "'" + plantedKey: "has quotes around it",
		"“" + plantedKey + "”": "has quotes around it", "a " + plantedKey: "has a space in it", "\ufeff" + plantedKey: "begins with a byte order mark",
		plantedKey + "\u200b": "has an invalid character", "\x01" + plantedKey: "has a control character in it",
	} {
		for _, name := range []string{key, secret, session, "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ECS", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"} {
			clean(t, map[string]string{key: "x", secret: "y", name: flawed})
			_, err := awsauth.Load(t.Context(), awsauth.Options{})
			requireUsage(t, err, name+" "+want+": set it again without it")
		}
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_ROLE_ARN", "SLIPWAY_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		clean(t, map[string]string{name: "pro d\n"})
		_, err := awsauth.Load(t.Context(), awsauth.Options{})
		requireUsage(t, err, name+" ends with a line break: set it again without it")
	}

	clean(t, map[string]string{key: "x", secret: "y"})
	for _, o := range []awsauth.Options{{Region: plantedKey + "\n"}, {Role: plantedKey + "\n"}, {Endpoint: plantedKey + "\n"}, {TokenURL: plantedKey + "\n"}, {Token: plantedKey + "\n"}} {
		_, err := awsauth.Load(t.Context(), o)
		requireUsage(t, err, "ends with a line break: set it again without it")
	}
}

// TestFileEncodings: CRLF is accepted; a byte order mark and UTF-16, which the SDK
// ignores, are errors.
func TestFileEncodings(t *testing.T) {
	const settings, keys = "[profile prod]\r\nregion = eu-west-1\r\n", "[prod]\r\naws_access_key_id = x\r\naws_secret_access_key = y\r\n"
	wide := func(order binary.AppendByteOrder, text string) string {
		var raw []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			raw = order.AppendUint16(raw, unit)
		}
		return string(raw)
	}
	tests := map[string]struct{ settings, keys, want string }{
		"CRLF":                 {settings, keys, ""},
		"a mark, settings":     {"\ufeff" + settings, keys, "settings begins with a byte order mark"},
		"a mark, keys":         {settings, "\ufeff" + keys, "keys begins with a byte order mark"},
		"UTF-16 LE":            {settings, wide(binary.LittleEndian, "\ufeff"+keys), "keys is in UTF-16"},
		"UTF-16 BE":            {settings, wide(binary.BigEndian, "\ufeff"+keys), "keys is in UTF-16"},
		"UTF-16 without marks": {wide(binary.LittleEndian, settings), keys, "settings is in UTF-16"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			clean(t, map[string]string{"AWS_PROFILE": "prod", "AWS_CONFIG_FILE": filepath.Join(dir, "settings"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "keys")})
			require.NoError(t, os.WriteFile(filepath.Join(dir, "settings"), []byte(tt.settings), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "keys"), []byte(tt.keys), 0o600))
			cfg, err := awsauth.Load(t.Context(), awsauth.Options{})
			if tt.want != "" {
				requireUsage(t, err, tt.want+": save it as UTF-8 without byte order mark")
				return
			}
			require.NoError(t, err)
			require.Equal(t, "eu-west-1", cfg.Region)
			credentials, err := cfg.Credentials.Retrieve(t.Context())
			require.NoError(t, err)
			require.Equal(t, "y", credentials.SecretAccessKey)
		})
	}
}
