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
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/slipway/internal/exec/step"
	"dagger/slipway/internal/exec/tool"
	"dagger/slipway/internal/images/registry"
	"dagger/slipway/internal/report/outcome"
)

const (
	// PasswordVariable is the environment variable with the password of an
	// encrypted key; it is cosign's.
	PasswordVariable = "COSIGN_PASSWORD"
	// GitHubIssuer certifies the identities of jobs of GitHub Actions.
	GitHubIssuer = "https://token.actions.githubusercontent.com"
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
func (t Tools) Verify(ctx context.Context, from *registry.Registry, repository string, image v1.Hash, trust Trust) error {
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

// cosign runs cosign about one image.
type cosign struct {
	Tools
	step  step.Step
	dir   string
	image string
	flags []string // of every signature
}

// cosignFolder has copies of what cosign reads, so that a container can be given it.
const cosignFolder = "cosign"

func newCosign(ctx context.Context, tools Tools, in *registry.Registry, repository string, image v1.Hash, dir string) (cosign, error) {
	c := cosign{Tools: tools, dir: dir, image: in.Reference(repository, image)}
	c.step = step.Step{NoCache: true, Inputs: []string{cosignFolder}, Env: map[string]string{}, Secrets: map[string]string{}}
	if err := os.Mkdir(filepath.Join(dir, cosignFolder), 0o755); err != nil { //nolint:gosec // a container's user reads it
		return c, fmt.Errorf("making room for cosign: %w", err)
	}
	login, ok, err := in.Login(ctx)
	if err != nil || !ok {
		return c, err
	}
	account, err := json.Marshal(map[string]any{"auths": map[string]any{
		in.Host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(login.Username + ":" + login.Password))},
	}})
	// Docker's client reads logins from the environment if it has a configuration.
	c.step.Env["DOCKER_CONFIG"], c.step.Secrets["DOCKER_AUTH_CONFIG"] = step.Out+"/"+cosignFolder, string(account)
	return c, errors.Join(err, c.put("config.json", []byte("{}"), 0o644))
}

// put gives cosign a file. A container's user reads what is not secret.
func (c cosign) put(name string, content []byte, mode os.FileMode) error {
	if err := os.WriteFile(filepath.Join(c.dir, cosignFolder, name), content, mode); err != nil {
		return fmt.Errorf("making room for cosign: %w", err)
	}
	return nil
}

// flag gives cosign the copy of a file, and is the flag that names it: none without a file.
func (c cosign) flag(flag, name, from string) ([]string, error) {
	if from == "" {
		return nil, nil
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return nil, outcome.Usagef("reading %s: %w", from, err)
	}
	return []string{flag + "=" + there(name)}, c.put(name, content, 0o644)
}

// there is the address that cosign has a file under.
func there(name string) string { return step.Out + "/" + cosignFolder + "/" + name }

// signAs makes the flags of signatures, and says by whom the signer is known.
func (c *cosign) signAs(ctx context.Context, s Signer, run Run) (own Trust, err error) {
	maps.Copy(c.step.Secrets, s.Identity)
	root, failed := c.flag("--trusted-root", "trusted-root.json", s.TrustedRoot)
	config, err := c.flag("--signing-config", "signing-config.json", s.SigningConfig)
	if err := errors.Join(failed, err); err != nil {
		return own, err
	}
	c.flags = slices.Concat(root, config)
	if s.Key == "" {
		return Trust{Identity: run.builder(), TrustedRoot: s.TrustedRoot}, nil
	}
	if err := c.key(ctx, s.Key); err != nil {
		return own, err
	}
	c.flags = append(c.flags, "--key="+there("cosign.key"))
	if s.SigningConfig == "" {
		c.flags = append(c.flags, "--use-signing-config=false", "--tlog-upload=false") // a key needs no public log
	}
	return Trust{Key: filepath.Join(c.dir, cosignFolder, "cosign.pub")}, nil
}

// key gives cosign the private key, in its own form, and has it write the public
// half.
func (c *cosign) key(ctx context.Context, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return outcome.Usagef("reading the signing key: %w", err)
	}
	c.step.Secrets[PasswordVariable] = os.Getenv(PasswordVariable) // set, or cosign asks for it at the terminal
	name, args := "imported.pem", []string{"import-key-pair", "--key=" + there("imported.pem"), "--output-key-prefix=" + there("cosign")}
	if bytes.Contains(content, []byte("BEGIN ENCRYPTED ")) {
		name, args = "cosign.key", []string{"public-key", "--key=" + there("cosign.key"), "--outfile=" + there("cosign.pub")}
	}
	if err = c.put(name, content, 0o600); err == nil {
		err = c.run(ctx, tool.Cosign, c.step, c.dir, args...)
	}
	if err != nil {
		return fmt.Errorf("using the signing key %s, with the password in %s if it has one: %w", file, PasswordVariable, err)
	}
	return nil
}

// sign runs cosign sign or attest; input is a file that it reads beside.
func (c cosign) sign(ctx context.Context, command, input string, flags ...string) error {
	s := c.step
	if input != "" {
		s.Inputs = []string{cosignFolder, input}
	}
	return c.run(ctx, tool.Cosign, s, c.dir, slices.Concat([]string{command, "--yes"}, c.flags, flags, []string{c.image})...)
}

// unsigned and foreign are what cosign says where there is no signature, or none
// that is trusted.
var (
	unsigned = regexp.MustCompile(`no signatures found|no attestations found|no matching attestations: *$`)
	foreign  = regexp.MustCompile(`no matching signatures|no matching attestations|none of the expected identities matched|no certificate found`)
)

// verify is a refusal of an image that nobody trusted has signed.
func (c cosign) verify(ctx context.Context, trust Trust) error {
	who, failed := c.flag("--key", "trusted.pub", trust.Key)
	root, err := c.flag("--trusted-root", "trusted-root.json", trust.TrustedRoot)
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	switch {
	case trust.Key != "":
		who = append(who, "--insecure-ignore-tlog=true") // who has the key is trusted without a log
	case trust.Identity != "":
		who = []string{"--certificate-identity=" + trust.Identity, "--certificate-oidc-issuer=" + cmp.Or(trust.Issuer, GitHubIssuer)}
	default: // a pattern that matches a part would trust more than was meant
		who = []string{"--certificate-identity-regexp=^(?:" + trust.Pattern + ")$", "--certificate-oidc-issuer=" + cmp.Or(trust.Issuer, GitHubIssuer)}
	}
	err = c.run(ctx, tool.Cosign, c.step, c.dir, slices.Concat([]string{"verify"}, who, root, []string{c.image})...)
	var exit *exitError
	switch {
	case !errors.As(err, &exit):
		return err
	case exit.code == 10 || unsigned.MatchString(exit.said):
		return outcome.Refusedf("%s: it is not signed: publish it with --sign-key, or from a job that may ask for its identity", c.image)
	case exit.code == 12 || exit.code == 13 || foreign.MatchString(exit.said):
		return outcome.Refusedf("%s: %s has not signed it: %s", c.image, trust, exit.said)
	}
	return fmt.Errorf("looking for signatures of %s: %w", c.image, err)
}
