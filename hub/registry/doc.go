// Package registry holds what an IoT hub knows and enforces: hubs with their
// minimum TLS version and shared access policies, devices and modules with their
// credentials and twins, trusted certificate authorities and their revocation lists. It
// parses and verifies SAS tokens, judges certificate chains, and serves the
// registry in the shapes of Azure's REST APIs.
//
// A Store keeps the records; there is one in NATS JetStream KV, shared by every
// hub of a cluster, and one in memory for a single process. Registry is the
// management side: each call goes straight to the store and is guarded by
// revisions (ETags). Cache is a hub's side: it follows the store's changes,
// answers at connect time without a round trip for devices seen lately, and
// tells its subscribers what changed so that live sessions are cut:
//
//	cache := registry.NewCache(reg, registry.CacheConfig{})
//	go cache.Run(ctx)                     // until ctx ends
//	<-cache.Ready()
//	identity, refusal := cache.Authenticate(ctx, registry.Attempt{...})
//	...
//	stop := cache.Subscribe(func(c registry.Change) {
//		// for each live session that c concerns:
//		if refusal := cache.Recheck(ctx, identity); refusal != nil { cut it }
//	})
//
// A change between Authenticate and the moment at which the session is known to
// the subscriber reaches nobody: Recheck once more when it is.
//
// What a certificate must fulfil is written at judgeChain and judgeThumbprint,
// and all who are refused are told the same by Refusal.Public.
//
// NewServiceAPI and NewResourceManager serve Azure's registry REST API and a
// subset of its resource manager. RegistryCommand, CACommand and HubCommand are
// the command line's.
//
// The package does no TLS and owns no connection: possession of a certificate's
// key is proven by the handshake before a chain gets here.
package registry
