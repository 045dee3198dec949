// Package forwarded finds the address of a client behind proxies.
package forwarded

import (
	"bytes"
	"net/netip"
)

// ClientAddress returns the address of the client of a request that came from peer. lines
// are the values of the X-Forwarded-For headers. hops is how many trusted proxies append
// to it, each the address of its own client.
//
// Only the entries of those proxies, at the end, can be trusted: a client can send any
// others. The address is the hops-th from the right, or if that is missing or malformed,
// the nearest to the right of it, or else peer. Trusted proxies have private addresses: a
// peer with any other address is the client.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html
func ClientAddress(peer netip.Addr, lines [][]byte, hops int) netip.Addr {
	client := peer.Unmap()
	if !client.IsPrivate() && !client.IsLoopback() {
		return client
	}
	for i := len(lines) - 1; i >= 0 && hops > 0; i-- {
		for rest := lines[i]; rest != nil && hops > 0; hops-- {
			var entry []byte
			rest, entry = cutLast(rest)
			address, ok := parseAddress(entry)
			if !ok {
				return client
			}
			client = address
		}
	}
	return client
}

// cutLast returns the last entry of a list and the rest, which is nil for a single entry.
func cutLast(list []byte) (rest, last []byte) {
	if i := bytes.LastIndexByte(list, ','); i >= 0 {
		return list[:i:i], list[i+1:]
	}
	return nil, list
}

// maxAddressLength is the length of an IPv6 address in brackets with a port.
const maxAddressLength = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535")

// parseAddress parses an address with or without a port, which an Application Load
// Balancer can be configured to preserve.
func parseAddress(entry []byte) (netip.Addr, bool) {
	entry = bytes.Trim(entry, " \t")
	if len(entry) > maxAddressLength || bytes.IndexByte(entry, '%') >= 0 { // a zone has no meaning on another host
		return netip.Addr{}, false
	}
	text := string(entry)
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Unmap(), true
	}
	address, err := netip.ParseAddrPort(text)
	return address.Addr().Unmap(), err == nil
}
