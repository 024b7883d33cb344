package broker

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

// handshakesMax bounds the connections whose credentials were not accepted yet.
const handshakesMax = 256

// door counts the connections whose credentials were not accepted yet, apart from
// those of units, whose places they never take. When there are too many, one is closed:
// of the address that has the most of them, the oldest one that has not sent a CONNECT. So who
// holds connections open without saying anything loses his own, and a unit elsewhere
// gets in. A fixed number for each address would shut out units behind one TLS proxy.
type door struct {
	mu      sync.Mutex
	waiting []*guest // the oldest first
}

type guest struct {
	*conn
	from  netip.Prefix // the zero value stands for all whose address is not known
	known bool         // CONNECT came, and its credentials are being checked
}

// enter counts c in, and gives the connection that has to go, which can be c itself;
// nil if there is room.
func (d *door) enter(c *conn) *conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting = append(d.waiting, &guest{conn: c, from: origin(c.RemoteAddr())})
	if len(d.waiting) <= handshakesMax {
		return nil
	}
	at := d.last()
	gone := d.waiting[at].conn
	d.waiting = slices.Delete(d.waiting, at, at+1)
	return gone
}

// last gives the index of the one who has to go.
func (d *door) last() int {
	crowd := map[netip.Prefix]int{}
	for _, g := range d.waiting {
		crowd[g.from]++
	}
	heaviest := d.waiting[0].from
	for _, g := range d.waiting {
		if crowd[g.from] > crowd[heaviest] {
			heaviest = g.from
		}
	}
	silent := slices.IndexFunc(d.waiting, func(g *guest) bool { return g.from == heaviest && !g.known })
	if silent >= 0 {
		return silent
	}
	return slices.IndexFunc(d.waiting, func(g *guest) bool { return g.from == heaviest })
}

// know notes that c has sent its CONNECT.
func (d *door) know(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := d.at(c); at >= 0 {
		d.waiting[at].known = true
	}
}

// leave counts c out: it is accepted, or it has ended. It may be called again.
func (d *door) leave(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at := d.at(c); at >= 0 {
		d.waiting = slices.Delete(d.waiting, at, at+1)
	}
}

func (d *door) at(c *conn) int {
	return slices.IndexFunc(d.waiting, func(g *guest) bool { return g.conn == c })
}

// origin gives what counts as one address: all of IPv4, and of IPv6 the 64 bits that
// name a network.
func origin(address net.Addr) netip.Prefix {
	port, err := netip.ParseAddrPort(address.String())
	if err != nil {
		return netip.Prefix{}
	}
	const network = 64
	ip := port.Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = network
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}
