package supplychain

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/exec/tool"
	"dagger/slipway/internal/report/outcome"
)

const (
	// PasswordVariable is the environment variable with the password of an
	// encrypted key; it is cosign's.
	PasswordVariable = "COSIGN_PASSWORD"
	// GitHubIssuer certifies the identities of jobs of GitHub Actions.
	GitHubIssuer = "https://token.actions.githubusercontent.com"
)

// The files that cosign is given.
const (
	privateFile, publicFile, rootFile, configFile = "cosign.key", "cosign.pub", "trusted-root.json", "signing-config.json"
	dockerFolder                                  = "docker"
)

// Signer says who signs: a key, or the job of GitHub Actions that the process is.
type Signer struct {
	// Key is a file with a private key: cosign's, or any that it can import. Empty
	// means the job.
	Key string
	// TrustedRoot and SigningConfig are files that name another sigstore.
	TrustedRoot, SigningConfig string
	// Identity are the job's variables that cosign asks for its identity with, where
	// the tools do not have them by themselves.
	Identity map[string]string
}

// Check is a usage error where the files cannot be what they are named for. It
// repeats nothing of them.
func (s Signer) Check() error {
	if s.Key != "" {
		block, err := readPEM("signing key", s.Key)
		if err != nil {
			return err
		}
		if !strings.Contains(block.Type, "PRIVATE KEY") {
			return outcome.Usagef("signing key %s: it has a PEM block %q: name the private key, such as cosign generate-key-pair makes", s.Key, block.Type)
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil && !verifiable(key) { // of another form cosign judges it
			return outcome.Usagef("signing key %s: cosign does not find what it has signed with a key of this kind: make one with cosign generate-key-pair", s.Key)
		}
	}
	return checkJSON(s.TrustedRoot, s.SigningConfig)
}

// verifiable tells whether cosign verifies what it has signed with a key: it does not
// with Ed25519 (which it hashes when it signs) or P-384 (which it takes for P-256).
func verifiable(key any) bool {
	if ec, ok := key.(*ecdsa.PrivateKey); ok {
		return ec.Curve == elliptic.P256()
	}
	_, ok := key.(*rsa.PrivateKey)
	return ok
}

// Trust says whose signature is trusted: a key's, or an identity's.
type Trust struct {
	// Key is a file with a public key.
	Key string
	// Identity is the whole name, such as
	// "https://github.com/owner/name/.github/workflows/deliver.yml@refs/heads/main";
	// Pattern is a regular expression that the whole name matches.
	Identity, Pattern string
	// Issuer certified the identity; empty means [GitHubIssuer].
	Issuer string
	// TrustedRoot is a file that names another sigstore.
	TrustedRoot string
}

// Check is a usage error where nobody is trusted, or the files cannot be what they
// are named for.
func (t Trust) Check() error {
	switch identity := t.Identity != "" || t.Pattern != ""; {
	case t.Key != "" && identity, t.Identity != "" && t.Pattern != "":
		return outcome.Usagef("a key, an identity and a pattern say different things about who is trusted: leave out all but one of them")
	case t.Key == "" && !identity:
		return outcome.Usagef("whose signature is trusted must be said: give a public key, or an identity")
	}
	if _, err := regexp.Compile(t.Pattern); err != nil {
		return outcome.Usagef("pattern %q of the trusted identity: %w", t.Pattern, err)
	}
	if t.Key != "" {
		block, err := readPEM("public key", t.Key)
		if err != nil {
			return err
		}
		if block.Type != "PUBLIC KEY" {
			return outcome.Usagef("public key %s: it has a PEM block %q: extract the public half with cosign public-key --key FILE, or openssl pkey -in FILE -pubout", t.Key, block.Type)
		}
	}
	return checkJSON(t.TrustedRoot)
}

// Required returns whose signature is required: nil where none is. It is a usage error
// to name somebody without requiring a signature.
func (t Trust) Required(required bool) (*Trust, error) {
	switch {
	case required:
		return &t, t.Check()
	case t.Key != "" || t.Identity != "" || t.Pattern != "":
		return nil, outcome.Usagef("--key and --identity say whose signature is required: add --require-signature")
	}
	return nil, nil
}

// String is who is trusted, for people.
func (t Trust) String() string {
	if t.Key != "" {
		return "the given key"
	}
	return cmp.Or(t.Identity, t.Pattern)
}

func readPEM(what, file string) (*pem.Block, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, outcome.Usagef("reading the %s: %w: name a PEM file, such as cosign generate-key-pair makes", what, err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, outcome.Usagef("%s %s: it is no PEM file, such as cosign generate-key-pair makes", what, file)
	}
	return block, nil
}

func checkJSON(files ...string) error {
	for _, file := range files {
		if file == "" {
			continue
		}
		data, err := os.ReadFile(file)
		if err == nil && !json.Valid(data) {
			err = errors.New("it is no JSON")
		}
		if err != nil {
			return outcome.Usagef("reading %s: %w: write it with cosign trusted-root create or cosign signing-config create", file, err)
		}
	}
	return nil
}

// Verify is a refusal of an image that nobody trusted has signed, in one line. What
// cannot be found out is another error.
func (t Tools) Verify(ctx context.Context, from Registry, repository string, image v1.Hash, trust Trust) error {
	dir, done, err := room()
	if err != nil {
		return err
	}
	defer done()
	c, err := newCosign(ctx, t, from, repository, image, dir)
	if err != nil {
		return err
	}
	return c.verify(ctx, trust)
}

// cosign runs cosign about one image. What it reads is copied to a folder of its
// own, so that a container can be given it.
type cosign struct {
	tools Tools
	step  step.Step
	dir   string
	image string
	flags []string // of every signature
}

func newCosign(ctx context.Context, tools Tools, registry Registry, repository string, image v1.Hash, dir string) (cosign, error) {
	c := cosign{tools: tools, dir: dir, image: registry.Reference(repository, image)}
	c.step = step.Step{Fresh: true, Env: map[string]string{}, Secrets: map[string]string{}}
	login, ok, err := registry.Login(ctx)
	if err != nil || !ok {
		return c, err
	}
	// Docker's client reads logins from the environment if it has a configuration.
	account, err := json.Marshal(map[string]any{"auths": map[string]any{
		strings.Split(c.image, "/")[0]: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(login.Username + ":" + login.Password))},
	}})
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Join(dir, dockerFolder), 0o755), c.put(dockerFolder+"/config.json", []byte("{}"), 0o644))
	}
	c.step.Env["DOCKER_CONFIG"], c.step.Secrets["DOCKER_AUTH_CONFIG"] = step.Out+"/"+dockerFolder, string(account)
	return c, err
}

// put gives cosign a file.
func (c *cosign) put(name string, content []byte, mode os.FileMode) error {
	if err := os.WriteFile(filepath.Join(c.dir, name), content, mode); err != nil { //nolint:gosec // names of ours in a directory of ours
		return fmt.Errorf("making room for cosign: %w", err)
	}
	c.step.Inputs = append(c.step.Inputs, name)
	return nil
}

// file gives cosign the copy of a file, and says how it is called there.
func (c *cosign) file(name, from string, mode os.FileMode) (string, error) {
	content, err := os.ReadFile(from)
	if err != nil {
		return "", outcome.Usagef("reading %s: %w", from, err)
	}
	return step.Out + "/" + name, c.put(name, content, mode)
}

func (c *cosign) run(ctx context.Context, args ...string) error {
	return c.tools.run(ctx, tool.Cosign, c.step, c.dir, args...)
}

// prepare makes the flags of signatures, and says by whom the signer is known.
func (s Signer) prepare(ctx context.Context, c *cosign, run Run) (own Trust, err error) {
	for name, value := range s.Identity {
		c.step.Secrets[name] = value
	}
	for flag, file := range map[string]string{rootFile: s.TrustedRoot, configFile: s.SigningConfig} {
		if file == "" {
			continue
		}
		there, err := c.file(flag, file, 0o644)
		if err != nil {
			return own, err
		}
		c.flags = append(c.flags, "--"+strings.TrimSuffix(flag, ".json")+"="+there)
	}
	if s.Key == "" {
		return Trust{Identity: run.builder(), TrustedRoot: s.TrustedRoot}, nil
	}
	if err := s.key(ctx, c); err != nil {
		return own, err
	}
	c.flags = append(c.flags, "--key="+step.Out+"/"+privateFile)
	if s.SigningConfig == "" {
		c.flags = append(c.flags, "--use-signing-config=false", "--tlog-upload=false") // a key needs no public log
	}
	return Trust{Key: filepath.Join(c.dir, publicFile)}, nil
}

// key gives cosign the private key, in its own form, and has it write the public
// half.
func (s Signer) key(ctx context.Context, c *cosign) error {
	content, err := os.ReadFile(s.Key)
	if err != nil {
		return outcome.Usagef("reading the signing key: %w", err)
	}
	c.step.Secrets[PasswordVariable] = os.Getenv(PasswordVariable) // set, or cosign asks for it at the terminal
	var failed error
	if bytes.Contains(content, []byte("BEGIN ENCRYPTED ")) {
		failed = errors.Join(
			c.put(privateFile, content, 0o600),
			c.run(ctx, "public-key", "--key="+step.Out+"/"+privateFile, "--outfile="+step.Out+"/"+publicFile),
		)
	} else {
		failed = errors.Join(
			c.put("imported.pem", content, 0o600),
			c.run(ctx, "import-key-pair", "--key="+step.Out+"/imported.pem", "--output-key-prefix="+step.Out+"/cosign"),
		)
		c.step.Inputs = append(c.step.Inputs, privateFile)
	}
	if failed != nil {
		return fmt.Errorf("using the signing key %s, with the password in %s if it has one: %w", s.Key, PasswordVariable, failed)
	}
	return nil
}

// sign runs cosign sign or attest; input is a file that it reads beside.
func (c *cosign) sign(ctx context.Context, command, input string, flags ...string) error {
	signing := *c
	if input != "" {
		signing.step.Inputs = append(slices.Clone(c.step.Inputs), input)
	}
	return signing.run(ctx, slices.Concat([]string{command, "--yes"}, c.flags, flags, []string{c.image})...)
}

// unsigned and foreign are what cosign says where there is no signature, or none
// that is trusted.
var (
	unsigned = regexp.MustCompile(`no signatures found|no attestations found|no matching attestations: *$`)
	foreign  = regexp.MustCompile(`no matching signatures|no matching attestations|none of the expected identities matched|no certificate found`)
)

func (c *cosign) verify(ctx context.Context, trust Trust) error {
	args := []string{"verify"}
	checked := *c
	switch {
	case trust.Key != "":
		there, err := checked.file("trusted.pub", trust.Key, 0o644)
		if err != nil {
			return err
		}
		args = append(args, "--key="+there, "--insecure-ignore-tlog=true") // who has the key is trusted without a log
	case trust.Identity != "":
		args = append(args, "--certificate-identity="+trust.Identity)
	default: // a pattern that matches a part would trust more than was meant
		args = append(args, "--certificate-identity-regexp=^(?:"+trust.Pattern+")$")
	}
	if trust.Key == "" {
		args = append(args, "--certificate-oidc-issuer="+cmp.Or(trust.Issuer, GitHubIssuer))
	}
	if trust.TrustedRoot != "" {
		there, err := checked.file(rootFile, trust.TrustedRoot, 0o644)
		if err != nil {
			return err
		}
		args = append(args, "--trusted-root="+there)
	}
	err := checked.run(ctx, append(args, c.image)...)
	var exit *exitError
	switch {
	case !errors.As(err, &exit):
		return err
	case exit.code == 10 || unsigned.MatchString(exit.said):
		return outcome.Refusedf("%s: it is not signed: publish it with --sign-key, or from a job that may ask for its identity", c.image)
	case slices.Contains([]int{12, 13}, exit.code) || foreign.MatchString(exit.said):
		return outcome.Refusedf("%s: %s has not signed it: %s", c.image, trust, exit.said)
	}
	return fmt.Errorf("looking for signatures of %s: %w", c.image, err)
}
