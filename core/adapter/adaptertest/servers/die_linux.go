package servers

import "syscall"

// dieWithParent makes the kernel kill a child when the test binary is gone, whatever ended that.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
