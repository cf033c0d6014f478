package database

import (
	"strings"
	"syscall"
)

// tcpUserTimeout is an option of tcp(7) that package syscall does not name.
const tcpUserTimeout = 18

// giveUp bounds how long what was sent may wait for being acknowledged, 50 s: keep-alives are not sent meanwhile.
func giveUp(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var set error
	err := c.Control(func(fd uintptr) { set = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, 50_000) })
	if err != nil {
		return err
	}
	return set
}
