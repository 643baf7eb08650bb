package handshake

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// BenchmarkEngines answers: what does a connection cost on OpenSSL that would
// cost so much on crypto/tls? The client is crypto/tls in both cases and in the
// same process, so that the difference is the server's. CPU is of all threads.
func BenchmarkEngines(b *testing.B) {
	a := needSSL(b)
	root := testAuthority()
	for _, key := range []string{"ECDSA", "RSA"} {
		certs := &Certificates{ECDSA: root.certs.ECDSA}
		if key == "RSA" {
			certs = &Certificates{RSA: root.certs.RSA}
		}
		choice := Choice{Policy: Strict(), Certificates: certs}
		for _, version := range []uint16{VersionTLS12, VersionTLS13} {
			for _, engine := range []string{engineGo, engineOpenSSL} {
				b.Run(key+"/"+VersionName(version)+"/"+engine, func(b *testing.B) {
					config := &tls.Config{RootCAs: root.pool, ServerName: "localhost", MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{clientChain()}}
					accept := func(t *Transport) (*Conn, *Report) {
						if engine == engineGo {
							return a.Accept(t, func(*Hello) Choice { return choice })
						}
						return straight(a.openSSL, t, choice)
					}
					start := cpuTime(b)
					for b.Loop() {
						near, far := newPair(b)
						done := make(chan error, 1)
						go func() {
							c := tls.Client(near, config)
							_, err := c.Write([]byte("x"))
							done <- err
						}()
						conn, r := accept(NewTransport(far))
						if conn == nil {
							b.Fatal(r.Failure)
						}
						if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
							b.Fatal(err)
						}
						conn.Close()
						<-done
						near.Close()
					}
					b.ReportMetric(float64((cpuTime(b)-start).Microseconds())/float64(b.N), "cpu-µs/op")
				})
			}
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func held(b *testing.B) int64 {
	heap, _ := allocated(b)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return heap + int64(m.HeapAlloc+m.StackInuse)
}

// BenchmarkIdleConnection answers: how much memory does a connection hold that
// waits in Read, with a slice of 2 KiB as MQTT's reader brings it? It counts
// what malloc has given out, Go's heap and its stacks.
func BenchmarkIdleConnection(b *testing.B) {
	a := needSSL(b)
	root := testAuthority()
	choice := Choice{Policy: Strict(), Certificates: root.certs}
	for _, engine := range []string{engineGo, engineOpenSSL} {
		b.Run(engine, func(b *testing.B) {
			const n = 1000
			for b.Loop() {
				var open []net.Conn
				before := held(b)
				for range n {
					near, far := newPair(b)
					ready := make(chan struct{})
					go func() {
						tls.Client(near, &tls.Config{RootCAs: root.pool, ServerName: "localhost", Certificates: []tls.Certificate{clientChain()}}).Handshake()
						close(ready)
					}()
					t := NewTransport(far)
					conn, r := (*Conn)(nil), (*Report)(nil)
					if engine == engineGo {
						conn, r = a.Accept(t, func(*Hello) Choice { return choice })
					} else {
						conn, r = straight(a.openSSL, t, choice)
					}
					if conn == nil {
						b.Fatal(r.Failure)
					}
					<-ready
					go conn.Read(make([]byte, 2048))
					open = append(open, near, conn)
				}
				after := held(b)
				b.ReportMetric(float64(after-before)/n, "B/conn")
				for _, c := range open {
					c.Close()
				}
			}
		})
	}
}
