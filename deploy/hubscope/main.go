// Command hubscope is the whole product in one binary: an instrumented IoT hub
// core, the collector that stores its connection events in ClickHouse, the
// KQL query service, and the tools around them.
//
// It only wires: flags, one configuration file, signals, and what `up` embeds.
// Everything a command does is in the package that owns it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// version is set by the linker; see the Makefile.
var version = "devel"

func main() { os.Exit(run(os.Args[1:])) }

// Exit codes of the commands.
const (
	exitFailed = 1 // it did not work; the reason is on standard error
	exitUsage  = 2 // the command line or the configuration is wrong
)

func run(args []string) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		// Some send a signal to the process and to its group: that is one.
		time.Sleep(500 * time.Millisecond)
		for len(signals) > 0 {
			<-signals
		}
		<-signals // another one ends what hangs
		os.Exit(exitFailed)
	}()

	var cmds commands
	parser, err := kong.New(&cmds,
		kong.Name("hubscope"),
		kong.Description("Connection-log analytics for IoT fleets: which device speaks which TLS, and whom would enforcement hit?"),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		panic(err) // a wrong struct tag of ours
	}
	kctx, err := parser.Parse(args)
	if err != nil {
		var wrong *kong.ParseError
		if errors.As(err, &wrong) && wrong.Context != nil {
			fmt.Fprintf(os.Stderr, "hubscope: %v (see hubscope %s--help)\n", err, commandOf(wrong.Context))
		} else {
			fmt.Fprintf(os.Stderr, "hubscope: %v\n", err)
		}
		return exitUsage
	}
	if err := kctx.Run(); err != nil {
		var code interface{ ExitCode() int }
		if errors.As(err, &code) {
			// The command has said what there is to say.
			if text := err.Error(); text != "" {
				fmt.Fprintln(os.Stderr, text)
			}
			return code.ExitCode()
		}
		fmt.Fprintf(os.Stderr, "hubscope: %v\n", err)
		return exitFailed
	}
	return 0
}

func commandOf(ctx *kong.Context) string {
	if c := ctx.Command(); c != "" {
		return c + " "
	}
	return ""
}

// versionCmd is `hubscope version`.
type versionCmd struct{}

// Run prints the version of the binary and of the Go toolchain that built it.
func (versionCmd) Run() error {
	info, _ := debug.ReadBuildInfo()
	fmt.Printf("hubscope %s %s\n", version, info.GoVersion)
	return nil
}
