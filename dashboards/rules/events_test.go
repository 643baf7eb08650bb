package rules

import (
	"fmt"
	"time"

	"hubscope/hub/handshake"
	"hubscope/ingest"
)

// A scenario is what happens on a hub of its own, and the rows that the rule has
// of that hub then.
type scenario struct {
	name   string
	rule   string
	events func(now time.Time) []ingest.Event // Hub, Node and Category are filled in
	// samples of PipelineMetrics, likewise.
	samples func(now time.Time) []ingest.Metric
	want    []row
}

// row is a row of a rule's query. Its value is at least value, and at most most
// if that is not 0.
type row struct {
	labels      map[string]string
	value, most float64
}

const (
	weak   = "TLS_RSA_WITH_AES_128_CBC_SHA"
	strong = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
)

const day = 24 * time.Hour

// connect is a device's connection that was accepted.
func connect(device, version, cipher string, at time.Time) ingest.Event {
	e := ingest.Event{
		TimeGenerated: at, OperationName: ingest.DeviceConnect, Level: ingest.Information, Stage: ingest.StageSession, DeviceId: device,
		Protocol: ingest.Mqtt, AuthType: ingest.AuthSAS, TlsVersion: version, TlsCipher: cipher, OfferedVersions: []string{version}, OfferedCiphers: []string{cipher},
	}
	if e.WouldFailStrict = version == "1.0" || version == "1.1" || cipher == weak; e.WouldFailStrict {
		e.StrictReason = "offers TLS " + version + " only"
	}
	return e
}

// refuse is a connection that was refused.
func refuse(stage, signature string, at time.Time) ingest.Event {
	return ingest.Event{
		TimeGenerated: at, OperationName: ingest.ConnectionRefused, Level: ingest.Error, Stage: stage, ResultType: "495070", ResultSignature: signature,
		AuthType: ingest.AuthNone,
	}
}

// certificate is a connection with a client certificate.
func certificate(device string, at, notAfter time.Time) ingest.Event {
	e := connect(device, "1.2", strong, at)
	e.AuthType, e.CaName = ingest.AuthX509CA, "factory"
	e.CertThumbprint, e.CertSubject, e.CertIssuer, e.CertSerial, e.CertNotAfter = device+"-thumbprint", "CN="+device, "CN=factory", "1", notAfter
	return e
}

// times makes n events at intervals, the first at the given time.
func times(n int, from time.Time, step time.Duration, f func(i int, at time.Time) ingest.Event) []ingest.Event {
	events := make([]ingest.Event, n)
	for i := range events {
		events[i] = f(i, from.Add(time.Duration(i)*step))
	}
	return events
}

func device(id string, labels ...string) map[string]string {
	m := map[string]string{"DeviceId": id}
	for i := 0; i < len(labels); i += 2 {
		m[labels[i]] = labels[i+1]
	}
	return m
}

// scenarios: every rule has one that makes it fire and one that must not. They
// are looked at as of now, so that bounds can be met exactly; only when the store
// took an event (IngestLagHigh) is the clock's affair.
var scenarios = []scenario{
	{name: "old versions", rule: "LegacyTlsConnection", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{
			connect("a", "1.0", weak, now.Add(-2*time.Minute)), connect("a", "1.0", weak, now.Add(-9*time.Minute)),
			connect("b", "1.1", weak, now.Add(-12*time.Minute)), connect("c", "1.2", strong, now.Add(-time.Minute)),
		}
	}, want: []row{{labels: device("a", "TlsVersion", "1.0"), value: 2, most: 2}, {labels: device("b", "TlsVersion", "1.1"), value: 1, most: 1}}},
	{name: "new versions, and old ones of the past", rule: "LegacyTlsConnection", events: func(now time.Time) []ingest.Event {
		ended := connect("d", "1.0", weak, now.Add(-2*time.Minute))
		ended.OperationName = ingest.DeviceDisconnect
		refused := refuse(ingest.StageHandshake, "tls.protocol_version", now.Add(-2*time.Minute))
		refused.OfferedVersions = []string{"1.0"}
		return []ingest.Event{
			connect("a", "1.2", strong, now.Add(-time.Minute)), connect("b", "1.3", "TLS_AES_128_GCM_SHA256", now.Add(-time.Minute)),
			connect("c", "1.0", weak, now.Add(-30*time.Minute)), ended, refused,
		}
	}},

	{name: "a weak suite", rule: "WeakCipherConnection", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{connect("a", "1.2", weak, now.Add(-3*time.Minute)), connect("b", "1.2", strong, now.Add(-3*time.Minute))}
	}, want: []row{{labels: device("a", "TlsCipher", weak), value: 1, most: 1}}},
	{name: "suites that stay", rule: "WeakCipherConnection", events: func(now time.Time) []ingest.Event {
		at := now.Add(-3 * time.Minute)
		events := []ingest.Event{
			connect("b", "1.3", "TLS_CHACHA20_POLY1305_SHA256", at), connect("c", "1.1", weak, at), // the other rule's
			connect("d", "1.2", "", at), connect("e", "1.2", weak, now.Add(-20*time.Minute)),
		}
		for _, id := range handshake.Strict().Suites {
			events = append(events, connect("a", "1.2", handshake.SuiteName(id), at))
		}
		return events
	}},

	{name: "back to an old version", rule: "TlsDowngrade", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{
			connect("a", "1.2", strong, now.Add(-3*day)), connect("a", "1.0", weak, now.Add(-3*time.Minute)),
			connect("b", "1.3", strong, now.Add(-time.Hour)), connect("b", "1.1", weak, now.Add(-4*time.Minute)), connect("b", "1.1", weak, now.Add(-5*time.Minute)),
		}
	}, want: []row{{labels: device("a", "TlsVersion", "1.0"), value: 1, most: 1}, {labels: device("b", "TlsVersion", "1.1"), value: 2, most: 2}}},
	{name: "always old, better now, or long ago", rule: "TlsDowngrade", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{
			connect("always", "1.0", weak, now.Add(-3*day)), connect("always", "1.0", weak, now.Add(-3*time.Minute)),
			connect("better", "1.0", weak, now.Add(-3*day)), connect("better", "1.2", strong, now.Add(-3*time.Minute)),
			connect("long", "1.2", strong, now.Add(-20*day)), connect("long", "1.0", weak, now.Add(-3*time.Minute)),
			connect("before", "1.2", strong, now.Add(-3*day)), connect("before", "1.0", weak, now.Add(-time.Hour)),
			// Device a of the hub above is another one.
			connect("a", "1.0", weak, now.Add(-3*time.Minute)),
		}
	}},

	{name: "no TLS", rule: "PlaintextConnection", events: func(now time.Time) []ingest.Event {
		at := now.Add(-2 * time.Minute)
		events := times(20, at, 0, func(int, time.Time) ingest.Event { return refuse(ingest.StageHello, "plain.http", at) })
		return append(events, refuse(ingest.StageHello, "plain.mqtt", at), connect("a", "", "", at), refuse(ingest.StageTCP, "proxy.no_tls", at))
	}, want: []row{
		{labels: map[string]string{"Kind": "plain.http"}, value: 20, most: 20}, {labels: map[string]string{"Kind": "plain.mqtt"}, value: 1, most: 1},
		{labels: map[string]string{"Kind": "accepted"}, value: 1, most: 1}, {labels: map[string]string{"Kind": "proxy.no_tls"}, value: 1, most: 1},
	}},
	{name: "TLS, and a few scanners", rule: "PlaintextConnection", events: func(now time.Time) []ingest.Event {
		at := now.Add(-2 * time.Minute)
		events := times(19, at, 0, func(int, time.Time) ingest.Event { return refuse(ingest.StageHello, "plain.http", at) })
		return append(events, connect("a", "1.2", strong, at), refuse(ingest.StageHandshake, "tls.handshake_failure", at),
			refuse(ingest.StageTCP, "tcp.closed", at), refuse(ingest.StageHello, "plain.mqtt", now.Add(-20*time.Minute)))
	}},

	{name: "new and old-fashioned", rule: "NewDeviceOnLegacyTls", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{
			connect("first", "1.2", strong, now.Add(-30*day)),
			connect("a", "1.1", weak, now.Add(-2*day)), connect("a", "1.1", weak, now.Add(-time.Hour)),
		}
	}, want: []row{{labels: device("a", "TlsVersion", "1.1"), value: 1, most: 1}}},
	{name: "old, modern or gone", rule: "NewDeviceOnLegacyTls", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{
			connect("old", "1.0", weak, now.Add(-30*day)), connect("old", "1.0", weak, now.Add(-time.Hour)),
			connect("modern", "1.0", weak, now.Add(-2*day)), connect("modern", "1.2", strong, now.Add(-time.Hour)),
			connect("gone", "1.0", weak, now.Add(-3*day)),
		}
	}},
	{name: "a new hub", rule: "NewDeviceOnLegacyTls", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{connect("a", "1.0", weak, now.Add(-3*day)), connect("b", "1.0", weak, now.Add(-time.Hour))}
	}},

	{name: "many old", rule: "LegacyShareAbove", events: func(now time.Time) []ingest.Event { return fleet(now, 20, 2) },
		want: []row{{value: 10, most: 10}}},
	{name: "as many as may be", rule: "LegacyShareAbove", events: func(now time.Time) []ingest.Event { return fleet(now, 20, 1) }},
	{name: "a handful", rule: "LegacyShareAbove", events: func(now time.Time) []ingest.Event { return fleet(now, 19, 19) }},

	{name: "some left", rule: "DeadlineAtRisk", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{
			connect("a", "1.0", weak, now.Add(-time.Hour)), connect("b", "1.2", weak, now.Add(-6*day)), connect("c", "1.2", strong, now.Add(-time.Hour)),
		}
	}, want: []row{{value: 2, most: 2}}},
	{name: "none left", rule: "DeadlineAtRisk", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{
			connect("gone", "1.0", weak, now.Add(-8*day)), connect("b", "1.0", weak, now.Add(-2*day)), connect("b", "1.2", strong, now.Add(-time.Hour)),
		}
	}},

	{name: "failures", rule: "HandshakeFailuresSpike", events: func(now time.Time) []ingest.Event {
		return times(40, now.Add(-4*time.Minute), time.Second, func(_ int, at time.Time) ingest.Event {
			return refuse(ingest.StageHandshake, "tls.protocol_version", at)
		})
	}, want: []row{{labels: map[string]string{"ResultSignature": "tls.protocol_version"}, value: 40, most: 40}}},
	{name: "few failures, of each kind", rule: "HandshakeFailuresSpike", events: func(now time.Time) []ingest.Event {
		return times(58, now.Add(-4*time.Minute), time.Second, func(i int, at time.Time) ingest.Event {
			return refuse(ingest.StageHandshake, []string{"tls.protocol_version", "tls.handshake_failure"}[i%2], at)
		})
	}},
	{name: "as many as ever", rule: "HandshakeFailuresSpike", events: func(now time.Time) []ingest.Event {
		failure := func(_ int, at time.Time) ingest.Event {
			return refuse(ingest.StageHandshake, "tls.protocol_version", at)
		}
		return append(times(1000, now.Add(-20*time.Hour), time.Minute, failure), times(40, now.Add(-4*time.Minute), time.Second, failure)...)
	}},

	{name: "a storm", rule: "ReconnectStorm", events: func(now time.Time) []ingest.Event {
		return append(usual(now, 5), times(120, now.Add(-3*time.Minute), 0, reconnect)...)
	}, want: []row{{value: 120, most: 125}}},
	{name: "a busy hub", rule: "ReconnectStorm", events: func(now time.Time) []ingest.Event {
		return append(usual(now, 30), times(120, now.Add(-3*time.Minute), 0, reconnect)...)
	}},
	{name: "a small one", rule: "ReconnectStorm", events: func(now time.Time) []ingest.Event {
		return append(usual(now, 1), times(90, now.Add(-3*time.Minute), 0, reconnect)...)
	}},
	{name: "a hub's first hour", rule: "ReconnectStorm", events: func(now time.Time) []ingest.Event {
		return times(300, now.Add(-3*time.Minute), 0, reconnect)
	}},

	{name: "silence", rule: "NoConnectEvents", events: func(now time.Time) []ingest.Event {
		return times(240, now.Add(-6*time.Hour), time.Minute, reconnect)
	}, want: []row{{value: 113, most: 125}}},
	{name: "a hub that is well", rule: "NoConnectEvents", events: func(now time.Time) []ingest.Event {
		return times(240, now.Add(-4*time.Hour), time.Minute, reconnect)
	}, want: []row{{}}},
	{name: "a hub with a device every day", rule: "NoConnectEvents", events: func(now time.Time) []ingest.Event {
		return times(7, now.Add(-6*day-10*time.Hour), day, reconnect)
	}, want: []row{{}}},
	{name: "a hub that just began", rule: "NoConnectEvents", events: func(now time.Time) []ingest.Event {
		return times(3, now.Add(-40*time.Minute), 0, reconnect)
	}, want: []row{{}}},
	{name: "a hub that is no more", rule: "NoConnectEvents", events: func(now time.Time) []ingest.Event {
		return times(240, now.Add(-9*day), time.Minute, reconnect)
	}},

	{name: "an end in sight", rule: "ClientCertExpiresSoon", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{certificate("soon-a", now.Add(-time.Hour), now.Add(10*day)), certificate("soon-b", now.Add(-6*day), now.Add(time.Hour))}
	}, want: []row{
		{labels: device("soon-a", "CaName", "factory"), value: 9.9, most: 10}, {labels: device("soon-b", "CaName", "factory"), value: 0.01, most: 0.042},
	}},
	{name: "good, over, renewed, gone", rule: "ClientCertExpiresSoon", events: func(now time.Time) []ingest.Event {
		renewed := certificate("renewed", now.Add(-time.Hour), now.Add(90*day))
		renewed.CertThumbprint = "renewed-2"
		return []ingest.Event{
			certificate("good", now.Add(-time.Hour), now.Add(40*day)), certificate("over", now.Add(-time.Hour), now.Add(-day)),
			certificate("renewed", now.Add(-2*day), now.Add(5*day)), renewed, certificate("gone", now.Add(-8*day), now.Add(10*day)),
			connect("sas", "1.2", strong, now.Add(-time.Hour)),
		}
	}},

	{name: "late events", rule: "IngestLagHigh", events: func(now time.Time) []ingest.Event {
		return times(20, now.Add(-10*time.Minute), 0, reconnect)
	}, want: []row{{labels: map[string]string{"Stream": ""}, value: 600, most: 1800}}},
	{name: "a collector that waits", rule: "IngestLagHigh", samples: func(now time.Time) []ingest.Metric { return waiting(now, 90*time.Second) },
		want: []row{{labels: map[string]string{"Stream": "HUBSCOPE_EVENTS_0"}, value: 90, most: 90}}},
	{name: "a collector that works", rule: "IngestLagHigh", samples: func(now time.Time) []ingest.Metric { return waiting(now, 2*time.Second) }},
	{name: "a collector that waited", rule: "IngestLagHigh", samples: func(now time.Time) []ingest.Metric { return waiting(now.Add(-10*time.Minute), time.Hour) }},
	{name: "events in time, and one that is not", rule: "IngestLagHigh", events: func(now time.Time) []ingest.Event {
		// They may take five minutes to the store.
		return append(times(40, now.Add(5*time.Minute), 0, reconnect), times(1, now.Add(-10*time.Minute), 0, reconnect)...)
	}},
	// Bounds, met exactly.
	{name: "at the bound", rule: "LegacyTlsConnection", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{connect("out", "1.0", weak, now.Add(-15*time.Minute)), connect("in", "1.0", weak, now.Add(-15*time.Minute+time.Microsecond))}
	}, want: []row{{labels: device("in", "TlsVersion", "1.0"), value: 1, most: 1}}},
	{name: "at the bound", rule: "WeakCipherConnection", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{connect("out", "1.2", weak, now.Add(-15*time.Minute)), connect("in", "1.2", weak, now.Add(-15*time.Minute+time.Microsecond))}
	}, want: []row{{labels: device("in", "TlsCipher", weak), value: 1, most: 1}}},
	{name: "at the bound", rule: "TlsDowngrade", events: func(now time.Time) []ingest.Event {
		bound := now.Add(-14 * day).Truncate(day)
		return []ingest.Event{
			connect("out", "1.2", strong, bound.Add(-time.Microsecond)), connect("out", "1.0", weak, now.Add(-time.Minute)),
			connect("in", "1.2", strong, bound), connect("in", "1.0", weak, now.Add(-time.Minute)),
		}
	}, want: []row{{labels: device("in", "TlsVersion", "1.0"), value: 1, most: 1}}},
	{name: "at the bound", rule: "NewDeviceOnLegacyTls", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{
			connect("first", "1.2", strong, now.Add(-14*day-time.Microsecond)),
			connect("out", "1.0", weak, now.Add(-14*day)), connect("out", "1.0", weak, now.Add(-time.Hour)),
			connect("in", "1.0", weak, now.Add(-14*day+time.Microsecond)), connect("in", "1.0", weak, now.Add(-day+time.Microsecond)),
			connect("gone", "1.0", weak, now.Add(-day)),
		}
	}, want: []row{{labels: device("in", "TlsVersion", "1.0"), value: 1, most: 1}}},
	{name: "a hub of 14 days", rule: "NewDeviceOnLegacyTls", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{connect("first", "1.2", strong, now.Add(-14*day)), connect("a", "1.0", weak, now.Add(-time.Hour))}
	}},
	{name: "at the bound of seven days", rule: "LegacyShareAbove", events: func(now time.Time) []ingest.Event {
		return append(fleet(now, 20, 1), connect("out", "1.0", weak, now.Add(-7*day)))
	}},
	{name: "just above", rule: "LegacyShareAbove", events: func(now time.Time) []ingest.Event { return fleet(now, 39, 2) }, want: []row{{value: 5.12, most: 5.13}}},
	{name: "at the bound", rule: "DeadlineAtRisk", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{connect("out", "1.0", weak, now.Add(-7*day)), connect("in", "1.0", weak, now.Add(-7*day+time.Microsecond))}
	}, want: []row{{value: 1, most: 1}}},
	{name: "thirty", rule: "HandshakeFailuresSpike", events: func(now time.Time) []ingest.Event {
		return times(30, now.Add(-4*time.Minute), time.Second, func(_ int, at time.Time) ingest.Event {
			return refuse(ingest.StageHello, "tls.protocol_version", at)
		})
	}, want: []row{{labels: map[string]string{"ResultSignature": "tls.protocol_version"}, value: 30, most: 30}}},
	{name: "four times as many, and one more", rule: "HandshakeFailuresSpike", events: func(now time.Time) []ingest.Event {
		var events []ingest.Event
		for signature, n := range map[string]int{"tls.handshake_failure": 40, "tls.unknown_ca": 41} {
			failure := func(_ int, at time.Time) ingest.Event { return refuse(ingest.StageHandshake, signature, at) }
			events = append(events, times(950, now.Add(-20*time.Hour), time.Minute, failure)...)
			events = append(events, times(n, now.Add(-4*time.Minute), time.Second, failure)...)
		}
		return events
	}, want: []row{{labels: map[string]string{"ResultSignature": "tls.unknown_ca"}, value: 41, most: 41}}},
	{name: "a hundred", rule: "ReconnectStorm", events: func(now time.Time) []ingest.Event {
		return append(usualBefore(now, 1), times(100, now.Truncate(5*time.Minute), 0, reconnect)...)
	}, want: []row{{value: 100, most: 100}}},
	{name: "one less", rule: "ReconnectStorm", events: func(now time.Time) []ingest.Event {
		return append(usualBefore(now, 1), times(99, now.Truncate(5*time.Minute), 0, reconnect)...)
	}},
	{name: "five times as many", rule: "ReconnectStorm", events: func(now time.Time) []ingest.Event {
		return append(usualBefore(now, 20), times(100, now.Truncate(5*time.Minute), 0, reconnect)...)
	}},
	{name: "eleven slots of history", rule: "ReconnectStorm", events: func(now time.Time) []ingest.Event {
		return append(usualBefore(now, 1)[:11], times(300, now.Truncate(5*time.Minute), 0, reconnect)...)
	}},
	{name: "at the bounds", rule: "ClientCertExpiresSoon", events: func(now time.Time) []ingest.Event {
		return []ingest.Event{
			certificate("over", now.Add(-time.Hour), now), certificate("thirty", now.Add(-time.Hour), now.Add(30*day)),
			certificate("gone", now.Add(-7*day), now.Add(10*day)), certificate("in", now.Add(-7*day+time.Microsecond), now.Add(30*day-time.Second)),
		}
	}, want: []row{{labels: device("in", "CaName", "factory"), value: 29.99, most: 30}}},
	{name: "a minute", rule: "IngestLagHigh", samples: func(now time.Time) []ingest.Metric { return waiting(now, time.Minute) }},
	{name: "a second more", rule: "IngestLagHigh", samples: func(now time.Time) []ingest.Metric { return waiting(now, 61*time.Second) },
		want: []row{{labels: map[string]string{"Stream": "HUBSCOPE_EVENTS_0"}, value: 61, most: 61}}},
}

// fleet is some devices, of which the first ones are of old versions.
func fleet(now time.Time, n, legacy int) []ingest.Event {
	return times(n, now.Add(-6*day), time.Minute, func(i int, at time.Time) ingest.Event {
		if i < legacy {
			return connect(fmt.Sprint("old-", i), "1.1", weak, at)
		}
		return connect(fmt.Sprint("new-", i), "1.2", strong, at)
	})
}

// usual is three hours of as many connects every five minutes.
func usual(now time.Time, n int) []ingest.Event {
	return times(36*n, now.Add(-200*time.Minute), 5*time.Minute/time.Duration(n), reconnect)
}

// usualBefore is three hours of as many connects every five minutes, up to the
// quarter of an hour that is compared with them.
func usualBefore(now time.Time, n int) []ingest.Event {
	return usual(now.Add(-10*time.Minute).Truncate(5*time.Minute).Add(20*time.Minute), n)
}

// waiting is the age of the oldest event in a stream, as a collector reports it.
func waiting(now time.Time, age time.Duration) []ingest.Metric {
	return []ingest.Metric{{
		TimeGenerated: now.Truncate(time.Minute), MetricName: "hubscope_collector_lag_age_seconds", Service: "collector", MetricType: "Gauge",
		UnitName: "Seconds", Stream: "HUBSCOPE_EVENTS_0", Total: age.Microseconds(), Count: 1, Minimum: age.Microseconds(), Maximum: age.Microseconds(),
	}}
}

func reconnect(_ int, at time.Time) ingest.Event { return connect("d", "1.2", strong, at) }
