//go:build !linux

package servers

import "syscall"

// dieWithParent does nothing where the kernel offers no such thing: a killed test binary leaves its children running.
func dieWithParent() *syscall.SysProcAttr { return nil }
