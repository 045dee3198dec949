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
	// metadataTimeout bounds the one request to the metadata endpoint, which
	// answers from the same host within milliseconds or not at all.
	metadataTimeout = 500 * time.Millisecond
	// metadataLimit is far above the few kilobytes of a real answer.
	metadataLimit = 256 << 10
	// loopback stands in where a host has no other IPv4 address.
	loopback = "127.0.0.1"
)

// Resolve asks the container metadata endpoint of ECS (version 4, the value of
// ECS_CONTAINER_METADATA_URI_V4) for the task's address and adopts it. It takes
// at most half a second. An empty uri means that there is no ECS, and does
// nothing; after an error the host's own address stays in place.
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

// containerMetadata is the part of the endpoint's answer that is needed here.
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
	// A transport of its own: the endpoint is link-local, so a proxy from the
	// environment must not see the request, and no connection should outlive it.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("answered %s", resp.Status)
	}
	var metadata containerMetadata
	if err := json.NewDecoder(io.LimitReader(resp.Body, metadataLimit)).Decode(&metadata); err != nil {
		return "", fmt.Errorf("decoding the answer: %w", err)
	}
	for _, network := range metadata.Networks {
		for _, address := range network.IPv4Addresses {
			if ip, err := netip.ParseAddr(address); err == nil && ip.Is4() {
				return ip.String(), nil
			}
		}
	}
	return "", errors.New("the answer holds no IPv4 address")
}

func hostIP() string {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return loopback
	}
	return firstIPv4(addresses)
}

// firstIPv4 passes over link-local addresses too: a Fargate task has one on
// the interface over which it reaches the metadata endpoint.
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
