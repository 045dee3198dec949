package leak

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Redacted replaces a secret in text.
const Redacted = "(hidden)"

// IsSecretName reports whether the name of an environment variable, label or flag
// suggests that its value is secret.
func IsSecretName(name string) bool {
	if containsAny(strings.ReplaceAll(strings.ToLower(name), "tokeniz", ""), secretParts) {
		return true
	}
	for word := range strings.FieldsFuncSeq(camelCase.ReplaceAllString(name, "${1}_$2"), func(r rune) bool { return !unicode.IsLetter(r) }) {
		word = strings.ToLower(word)
		if slices.Contains(secretWords, word) || secretSuffix.MatchString(word) && !slices.Contains(harmless, word) {
			return true
		}
	}
	return false
}

var camelCase = regexp.MustCompile(`([a-z0-9])([A-Z])`)

// mayHaveSecretName reports whether a text has what every name has that [IsSecretName]
// reports.
func mayHaveSecretName(text string) bool {
	lower := strings.ToLower(text)
	return containsAny(strings.ReplaceAll(lower, "tokeniz", ""), secretParts) || containsAny(lower, secretWords) || containsAny(lower, secretEnds)
}

var (
	secretParts  = []string{"passw", "passphrase", "pwd", "secret", "token", "credential", "privatekey", "connectionstring", "connstr"}
	secretEnds   = []string{"key", "auth", "pass"}            // that secretSuffix matches
	secretSuffix = regexp.MustCompile(`(?:keys?|auth|pass)$`) // DBPASS
	secretWords  = []string{"pw", "pat", "dsn", "private", "authorization", "bearer", "jwt", "cookie", "cookies", "cred", "creds", "salt", "pepper", "otp", "sig", "signature", "sas"}
	harmless     = []string{"bypass", "compass", "monkey", "turkey", "donkey", "hockey", "jockey", "whiskey", "turnkey", "hotkey", "hotkeys", "mickey"}
)

// RedactValue redacts a whole value if its name is a secret's, otherwise the
// secrets in it. ARNs and boolean values, such as that of AUTH_ENABLED, are not
// secret.
func RedactValue(name, value string) string {
	if value == "" {
		return ""
	}
	if IsSecretName(name) && !strings.HasPrefix(value, "arn:") && value != "true" && value != "false" {
		return Redacted
	}
	if whole := wholeURL.FindStringSubmatchIndex(value); whole != nil { // a password may contain a space
		value = value[:whole[3]] + Redacted + value[whole[4]:]
	}
	return Redact(value)
}

// wholeURL matches a value that is a URL with user information.
var wholeURL = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*://)[^\n@]*\s[^\n]*(@)[^@\s]*$`)

// RedactArgs redacts a command's arguments, including the argument after a secret
// flag.
func RedactArgs(args []string) []string {
	shown := slices.Clone(args)
	client := slices.ContainsFunc(args, func(arg string) bool { return sqlClient.MatchString(arg) })
	for i, arg := range args {
		shown[i] = Redact(arg)
		if i > 0 && isSecretFlag(args[i-1], arg) {
			shown[i] = Redacted
		}
		if client && gluedPassword.MatchString(arg) {
			shown[i] = "-p" + Redacted
		}
	}
	return shown
}

var (
	sqlClient     = regexp.MustCompile(`(?:^|[\s/])(?:mysql|mariadb)[\w-]*(?:\s|$)`)
	gluedPassword = regexp.MustCompile(`^-p[^\s=]+$`)
	openFlag      = regexp.MustCompile(`^--?[a-zA-Z][\w.-]*$`)
	plainValue    = regexp.MustCompile(`^[\d:./-]*$`) // such as a port
)

// isSecretFlag reports whether the argument after a flag is secret.
func isSecretFlag(flag, value string) bool {
	switch {
	case !openFlag.MatchString(flag) || strings.HasPrefix(value, "-"):
		return false
	case flag == "-p":
		return !plainValue.MatchString(value) && !strings.HasPrefix(value, "/")
	case flag == "-u", flag == "-U", flag == "--user", flag == "--proxy-user":
		return strings.Contains(value, ":")
	}
	return IsSecretName(flag)
}

// RedactLines redacts lines, such as those of a log. A secret may span several.
func RedactLines(lines []string) []string {
	if len(lines) == 0 {
		return lines
	}
	return strings.Split(Redact(strings.Join(lines, "\n")), "\n")
}

// Redact replaces the secrets in a text: keys and tokens by their format, passwords
// in URLs and connection strings, and the values of secret names. It redacts too
// much rather than too little.
//
// Most lines have no secret, and every line of a release's output is redacted: so
// each expression runs only on text that contains what all of its matches contain.
func Redact(text string) string {
	if strings.Contains(text, "-----BEGIN ") {
		text = keyBlock.ReplaceAllString(text, Redacted)
	}
	if strings.Contains(text, "-----END ") {
		text = keyEnd.ReplaceAllString(text, Redacted)
	}
	if containsAny(text, tokenMarkers) {
		text = tokens.ReplaceAllString(text, Redacted)
	}
	if strings.Contains(text, "://") {
		text = urlPattern.ReplaceAllStringFunc(text, redactURLUser)
	}
	if strings.Contains(text, "@") {
		text = oracleUserInfo.ReplaceAllString(text, "${1}"+Redacted+"@")
		text = userInfo.ReplaceAllStringFunc(text, func(match string) string {
			part := userInfo.FindStringSubmatch(match)
			if digestPrefix.MatchString(part[4]) || part[2] == "mailto" || strings.Contains(part[3], "://") || strings.HasSuffix(part[3], Redacted) {
				return match
			}
			return part[1] + Redacted + "@" + part[4]
		})
	}
	if strings.Contains(text, "login") {
		text = netrc.ReplaceAllString(text, "${1}"+Redacted)
	}
	if strings.Contains(text, "<") {
		text = xmlElement.ReplaceAllString(text, "${1}"+Redacted+"<")
	}
	if strings.HasPrefix(text, "-") || containsAny(text, flagMarkers) {
		text = redactFlags(text)
	}
	if strings.ContainsAny(text, ":=") && mayHaveSecretName(text) {
		text = redactPairs(text)
	}
	if containsAny(strings.ToLower(text), headerMarkers) {
		text = authHeader.ReplaceAllStringFunc(text, func(match string) string {
			part := authHeader.FindStringSubmatch(match)
			if !strings.ContainsAny(part[2], "0123456789=") { // an ordinary word
				return match
			}
			return part[1] + Redacted
		})
	}
	if longestWord(text) < minRandomLength {
		return text
	}
	return randomWord.ReplaceAllStringFunc(text, func(word string) string {
		if isRandom(word) {
			return Redacted
		}
		return word
	})
}

// tokenForms are tokens with a known format. Each match contains one of the
// markers.
var tokenForms = []struct{ pattern, marks string }{
	{`(?:AKIA|ASIA)[A-Z2-7]{16}`, "AKIA ASIA"},
	{`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)*`, "eyJ"},
	{`gh[pousr]_[A-Za-z0-9]{16,}`, "ghp_ gho_ ghu_ ghs_ ghr_"},
	{`github_pat_\w{16,}`, "github_pat_"},
	{`glpat-[\w-]{16,}`, "glpat-"},
	{`xox[a-z]-[\w-]{10,}`, "xox"},
	{`xapp-[\w-]{10,}`, "xapp-"},
	{`hooks\.slack\.com/(?:services|workflows|triggers)/[\w/-]+`, "hooks.slack.com/"},
	{`discord(?:app)?\.com/api/webhooks/[\w/-]+`, ".com/api/webhooks/"},
	{`[\w-]+\.webhook\.office\.com/[\w/@-]+`, ".webhook.office.com/"},
	{`outlook\.office(?:365)?\.com/webhook/[\w/@-]+`, ".com/webhook/"},
	{`\bbot\d+:[\w-]{16,}`, "bot"},
	{`\b[srp]k_(?:live|test)_\w+`, "k_live_ k_test_"},
	{`whsec_\w+`, "whsec_"},
	{`\bsk-[\w-]{16,}`, "sk-"},
	{`AIza[\w-]{30,}`, "AIza"},
	{`ya29\.[\w-]+`, "ya29."},
	{`\bSG\.[\w-]{16,}\.[\w-]{16,}`, "SG."},
	{`npm_\w{30,}`, "npm_"},
	{`pypi-[\w-]{16,}`, "pypi-"},
	{`dckr_pat_[\w-]{16,}`, "dckr_pat_"},
	{`do[opr]_v1_\w{16,}`, "_v1_"},
	{`\bhv[sbr]\.[\w-]{16,}`, "hvs. hvb. hvr."},
	{`\bNRAK-\w{16,}`, "NRAK-"},
	{`\bdapi[0-9a-f]{32}`, "dapi"},
	{`\bAGE-SECRET-KEY-1\w+`, "AGE-SECRET-KEY-1"},
}

// tokens matches any of the formats.
var tokens, tokenMarkers = func() (*regexp.Regexp, []string) {
	var patterns, marks []string
	for _, form := range tokenForms {
		patterns, marks = append(patterns, form.pattern), append(marks, strings.Fields(form.marks)...)
	}
	return regexp.MustCompile(strings.Join(patterns, "|")), marks
}()

var (
	flagMarkers   = []string{" -", "\t-", "\n-", "\f-", "\r-", `"-`, `'-`}
	headerMarkers = []string{"bearer", "ba"} // ſ folds to s, so "bas" would miss it
)

func containsAny(text string, marks []string) bool {
	return slices.ContainsFunc(marks, func(mark string) bool { return strings.Contains(text, mark) })
}

// minRandomLength is the minimum length of a word for [isRandom].
const minRandomLength = 32

// longestWord returns the length of the longest run of characters that [randomWord]
// matches.
func longestWord(text string) int {
	longest, from := 0, 0
	for at := range len(text) + 1 {
		if at < len(text) {
			switch c := text[at]; {
			case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/', c == '_', c == '-':
				continue
			}
		}
		longest, from = max(longest, at-from), at+1
	}
	return longest
}

var (
	keyBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|$)`)
	keyEnd   = regexp.MustCompile(`(?:[A-Za-z0-9+/=]{16,}(?:\s|\\[rn])+)*[A-Za-z0-9+/=]*(?:\s|\\[rn])*-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----`)

	urlPattern     = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'<>` + "`" + `]*`)
	userInfo       = regexp.MustCompile("(^|[\\s\"'`=,(\\[])([^\\s\"'`/:@=,(\\[]*):([^\\s\"'`/][^\\s\"'`]*[^\\s\"'`@/]|[^\\s\"'`@/])@([^\\s\"'`@]*)")
	oracleUserInfo = regexp.MustCompile(`(oracle:\w{1,8}:)[^\s"']+@`)
	xmlElement     = regexp.MustCompile(`(?i)(<[^<>/]*(?:passw|pwd|secret|token)[^<>/]*>)[^<]+<`)
	digestPrefix   = regexp.MustCompile(`^sha\d+:`)
	netrc          = regexp.MustCompile(`(\blogin\s+\S+\s+password\s+)\S+`)
	authHeader     = regexp.MustCompile(`(?i)\b((?:bearer|basic)\s+)([\w.~+/=-]{6,})`)
	randomWord     = regexp.MustCompile(fmt.Sprintf(`[A-Za-z0-9+/_-]{%d,}={0,2}`, minRandomLength))
)

// redactURLUser redacts the user information of a URL.
func redactURLUser(url string) string {
	scheme, rest, _ := strings.Cut(url, "://")
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	at := strings.LastIndex(authority, "@")
	if at < 0 { // or its password has an unescaped slash
		last := strings.LastIndex(rest, "@")
		if last < 0 || rest[last-1] == '/' || !strings.Contains(authority, ":") {
			return url
		}
		at = last
	}
	return scheme + "://" + Redacted + rest[at:]
}

var inlineFlag = regexp.MustCompile(`(^|[\s"'])(--?[a-zA-Z][\w.-]*)(\s+)("[^"]*"|'[^']*'|[^\s"']+)`)

// redactFlags redacts the values of secret flags in a command line.
func redactFlags(text string) string {
	client := sqlClient.MatchString(text)
	var b strings.Builder
	for {
		m := inlineFlag.FindStringSubmatchIndex(text)
		if m == nil {
			break
		}
		flag, value := text[m[4]:m[5]], text[m[8]:m[9]]
		if !isSecretFlag(flag, strings.Trim(value, `"'`)) {
			b.WriteString(text[:m[5]]) // the value may be a flag itself
			text = text[m[5]:]
			continue
		}
		b.WriteString(text[:m[8]] + Redacted)
		text = text[m[9]:]
	}
	b.WriteString(text)
	if !client {
		return b.String()
	}
	return clientFlag.ReplaceAllString(b.String(), "${1}-p"+Redacted)
}

var clientFlag = regexp.MustCompile(`(\s)-p[^\s=]+`)

// pair matches a name and the separator between it and its value.
var pair = regexp.MustCompile(`([A-Za-z_][\w.$-]*)(\\*["']?\]?\s{0,3}(?:=>|:=|=|:)\s{0,3})`)

// unquotedNames match names whose values are secret even without "=" or quotes:
// "token: x".
var unquotedNames = regexp.MustCompile(`(?i)(?:passw(?:or)?d|passphrase|pwd|token|secret|(?:api|access|private|secret)[._-]?key|authorization|cookie)$`)

// redactPairs redacts the values of secret names.
func redactPairs(text string) string {
	var b strings.Builder
	from := 0
	for from < len(text) {
		m := pair.FindStringSubmatchIndex(text[from:])
		if m == nil {
			break
		}
		name, between := text[from+m[2]:from+m[3]], text[from+m[4]:from+m[5]]
		start, value := from+m[2], from+m[1]
		end := value
		if IsSecretName(name) && isPair(text[:start], name, between, text[value:]) {
			end = value + valueLength(text[:start], name, text[value:])
		}
		b.WriteString(text[from:value])
		if end > value && !strings.HasPrefix(text[value:end], Redacted) {
			b.WriteString(Redacted)
		} else {
			b.WriteString(text[value:end])
		}
		from = end
	}
	return b.String() + text[from:]
}

// isPair reports whether a match is a name and a value. Colons occur in sentences
// and ARNs as well.
func isPair(before, name, between, value string) bool {
	switch {
	case strings.Contains(between, "=") || strings.ContainsAny(between, `"'`):
		return true
	case !unquotedNames.MatchString(name):
		return false
	case strings.HasSuffix(before, ":"): // of an ARN
		return false
	}
	// In a sentence, words surround it.
	word, _, more := strings.Cut(value, " ")
	return sentenceNames.MatchString(name) || !more || !strings.HasSuffix(before, " ") || strings.HasSuffix(before, ", ") ||
		len(word) > len("401") && strings.ContainsAny(word, "0123456789")
}

// sentenceNames match names whose values are secret in a sentence as well.
var sentenceNames = regexp.MustCompile(`(?i)(?:passw(?:or)?d|passphrase|pwd|[._-]?key|authorization)$`)

// valueLength returns the length of the value at the start of rest.
func valueLength(before, name, rest string) int {
	unquoted := strings.TrimLeft(rest, `\`)
	escapes := len(rest) - len(unquoted)
	if unquoted == "" {
		return 0
	}
	switch quote := unquoted[0]; quote {
	case '"', '\'', '`':
		mark := rest[:escapes+1]
		for at := len(mark); at < len(rest); at++ {
			if !strings.HasPrefix(rest[at:], mark) {
				continue
			}
			slashes := at - len(strings.TrimRight(rest[:at], `\`))
			if escapes > 0 || slashes%2 == 0 {
				return at + len(mark)
			}
		}
		return len(rest)
	case '{', '[':
		return bracketedLength(rest)
	}
	ends := " \t\r\n;\"'`"
	switch {
	case strings.HasSuffix(before, "?") || strings.HasSuffix(before, "&"):
		ends = " \t\r\n&#\"'`"
	case strings.EqualFold(name, "authorization") || strings.HasSuffix(strings.ToLower(name), "-authorization") || strings.EqualFold(name, "cookie"):
		ends = "\r\n\"'`"
	case strings.HasSuffix(strings.TrimRight(before, " "), ";") || nextPair.MatchString(rest):
		ends = "\r\n;\"`"
	}
	if end := strings.IndexAny(rest, ends); end >= 0 {
		return end
	}
	return len(rest)
}

// nextPair matches a connection string with further pairs.
var nextPair = regexp.MustCompile(`^[^;\r\n"]*;\s*[A-Za-z][\w .]*=`)

func bracketedLength(text string) int {
	depth := 0
	for at := range len(text) {
		switch text[at] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return at + 1
			}
		}
	}
	return len(text)
}

// secretKey matches the format of an AWS secret access key.
var secretKey = regexp.MustCompile(`^[A-Za-z0-9+][A-Za-z0-9/+]{39}$`)

// isRandom reports whether a word looks random: upper and lower case letters and
// digits that alternate often. Paths, digests and compound words do not.
func isRandom(word string) bool {
	count := map[rune]int{}
	var classes, changes int
	var last int
	for _, r := range word {
		count[r]++
		class := 1
		switch {
		case unicode.IsUpper(r):
			class = 2
		case unicode.IsDigit(r):
			class = 4
		case !unicode.IsLetter(r):
			continue
		}
		classes |= class
		if last != 0 && class != last {
			changes++
		}
		last = class
	}
	entropy := 0.0
	for _, n := range count {
		p := float64(n) / float64(len(word))
		entropy -= p * math.Log2(p)
	}
	return classes == 7 && entropy > 3.8 && (5*changes > 2*len(word) || secretKey.MatchString(word))
}
