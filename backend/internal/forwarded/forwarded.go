// Package forwarded finds out who asks, where proxies stand between.
package forwarded

import (
	"bytes"
	"net/netip"
)

// Client is the address of who made a request that peer passed on. lines are
// the values of the header X-Forwarded-For, one for each line of it, and hops
// is how many proxies append to it, each the address that it was asked by.
//
// Only what those proxies wrote can be believed, which is at the end: what
// stands before it is the client's own invention. So the address is the hops-th
// from the right; if it is not there or malformed, the nearest right of it; and
// if there is none, peer. Proxies of ours have private addresses: any other peer
// is itself the client.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html
func Client(peer netip.Addr, lines [][]byte, hops int) netip.Addr {
	client := peer.Unmap()
	if !client.IsPrivate() && !client.IsLoopback() {
		return client
	}
	for i := len(lines) - 1; i >= 0 && hops > 0; i-- {
		for rest := lines[i]; rest != nil && hops > 0; hops-- {
			var entry []byte
			rest, entry = cutLast(rest)
			address, ok := parse(entry)
			if !ok {
				return client
			}
			client = address
		}
	}
	return client
}

// cutLast takes the last entry off a list. The rest of a single one is nil.
func cutLast(list []byte) (rest, last []byte) {
	if i := bytes.LastIndexByte(list, ','); i >= 0 {
		return list[:i:i], list[i+1:]
	}
	return nil, list
}

// longest is the length of an address of version 6 in brackets with a port.
const longest = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535")

// parse reads an address with or without a port, which an Application Load
// Balancer adds if it is told to preserve it.
func parse(entry []byte) (netip.Addr, bool) {
	entry = bytes.Trim(entry, " \t")
	if len(entry) > longest || bytes.IndexByte(entry, '%') >= 0 { // a zone means nothing on another host
		return netip.Addr{}, false
	}
	text := string(entry)
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Unmap(), true
	}
	address, err := netip.ParseAddrPort(text)
	return address.Addr().Unmap(), err == nil
}
