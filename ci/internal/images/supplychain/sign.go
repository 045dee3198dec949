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
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/slipway-cd/slipway/ci/internal/exec/step"
	"github.com/slipway-cd/slipway/ci/internal/exec/tool"
	"github.com/slipway-cd/slipway/ci/internal/images/registry"
	"github.com/slipway-cd/slipway/ci/internal/report/outcome"
)

const (
	// PasswordEnv is cosign's environment variable for the password of an encrypted
	// key.
	PasswordEnv = "COSIGN_PASSWORD"
	// GitHubIssuer is the OIDC issuer of GitHub Actions.
	GitHubIssuer = "https://token.actions.githubusercontent.com"
)

// Signer specifies the signing identity: a key, or the current GitHub Actions job.
type Signer struct {
	// Key is the path of a private key that cosign can read or import. If empty,
	// the job signs.
	Key string
	// TrustedRoot and SigningConfig are files that configure another sigstore
	// instance.
	TrustedRoot, SigningConfig string
	// Identity are the job's environment variables for cosign's OIDC token request,
	// for tools that do not inherit them.
	Identity map[string]string
}

// Check validates the files. Its errors do not contain any of their content.
func (s Signer) Check() error {
	if s.Key != "" {
		block, err := readPEM("signing key", s.Key)
		if err != nil {
			return err
		}
		if !strings.Contains(block.Type, "PRIVATE KEY") {
			return outcome.Usagef("signing key %s: it has a PEM block %q: want a private key, such as cosign generate-key-pair creates", s.Key, block.Type)
		}
		if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil && !canVerify(key) { // cosign checks other formats
			return outcome.Usagef("signing key %s: cosign cannot verify its own signatures with a key of this type: create a key with cosign generate-key-pair", s.Key)
		}
	}
	return checkJSON(s.TrustedRoot, s.SigningConfig)
}

// canVerify reports whether cosign can verify its own signatures with a key. It
// cannot with Ed25519, which it hashes when signing, or P-384, which it treats as
// P-256.
func canVerify(key any) bool {
	if ec, ok := key.(*ecdsa.PrivateKey); ok {
		return ec.Curve == elliptic.P256()
	}
	_, ok := key.(*rsa.PrivateKey)
	return ok
}

// Trust specifies whose signature is trusted: that of a key or an identity.
type Trust struct {
	// Key is the path of a public key.
	Key string
	// Identity is the complete name, such as
	// "https://github.com/owner/name/.github/workflows/ci.yml@refs/heads/main". A workflow
	// that other repositories call signs for all of them by its name alone: the caller
	// follows as "?repository=owner/name&ref=refs/heads/main". Pattern is a regular
	// expression for the complete name.
	Identity, Pattern string
	// Issuer is the OIDC issuer; if empty, [GitHubIssuer].
	Issuer string
	// TrustedRoot is a file that configures another sigstore instance.
	TrustedRoot string
}

// Check validates the trusted key or identity, and the files.
func (t Trust) Check() error {
	switch identity := t.Identity != "" || t.Pattern != ""; {
	case t.Key != "" && identity, t.Identity != "" && t.Pattern != "":
		return outcome.Usagef("a key, an identity and a pattern exclude each other: give only one")
	case t.Key == "" && !identity:
		return outcome.Usagef("no trusted signer: give a public key or an identity")
	}
	if _, err := regexp.Compile(t.Pattern); err != nil {
		return outcome.Usagef("pattern %q of the trusted identity: %w", t.Pattern, err)
	}
	if _, err := t.certificateFlags(); err != nil {
		return err
	}
	if t.Key != "" {
		block, err := readPEM("public key", t.Key)
		if err != nil {
			return err
		}
		if block.Type != "PUBLIC KEY" {
			return outcome.Usagef("public key %s: it has a PEM block %q: extract the public key with cosign public-key --key FILE, or openssl pkey -in FILE -pubout", t.Key, block.Type)
		}
	}
	return checkJSON(t.TrustedRoot)
}

// certificateFlags returns cosign's flags for what a certificate must contain.
func (t Trust) certificateFlags() ([]string, error) {
	issuer := "--certificate-oidc-issuer=" + cmp.Or(t.Issuer, GitHubIssuer)
	if t.Pattern != "" { // anchored: a partial match would trust more
		return []string{"--certificate-identity-regexp=^(?:" + t.Pattern + ")$", issuer}, nil
	}
	identity, query, _ := strings.Cut(t.Identity, "?")
	flags := []string{"--certificate-identity=" + identity, issuer}
	conditions, err := url.ParseQuery(query)
	for key, values := range conditions {
		if key != "repository" && key != "ref" || len(values) != 1 || values[0] == "" {
			err = fmt.Errorf("%q", key)
			break
		}
		flags = append(flags, "--certificate-github-workflow-"+key+"="+values[0])
	}
	if err != nil {
		return nil, outcome.Usagef("invalid --identity %q: want WORKFLOW or WORKFLOW?repository=OWNER/REPO&ref=REF: %w", t.Identity, err)
	}
	slices.Sort(flags[2:])
	return flags, nil
}

// Required returns the trust if a signature is required, else nil. A key or an
// identity without a required signature is a usage error.
func (t Trust) Required(required bool) (*Trust, error) {
	switch {
	case required:
		return &t, t.Check()
	case t.Key != "" || t.Identity != "" || t.Pattern != "":
		return nil, outcome.Usagef("--key and --identity need --require-signature: add it")
	}
	return nil, nil
}

// ForPromotion returns the trust that a promotion requires. Without allowUnsigned, a signer
// must be given.
func (t Trust) ForPromotion(allowUnsigned bool) (*Trust, error) {
	given := t.Key != "" || t.Identity != "" || t.Pattern != ""
	switch {
	case given && allowUnsigned:
		return nil, outcome.Usagef("--allow-unsigned needs no --key or --identity: leave out one of them")
	case allowUnsigned:
		return nil, nil
	case !given:
		return nil, outcome.Usagef("a promotion requires signed images: trust a signer with --key or --identity, or use --allow-unsigned")
	}
	return &t, t.Check()
}

// String describes whose signature is trusted.
func (t Trust) String() string {
	if t.Key != "" {
		return "the given key"
	}
	return cmp.Or(t.Identity, t.Pattern)
}

func readPEM(what, file string) (*pem.Block, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, outcome.Usagef("reading the %s: %w: want a PEM file, such as cosign generate-key-pair creates", what, err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, outcome.Usagef("%s %s: it is not a PEM file, such as cosign generate-key-pair creates", what, file)
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
			err = errors.New("it is not JSON")
		}
		if err != nil {
			return outcome.Usagef("reading %s: %w: create it with cosign trusted-root create or cosign signing-config create", file, err)
		}
	}
	return nil
}

// Verify refuses an image without a trusted signature. Other failures are other
// errors.
func (t Tools) Verify(ctx context.Context, from *registry.Registry, repository string, image v1.Hash, trust Trust) error {
	dir, cleanup, err := tempDir()
	if err != nil {
		return err
	}
	defer cleanup()
	c, err := newCosign(ctx, t, from, repository, image, dir)
	if err != nil {
		return err
	}
	return c.verify(ctx, trust)
}

// cosign runs cosign on one image.
type cosign struct {
	Tools
	step  step.Step
	dir   string
	image string
	flags []string // for every signature
}

// cosignFolder has copies of cosign's input files, for use in a container.
const cosignFolder = "cosign"

func newCosign(ctx context.Context, tools Tools, in *registry.Registry, repository string, image v1.Hash, dir string) (cosign, error) {
	c := cosign{Tools: tools, dir: dir, image: in.Reference(repository, image)}
	c.step = step.Step{NoCache: true, Inputs: []string{cosignFolder}, Env: map[string]string{}, Secrets: map[string]string{}}
	if err := os.Mkdir(filepath.Join(dir, cosignFolder), 0o755); err != nil {
		return c, fmt.Errorf("writing the input of cosign: %w", err)
	}
	login, ok, err := in.Login(ctx)
	if err != nil || !ok {
		return c, err
	}
	account, err := json.Marshal(map[string]any{"auths": map[string]any{
		in.Host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(login.Username + ":" + login.Password))},
	}})
	// Docker's client reads credentials from the environment if it has a
	// configuration file.
	c.step.Env["DOCKER_CONFIG"], c.step.Secrets["DOCKER_AUTH_CONFIG"] = step.Out+"/"+cosignFolder, string(account)
	return c, errors.Join(err, c.writeFile("config.json", []byte("{}"), 0o644))
}

// writeFile writes an input file of cosign. Files without secrets are readable by a
// container's user.
func (c cosign) writeFile(name string, content []byte, mode os.FileMode) error {
	if err := os.WriteFile(filepath.Join(c.dir, cosignFolder, name), content, mode); err != nil { //nolint:gosec // the name is a constant of this package
		return fmt.Errorf("writing the input of cosign: %w", err)
	}
	return nil
}

// fileFlag copies an input file and returns the flag that names the copy; no flag
// without a file.
func (c cosign) fileFlag(fileFlag, name, from string) ([]string, error) {
	if from == "" {
		return nil, nil
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return nil, outcome.Usagef("reading %s: %w", from, err)
	}
	return []string{fileFlag + "=" + cosignPath(name)}, c.writeFile(name, content, 0o644)
}

// cosignPath returns the path of an input file for cosign.
func cosignPath(name string) string { return step.Out + "/" + cosignFolder + "/" + name }

// useSigner sets the flags for signatures and returns the trust that verifies them.
func (c *cosign) useSigner(ctx context.Context, s Signer, run Run) (trust Trust, err error) {
	maps.Copy(c.step.Secrets, s.Identity)
	root, failed := c.fileFlag("--trusted-root", "trusted-root.json", s.TrustedRoot)
	config, err := c.fileFlag("--signing-config", "signing-config.json", s.SigningConfig)
	if err := errors.Join(failed, err); err != nil {
		return trust, err
	}
	c.flags = slices.Concat(root, config)
	if s.Key == "" {
		return Trust{Identity: run.identity(), TrustedRoot: s.TrustedRoot}, nil
	}
	if err := c.importKey(ctx, s.Key); err != nil {
		return trust, err
	}
	c.flags = append(c.flags, "--key="+cosignPath("cosign.key"))
	if s.SigningConfig == "" {
		c.flags = append(c.flags, "--use-signing-config=false", "--tlog-upload=false") // a key does not need a transparency log
	}
	return Trust{Key: filepath.Join(c.dir, cosignFolder, "cosign.pub")}, nil
}

// importKey converts the private key to cosign's format and writes the public key.
func (c *cosign) importKey(ctx context.Context, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return outcome.Usagef("reading the signing key: %w", err)
	}
	c.step.Secrets[PasswordEnv] = os.Getenv(PasswordEnv) // if unset, cosign prompts for it
	name, args := "imported.pem", []string{"import-key-pair", "--key=" + cosignPath("imported.pem"), "--output-key-prefix=" + cosignPath("cosign")}
	if bytes.Contains(content, []byte("BEGIN ENCRYPTED ")) {
		name, args = "cosign.key", []string{"public-key", "--key=" + cosignPath("cosign.key"), "--outfile=" + cosignPath("cosign.pub")}
	}
	if err = c.writeFile(name, content, 0o600); err == nil {
		err = c.run(ctx, tool.Cosign, c.step, c.dir, args...)
	}
	if err != nil {
		return fmt.Errorf("using the signing key %s, with the password in %s if it has one: %w", file, PasswordEnv, err)
	}
	return nil
}

// sign runs cosign sign or attest; input is a further input file.
func (c cosign) sign(ctx context.Context, command, input string, flags ...string) error {
	s := c.step
	if input != "" {
		s.Inputs = []string{cosignFolder, input}
	}
	return c.run(ctx, tool.Cosign, s, c.dir, slices.Concat([]string{command, "--yes"}, c.flags, flags, []string{c.image})...)
}

// unsignedPattern and untrustedPattern match cosign's errors about a missing or an
// untrusted signature.
var (
	unsignedPattern  = regexp.MustCompile(`no signatures found|no attestations found|no matching attestations: *$`)
	untrustedPattern = regexp.MustCompile(`no matching signatures|no matching attestations|none of the expected identities matched|no certificate found|not found in certificate`)
)

// verify refuses an image without a trusted signature.
func (c cosign) verify(ctx context.Context, trust Trust) error {
	args, failed := c.fileFlag("--key", "trusted.pub", trust.Key)
	root, err := c.fileFlag("--trusted-root", "trusted-root.json", trust.TrustedRoot)
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	if trust.Key != "" {
		args = append(args, "--insecure-ignore-tlog=true") // a key is trusted without a transparency log
	} else if args, err = trust.certificateFlags(); err != nil {
		return err
	}
	err = c.run(ctx, tool.Cosign, c.step, c.dir, slices.Concat([]string{"verify"}, args, root, []string{c.image})...)
	switch exit, ok := errors.AsType[*exitError](err); {
	case !ok:
		return err
	case exit.code == 10 || unsignedPattern.MatchString(exit.stderr):
		return outcome.Refusedf("%s is not signed: run slipway publish --sign-key, or publish it from a job with the permission id-token: write", c.image)
	case exit.code == 12 || exit.code == 13 || untrustedPattern.MatchString(exit.stderr):
		return outcome.Refusedf("%s is not signed by %s: %s", c.image, trust, exit.stderr)
	}
	return fmt.Errorf("verifying the signature of %s: %w", c.image, err)
}
