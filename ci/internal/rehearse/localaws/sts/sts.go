// Package sts is the embedded Security Token Service. Web identity tokens are read, not
// verified, because it has no identity provider.
package sts

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/slipway-cd/slipway/ci/internal/awsauth"
	"github.com/slipway-cd/slipway/ci/internal/rehearse/localaws/wire"
)

// session is the session of issued credentials.
type session struct {
	arn, id string
	expires time.Time
}

// Tokens issues temporary credentials and records their sessions.
type Tokens struct {
	scope wire.Scope

	mu       sync.Mutex
	sessions map[string]session // by access key id
}

// New returns an issuer without sessions.
func New(scope wire.Scope) *Tokens {
	return &Tokens{scope: scope, sessions: map[string]session{}}
}

// Service returns the STS API.
func (t *Tokens) Service() wire.Service {
	return wire.Service{
		Name:      "sts",
		Version:   "2011-06-15",
		Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
		Operations: []wire.Operation{
			wire.NewOperation("GetCallerIdentity", t.getCallerIdentity),
			wire.NewOperation("AssumeRole", t.assumeRole),
			wire.NewOperation("AssumeRoleWithWebIdentity", t.assumeRoleWithWebIdentity),
		},
	}
}

// Expired reports whether an access key was issued here and has expired.
func (t *Tokens) Expired(accessKey string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.sessions[accessKey]
	return ok && time.Now().After(s.expires)
}

// CallerARN returns the ARN of an access key's session, or of the local user, which has
// all other keys.
func (t *Tokens) CallerARN(accessKey string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.session(accessKey).arn
}

func (t *Tokens) session(accessKey string) session {
	if s, ok := t.sessions[accessKey]; ok {
		return s
	}
	return session{arn: t.scope.GlobalARN("iam", "user/local"), id: "AIDALOCALLOCALLOCALLO"}
}

func (t *Tokens) getCallerIdentity(ctx context.Context, _ *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.session(wire.CallerAccessKey(ctx))
	return &sts.GetCallerIdentityOutput{Account: &t.scope.Account, Arn: &s.arn, UserId: &s.id}, nil
}

func (t *Tokens) assumeRole(ctx context.Context, in *sts.AssumeRoleInput) (*sts.AssumeRoleOutput, error) {
	user, credentials, err := t.issue(ctx, aws.ToString(in.RoleArn), aws.ToString(in.RoleSessionName), in.DurationSeconds)
	if err != nil {
		return nil, err
	}
	return &sts.AssumeRoleOutput{AssumedRoleUser: user, Credentials: credentials}, nil
}

func (t *Tokens) assumeRoleWithWebIdentity(ctx context.Context, in *sts.AssumeRoleWithWebIdentityInput) (*sts.AssumeRoleWithWebIdentityOutput, error) {
	var claims claims
	if err := awsauth.ParseClaims(aws.ToString(in.WebIdentityToken), &claims); err != nil {
		return nil, wire.Errorf("InvalidIdentityToken", "The ID Token provided is not a valid JWT. (%v)", err)
	}
	if claims.Expires > 0 && time.Now().After(time.Unix(int64(claims.Expires), 0)) {
		return nil, wire.Errorf("ExpiredTokenException", "Token expired: current date/time %d must be before the expiration date/time %.0f",
			time.Now().Unix(), claims.Expires)
	}
	user, credentials, err := t.issue(ctx, aws.ToString(in.RoleArn), aws.ToString(in.RoleSessionName), in.DurationSeconds)
	if err != nil {
		return nil, err
	}
	provider := t.scope.GlobalARN("iam", "oidc-provider/"+strings.TrimPrefix(claims.Issuer, "https://"))
	return &sts.AssumeRoleWithWebIdentityOutput{
		AssumedRoleUser: user, Credentials: credentials, SubjectFromWebIdentityToken: &claims.Subject,
		Audience: new(claims.Audience.first()), Provider: &provider,
	}, nil
}

// issue returns credentials for a session of a role.
func (t *Tokens) issue(ctx context.Context, role, name string, seconds *int32) (*types.AssumedRoleUser, *types.Credentials, error) {
	wire.AddResources(ctx, role)
	duration := time.Hour
	if seconds != nil {
		duration = time.Duration(*seconds) * time.Second
	}
	if duration < 15*time.Minute || duration > 12*time.Hour {
		return nil, nil, wire.Errorf("ValidationError", "The requested DurationSeconds must be between 900 and 43200.")
	}
	_, roleName, ok := strings.Cut(role, ":role/")
	if !ok || name == "" {
		return nil, nil, wire.Errorf("ValidationError", "%s is invalid", role)
	}
	id := "AROALOCALLOCALLOCALLO:" + name
	s := session{
		arn: t.scope.GlobalARN("sts", "assumed-role/"+wire.ResourceName(roleName)+"/"+name), id: id, expires: time.Now().UTC().Add(duration),
	}
	key := "ASIA" + strings.ToUpper(wire.RandomHex(16))
	t.mu.Lock()
	t.sessions[key] = s
	t.mu.Unlock()
	return &types.AssumedRoleUser{Arn: &s.arn, AssumedRoleId: &id}, &types.Credentials{
		AccessKeyId: &key, SecretAccessKey: new(wire.RandomHex(40)), SessionToken: new(wire.RandomHex(64)), Expiration: &s.expires,
	}, nil
}

// audience is a claim that is a string or a list of strings.
type audience []string

func (a *audience) UnmarshalJSON(raw []byte) error {
	var one string
	if err := json.Unmarshal(raw, &one); err == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(a))
}

func (a audience) first() string {
	if len(a) == 0 {
		return ""
	}
	return a[0]
}

type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Expires  float64  `json:"exp"`
}
