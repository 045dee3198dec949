package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

const (
	// metadataTimeout is the timeout of the request to the metadata endpoint, which is on
	// the same host and responds within milliseconds.
	metadataTimeout = 500 * time.Millisecond
	// metadataLimit is the maximum size of the response, usually a few kilobytes.
	metadataLimit = 256 << 10
	// loopback is the address of a host without another IPv4 address.
	loopback = "127.0.0.1"
)

// Resolve sets the address to the task's, from the container metadata endpoint of ECS
// (version 4, the value of ECS_CONTAINER_METADATA_URI_V4). It takes at most half a
// second. It does nothing if uri is empty, and keeps the host's address after an error.
func (i *Instance) Resolve(ctx context.Context, uri string) error {
	if uri == "" {
		return nil
	}
	ip, err := taskIP(ctx, uri)
	if err != nil {
		return fmt.Errorf("reading the task's address from %s: %w", uri, err)
	}
	i.setIP(ip)
	return nil
}

// containerMetadata is the used part of the endpoint's response.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate.html
type containerMetadata struct {
	Networks []struct {
		IPv4Addresses []string
	}
}

func taskIP(ctx context.Context, uri string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, metadataTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return "", err
	}
	// A new transport: the endpoint is link-local, so that a proxy in the environment
	// must not be used, and the connection is not kept.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", resp.Status)
	}
	var metadata containerMetadata
	if err := json.NewDecoder(io.LimitReader(resp.Body, metadataLimit)).Decode(&metadata); err != nil {
		return "", fmt.Errorf("decoding the response: %w", err)
	}
	for _, network := range metadata.Networks {
		for _, address := range network.IPv4Addresses {
			if ip, err := netip.ParseAddr(address); err == nil && ip.Is4() {
				return ip.String(), nil
			}
		}
	}
	return "", errors.New("the response has no IPv4 address")
}

func hostIP() string {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return loopback
	}
	return firstIPv4(addresses)
}

// firstIPv4 returns the first IPv4 address that is neither loopback nor link-local, such
// as that of a Fargate task's interface to the metadata endpoint.
func firstIPv4(addresses []net.Addr) string {
	for _, address := range addresses {
		prefix, ok := address.(*net.IPNet)
		if !ok {
			continue
		}
		ip := prefix.IP.To4()
		if ip != nil && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() {
			return ip.String()
		}
	}
	return loopback
}
