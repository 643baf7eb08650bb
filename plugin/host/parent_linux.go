package host

import (
	"os/exec"
	"syscall"
)

// endWithParent has the process killed when this one dies: a plugin does not
// watch its host.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
