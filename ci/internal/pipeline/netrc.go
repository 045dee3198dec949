package pipeline

import (
	"maps"
	"os"
	"strconv"
)

// credentialHelper is a credential helper of git that reads the file of the variable
// NETRC: git itself reads only ~/.netrc.
// https://git-scm.com/docs/gitcredentials#_custom_helpers
const credentialHelper = `!f() { test "$1" = get || exit 0; while IFS== read -r key value; do test "$key" = host && host=$value; done; ` +
	`tr -s '[:space:]' ' ' <"$NETRC" | awk -v host="$host" 'BEGIN { RS = " " } want == "machine" { here = $1 == host } $1 == "default" { here = !found } ` +
	`want == "login" && here { print "username=" $1; found = 1 } want == "password" && here { print "password=" $1 } { want = $1 }'; }; f`

// netrcEnvironment returns the environment in which the go command and the git that it
// calls log in with a netrc file.
func netrcEnvironment(file string, getenv func(string) string) map[string]string {
	n, _ := strconv.Atoi(getenv("GIT_CONFIG_COUNT"))
	return map[string]string{
		"NETRC":                               file,
		"GIT_CONFIG_COUNT":                    strconv.Itoa(n + 1),
		"GIT_CONFIG_KEY_" + strconv.Itoa(n):   "credential.helper",
		"GIT_CONFIG_VALUE_" + strconv.Itoa(n): credentialHelper,
	}
}

// hostEnvironment adds the netrc file to the environment of the tools of this machine.
func (p Pipeline) hostEnvironment(environment map[string]string) map[string]string {
	if p.Netrc == "" {
		return environment
	}
	all := netrcEnvironment(p.Netrc, os.Getenv)
	maps.Copy(all, environment)
	return all
}
