package awsauth

import (
	"bufio"
	"cmp"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

// unknownProfile is the error of a profile that is not defined.
func unknownProfile(name string, known []string) error {
	file := configFile()
	if len(known) == 0 {
		return outcome.Usagef("no AWS profile %q: %s has none (create one with aws configure sso, or unset AWS_PROFILE)", name, file)
	}
	if near := outcome.Nearest(name, known); near != "" {
		return outcome.Usagef("no AWS profile %q: did you mean %q? %s has %s", name, near, file, strings.Join(known, ", "))
	}
	return outcome.Usagef("no AWS profile %q: use one that %s has: %s", name, file, strings.Join(known, ", "))
}

// profile returns the profile named by the environment.
func profile() string {
	return cmp.Or(os.Getenv("AWS_PROFILE"), os.Getenv("AWS_DEFAULT_PROFILE"))
}

func configFile() string {
	return cmp.Or(os.Getenv("AWS_CONFIG_FILE"), config.DefaultSharedConfigFilename())
}

// profiles returns the sorted names of all profiles. An unreadable file has none:
// the SDK reports it.
func profiles() []string {
	names := map[string]bool{}
	for _, name := range sections(configFile()) {
		if rest, ok := strings.CutPrefix(name, "profile "); ok {
			names[strings.TrimSpace(rest)] = true
		} else if name == "default" {
			names[name] = true
		}
	}
	for _, name := range sections(credentialsFile()) {
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// sections returns the section names of an AWS configuration file.
// https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
func sections(file string) []string {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	var names []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if !strings.HasPrefix(line, "[") {
			continue
		}
		if name, _, ok := strings.Cut(line[1:], "]"); ok {
			names = append(names, outcome.OneLine(name))
		}
	}
	return names
}
