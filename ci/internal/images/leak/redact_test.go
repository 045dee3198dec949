package leak_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipway-cd/slipway/ci/internal/images/leak"
)

func TestIsSecretName(t *testing.T) {
	for _, name := range []string{
		"PASSWORD", "DB_PASSWD", "PGPASS", "DBPASS", "MYSQL_PWD", "API_KEY", "apiKey", "APIKEY", "SIGNINGKEY", "sshKeys", "CLIENT_SECRET", "clientSecret",
		"GITHUB_TOKEN", "AuthToken", "splunk-token", "dd-api-key", "SENTRY_DSN", "OAUTH", "BASIC_AUTH", "AWS_ACCESS_KEY_ID", "GITHUB_PAT",
		"credentials", "AZURE_SAS", "sig", "X-Amz-Signature", "JWT", "session_cookie", "PASSWORD_SALT", "TOKENIZER_API_KEY", "connectionString",
	} {
		require.True(t, leak.IsSecretName(name), name)
	}
	for _, name := range []string{
		"KEYBOARD", "KEYCLOAK_URL", "MONKEY", "HOTKEYS", "AUTHOR", "GIT_AUTHORS", "COMPASS", "BYPASS", "PASSENGER", "TOKENIZER", "PATH", "LEVEL",
		"VERSION", "DATABASE_URL", "CERTIFICATE", "HOST", "PORT", "privileged", "SIGNAL", "PWA", "",
	} {
		require.False(t, leak.IsSecretName(name), name)
	}
}

// planted is in every secret of these tests, and in no redacted text.
const planted = "CLEAR"

func TestRedact(t *testing.T) {
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJDTEVBUiJ9.CLEAR-x_y"
	tests := map[string]string{
		// URLs: the host is kept.
		"postgres://shop:hunter2-CLEAR@db.internal:5432/shop":            "postgres://(hidden)@db.internal:5432/shop",
		"rediss://:pw-CLEAR@cache:6379":                                  "rediss://(hidden)@cache:6379",
		"https://tok-CLEAR@git.example.com/a.git":                        "https://(hidden)@git.example.com/a.git",
		"jdbc:postgresql://u:CLEAR@db/shop":                              "jdbc:postgresql://(hidden)@db/shop",
		"mongodb+srv://u:p@ss-CLEAR@h1:27017,h2:27017/db":                "mongodb+srv://(hidden)@h1:27017,h2:27017/db",
		"amqp://u:CLEAR/with/slash@mq:5672/vhost":                        "amqp://(hidden)@mq:5672/vhost",
		"postgres://u:12/CLEAR@db/shop":                                  "postgres://(hidden)@db/shop",
		"postgres://u:CLEAR#1?x@db/shop":                                 "postgres://(hidden)@db/shop",
		"dial postgres://u:CLEAR@db: refused, redis://:CLEAR@r: refused": "dial postgres://(hidden)@db: refused, redis://(hidden)@r: refused",
		`url="https://u:CLEAR@h/x"`:                                      `url="https://(hidden)@h/x"`,
		"https://h/x?sig=CLEAR&token=CLEAR2&page=2":                      "https://h/x?sig=(hidden)&token=(hidden)&page=2",
		"https://h/x?X-Amz-Signature=CLEAR&X-Amz-Date=20260101":          "https://h/x?X-Amz-Signature=(hidden)&X-Amz-Date=20260101",
		"jdbc:postgresql://h/db?user=x&password=CLEAR&ssl=true":          "jdbc:postgresql://h/db?user=x&password=(hidden)&ssl=true",
		"jdbc:oracle:thin:scott/CLEAR@//h:1521/x":                        "jdbc:oracle:thin:(hidden)@//h:1521/x",
		// Without a scheme.
		"shop:CLEAR@tcp(db:3306)/shop":  "(hidden)@tcp(db:3306)/shop",
		"shop:p@CLEAR@tcp(db:3306)/x":   "(hidden)@tcp(db:3306)/x",
		":pw-CLEAR@cache:6379":          "(hidden)@cache:6379",
		"dsn is shop:CLEAR@db/shop now": "dsn is (hidden)@db/shop now",
		// Connection strings.
		"Server=db;Database=x;User Id=sa;Password=my CLEAR, pass;Encrypt=true": "Server=db;Database=x;User Id=sa;Password=(hidden);Encrypt=true",
		"Server=db;Uid=sa;Pwd=CLEAR":                                       "Server=db;Uid=sa;Pwd=(hidden)",
		"Password=CLEAR it is;Server=db":                                   "Password=(hidden);Server=db",
		"host=db user=u password=CLEAR dbname=x":                           "host=db user=u password=(hidden) dbname=x",
		`host=db password='a \' CLEAR' dbname=x`:                           "host=db password=(hidden) dbname=x",
		"AccountName=a;AccountKey=CLEAR==;EndpointSuffix=core.windows.net": "AccountName=a;AccountKey=(hidden);EndpointSuffix=core.windows.net",
		"Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=CLEAR=":    "Endpoint=sb://x/;SharedAccessKeyName=(hidden);SharedAccessKey=(hidden)",
		"redis:6379,password=CLEAR,ssl=True":                               "redis:6379,password=(hidden)",
		// JSON, YAML, and what programs print.
		`{"user":"u","password":"CLEAR \" CLEAR","port":1}`:  `{"user":"u","password":(hidden),"port":1}`,
		`{"a":{"apiKey" : "CLEAR"}}`:                         `{"a":{"apiKey" : (hidden)}}`,
		`"{\"password\":\"CLEAR\",\"x\":1}"`:                 `"{\"password\":(hidden),\"x\":1}"`,
		`{"credentials":{"id":"CLEAR","v":["CLEAR"]},"x":1}`: `{"credentials":(hidden),"x":1}`,
		`{'token': 'CLEAR'}`:                                 `{'token': (hidden)}`,
		"db:\n  password: CLEAR\n  host: db":                 "db:\n  password: (hidden)\n  host: db",
		"{User:u Password:CLEAR Host:db}":                    "{User:u Password:(hidden) Host:db}",
		"Using password: CLEAR for user shop":                "Using password: (hidden) for user shop",
		"<user>u</user><password>CLEAR</password>":           "<user>u</user><password>(hidden)</password>",
		"Authorization: Bearer CLEAR-x":                      "Authorization: (hidden)",
		"sent Bearer CLEAR1234":                              "sent Bearer (hidden)",
		`curl -H "X-Api-Key: CLEAR" http://h/x`:              `curl -H "X-Api-Key: (hidden)" http://h/x`,
		`curl -H 'authorization: token CLEAR' http://h/x`:    `curl -H 'authorization: (hidden)' http://h/x`,
		"machine h login u password CLEAR":                   "machine h login u password (hidden)",
		// Command lines.
		"app --password=CLEAR --port=80":                  "app --password=(hidden) --port=80",
		"app --db-password CLEAR --port 80":               "app --db-password (hidden) --port 80",
		`app --api-key "CLEAR x" --v`:                     "app --api-key (hidden) --v",
		"PGPASSWORD=CLEAR psql -h db":                     "PGPASSWORD=(hidden) psql -h db",
		"curl -fsS -u u:CLEAR http://localhost:80/health": "curl -fsS -u (hidden) http://localhost:80/health", // gitleaks:allow: planted, to be hidden
		"mysqladmin ping -h db -u root -pCLEAR":           "mysqladmin ping -h db -u root -p(hidden)",
		"sshpass -p CLEAR ssh h":                          "sshpass -p (hidden) ssh h",
		"java -Dspring.datasource.password=CLEAR -jar a":  "java -Dspring.datasource.password=(hidden) -jar a",
		// By their format.
		jwt:                                    "(hidden)",
		"got " + jwt:                           "got (hidden)",
		"ghp_CLEAR" + strings.Repeat("a1", 16): "(hidden)",
		"xoxb-1-CLEAR-abcdef":                  "(hidden)",
		"https://hooks.slack.com/services/T0/B0/CLEAR":                                 "https://(hidden)",
		"https://acme.webhook.office.com/webhookb2/1-2@3/IncomingWebhook/CLEAR/4":      "https://(hidden)",
		"https://outlook.office.com/webhook/1-2@3/IncomingWebhook/CLEAR/4":             "https://(hidden)",
		"https://api.telegram.org/bot123456:CLEAR-aaaaaaaaaaaaaaaaaaaaaaa/sendMessage": "https://api.telegram.org/(hidden)/sendMessage",
		"sk_live_CLEAR": "(hidden)",
		"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY":                                  "(hidden)",
		"x -----BEGIN RSA PRIVATE KEY-----\nCLEAR\n-----END RSA PRIVATE KEY----- y": "x (hidden) y", // gitleaks:allow: planted, to be hidden
		"-----BEGIN PRIVATE KEY-----\\nCLEAR":                                       "(hidden)",
		strings.Repeat("CLEARabc", 8) + "\nCLEAR==\n-----END PRIVATE KEY-----\nz":   "(hidden)\nz",
		// Not secret.
		"postgres://db.internal:5432/shop": "",
		"https://h:8080/@scope/x":          "",
		"https://example.com/a@b":          "",
		"111122223333.dkr.ecr.us-east-1.amazonaws.com/b:v1@sha256:" + strings.Repeat("ab", 32): "",
		"nginx:1.29@sha256:" + strings.Repeat("ab", 32):                                        "",
		"arn:aws:secretsmanager:us-east-1:111122223333:secret:prod/db-AbCdEf:password::":       "",
		"arn:aws:ecs:us-east-1:1:task/ecs-cluster/" + strings.Repeat("0a1b", 8):                "",
		"git@github.com:org/repo.git":                                                          "",
		"joe@example.com":                                                                      "",
		"actions/checkout@v4":                                                                  "",
		"cannot fetch a token: 401 Unauthorized":                                               "",
		"invalid token: signature is invalid":                                                  "",
		"digest sha256:0123456789abcdef":                                                       "",
		"basic authentication is off":                                                          "",
		"curl -f http://localhost:8000/health || exit 1":                                       "",
		"docker run -p 8080:80 x":                                                              "",
		"mkdir -p /var/run/app":                                                                "",
		"password authentication failed for user \"shop\"":                                     "",
		"dial tcp 10.0.20.5:5432: i/o timeout":                                                 "",
		"-XX:MaxRAMPercentage=75.0 -Duser.timezone=UTC":                                        "",
		"/usr/share/Example/Application2/Resources/Templates/":                                 "",
		"": "",
	}
	for text, want := range tests {
		if want == "" {
			want = text
		}
		got := leak.Redact(text)
		require.Equal(t, want, got, text)
		require.Equal(t, got, leak.Redact(got), "what is hidden stays as it is")
	}
}

func TestRedactValue(t *testing.T) {
	require.Equal(t, "(hidden)", leak.RedactValue("API_TOKEN", "x"))
	require.Empty(t, leak.RedactValue("API_TOKEN", ""))
	require.Equal(t, "debug", leak.RedactValue("LEVEL", "debug"))
	require.Equal(t, "true", leak.RedactValue("AUTH_ENABLED", "true"))
	require.Equal(t, "arn:aws:secretsmanager:us-east-1:1:secret:x", leak.RedactValue("SECRET_ARN", "arn:aws:secretsmanager:us-east-1:1:secret:x"))
	require.Equal(t, "postgres://(hidden)@db/x", leak.RedactValue("DATABASE_URL", "postgres://u:my CLEAR pass@db/x"))
}

func TestRedactArgs(t *testing.T) {
	tests := map[string]string{
		"app|--password|CLEAR|--port|80":      "app|--password|(hidden)|--port|80",
		"app|--password=CLEAR":                "app|--password=(hidden)",
		"app|-p|CLEAR":                        "app|-p|(hidden)",
		"app|-p|8080":                         "app|-p|8080",
		"curl|-u|u:CLEAR|http://h":            "curl|-u|(hidden)|http://h",
		"/usr/bin/mysqladmin|ping|-pCLEAR":    "/usr/bin/mysqladmin|ping|-p(hidden)",
		"CMD-SHELL|psql postgres://u:CLEAR@h": "CMD-SHELL|psql postgres://(hidden)@h",
		"sh|-c|PGPASSWORD=CLEAR exec app":     "sh|-c|PGPASSWORD=(hidden) exec app",
		"app|--token|--verbose":               "app|--token|--verbose",
		"app|serve":                           "app|serve",
	}
	for args, want := range tests {
		require.Equal(t, want, strings.Join(leak.RedactArgs(strings.Split(args, "|")), "|"))
	}
}

func TestRedactLines(t *testing.T) {
	require.Nil(t, leak.RedactLines(nil))
	require.Equal(t, []string{"connecting to postgres://(hidden)@db/x", "key (hidden)", "bye"},
		leak.RedactLines([]string{"connecting to postgres://u:CLEAR@db/x", "key -----BEGIN PRIVATE KEY-----", "CLEAR", "-----END PRIVATE KEY-----", "bye"}))
}

func FuzzRedact(f *testing.F) {
	f.Add(`{"password":"x\`)
	f.Add("a://:@/@")
	f.Add("--password ")
	f.Fuzz(func(t *testing.T, text string) {
		leak.Redact(text)
		require.NotContains(t, leak.Redact("postgres://u:"+planted+"@db/x "+strings.ToLower(text)), planted)
	})
}
