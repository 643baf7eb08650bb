package embed

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// The child's first argument and the environment variable that names the
// library. Both must be there, so that no user's command can be mistaken.
const (
	childArg = "engine"
	childEnv = "HUBSCOPE_ENGINE_LIBRARY"
)

// liveFD is the read end of the parent's pipe. End of file means: stop, or the
// parent is gone.
const liveFD = 3

// init turns this process into the engine when it was started as one. It has
// to happen here and not in main: only in init is the goroutine certain to be
// on the main thread, whose 8 MiB stack the engine needs, and only so can any
// binary that links this package, a test's too, be its own engine.
func init() {
	library := os.Getenv(childEnv)
	if len(os.Args) < 2 || os.Args[1] != childArg || library == "" {
		return
	}
	runtime.LockOSThread()
	if err := runChild(library, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runChild loads the library and gives it args, a clickhouse-local command
// line, with a last argument added: a file that ends when the engine shall stop.
func runChild(library string, args []string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.NewFile(liveFD, "parent"))
		w.Close()
	}()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		w.Close()
	}()

	handle, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("load %s: %w", library, err)
	}
	var (
		cmdline     func(argc int32, argv **byte) unsafe.Pointer
		resultError func(result unsafe.Pointer) string
	)
	for name, fn := range map[string]any{"chdb_query_cmdline": &cmdline, "chdb_result_error": &resultError} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return fmt.Errorf("%s is not a ClickHouse engine this version knows: %w", library, err)
		}
		purego.RegisterFunc(fn, symbol)
	}
	args = append([]string{"clickhouse"}, append(args, fmt.Sprintf("/proc/self/fd/%d", r.Fd()))...)
	argv := make([]*byte, len(args)+1)
	for i, arg := range args {
		argv[i] = &append([]byte(arg), 0)[0]
	}
	result := cmdline(int32(len(args)), &argv[0])
	runtime.KeepAlive(argv)
	runtime.KeepAlive(r)
	if result != nil {
		if text := resultError(result); text != "" {
			return fmt.Errorf("engine: %s", text)
		}
	}
	return nil
}
