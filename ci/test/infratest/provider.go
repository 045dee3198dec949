package infratest

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
)

// providerProxy passes Terraform's calls on to a provider. It answers those by itself that
// take most CPU time of each command: the provider returns the schemas of 1500 resource
// types, which Terraform decodes, and checks them all whenever it validates its configuration.
// Terraform has each resource validated again for each plan.
type providerProxy struct {
	provider *grpc.ClientConn
	program  string
	dir      string   // of the configuration
	answers  sync.Map // to what does not depend on the provider's configuration, by call and request
}

// schemas are a program's, which many workspaces have in common.
var schemas sync.Map

// serveProxy starts a proxy of the provider at an address, for the configuration in a
// folder, and returns its own address.
func serveProxy(t testing.TB, address, program, configuration string) string {
	t.Helper()
	connection, err := grpc.NewClient("unix:"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(1<<30), grpc.MaxCallSendMsgSize(1<<30)))
	require.NoError(t, err)
	p := &providerProxy{provider: connection, program: program, dir: configuration}
	dir, err := os.MkdirTemp("", "provider") // shorter than t.TempDir: the address of a socket has at most 107 bytes
	require.NoError(t, err)
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	server := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(p.handle), grpc.MaxRecvMsgSize(1<<30), grpc.MaxSendMsgSize(1<<30))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		<-served
		_ = connection.Close()
		_ = os.RemoveAll(dir)
	})
	return filepath.Join(dir, "s")
}

func (p *providerProxy) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	service, call, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if !strings.HasPrefix(service, "tfplugin") { // go-plugin's streams of output and further connections
		return status.Error(codes.Unimplemented, method)
	}
	var request, response []byte
	err := stream.RecvMsg(&request)
	if err != nil {
		return err
	}
	switch call {
	case "GetSchema", "PrepareProviderConfig", "ValidateResourceTypeConfig", "ValidateDataSourceConfig":
		response, err = p.once(stream.Context(), method, call, request)
	default:
		err = p.provider.Invoke(stream.Context(), method, &request, &response)
	}
	if err != nil {
		return err
	}
	return stream.SendMsg(&response)
}

// once returns the answer to a call, for which it asks the provider the first time only.
func (p *providerProxy) once(ctx context.Context, method, call string, request []byte) (response []byte, err error) {
	key := call + string(request)
	if known, ok := p.answers.Load(key); ok {
		return known.([]byte), nil
	}
	if call == "GetSchema" {
		response, err = p.schema(ctx, method, request)
	} else {
		err = p.provider.Invoke(ctx, method, &request, &response)
	}
	if err == nil {
		p.answers.Store(key, response)
	}
	return response, err
}

// schema returns the schemas of the types in use.
func (p *providerProxy) schema(ctx context.Context, method string, request []byte) ([]byte, error) {
	all, ok := schemas.Load(p.program)
	if !ok {
		var response []byte
		if err := p.provider.Invoke(ctx, method, &request, &response); err != nil {
			return nil, err
		}
		all, _ = schemas.LoadOrStore(p.program, response)
	}
	types := map[string]bool{}
	if err := typesIn(p.dir, types); err != nil {
		return nil, err
	}
	return filterSchemas(all.([]byte), types)
}

// filterSchemas returns a GetProviderSchema.Response with only the types named.
// https://github.com/hashicorp/terraform/blob/v1.11.4/docs/plugin-protocol/tfplugin5.8.proto
func filterSchemas(response []byte, types map[string]bool) (kept []byte, err error) {
	for len(response) > 0 {
		number, kind, tag := protowire.ConsumeTag(response)
		if tag < 0 {
			return nil, protowire.ParseError(tag)
		}
		size := protowire.ConsumeFieldValue(number, kind, response[tag:])
		if size < 0 {
			return nil, protowire.ParseError(size)
		}
		field := response[:tag+size]
		response = response[tag+size:]
		switch number {
		case 2, 3, 8: // resource_schemas, data_source_schemas, ephemeral_resource_schemas: map<string, Schema>
			entry, _ := protowire.ConsumeBytes(field[tag:])
			_, _, n := protowire.ConsumeTag(entry)
			if name, _ := protowire.ConsumeString(entry[max(n, 0):]); !types[name] {
				continue
			}
		}
		kept = append(kept, field...)
	}
	return kept, nil
}

var providerType = regexp.MustCompile(`"(aws_\w+)"`)

// typesIn adds the AWS provider's types that an initialised configuration and its modules name.
func typesIn(dir string, types map[string]bool) error {
	modules := struct{ Modules []struct{ Dir string } }{[]struct{ Dir string }{{"."}}}
	list, err := os.ReadFile(filepath.Join(dir, ".terraform", "modules", "modules.json"))
	if err == nil {
		err = json.Unmarshal(list, &modules)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // it calls none
		return err
	}
	for _, module := range modules.Modules {
		files := os.DirFS(filepath.Join(dir, module.Dir))
		err := fs.WalkDir(files, ".", func(name string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(name) != ".tf" {
				return err
			}
			text, err := fs.ReadFile(files, name)
			for _, match := range providerType.FindAllSubmatch(text, -1) {
				types[string(match[1])] = true
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rawCodec leaves messages encoded.
type rawCodec struct{}

var _ encoding.CodecV2 = rawCodec{}

func (rawCodec) Marshal(message any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*message.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, message any) error {
	*message.(*[]byte) = data.Materialize()
	return nil
}

func (rawCodec) Name() string { return "proto" }
