package wire

import (
	"net"
	"syscall"
)

// quickAck returns what makes the kernel acknowledge at once what was read: servers send a room's stanza to each of our occupants
// in a small packet of its own, and hold each back until the one before is acknowledged (RFC 896), which takes 40 ms otherwise.
// The kernel forgets the wish, so it is repeated after each read.
func quickAck(c net.Conn) func() {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return func() {}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return func() {}
	}
	return func() {
		_ = raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) })
	}
}
