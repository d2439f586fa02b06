package import FleetModel
package import NIOCore
import NIOSSL

// Gateways call each other over HTTP, under the same identities as over gRPC.

extension LinkCredentials {
    /// Puts mutual TLS 1.3 at the front of a connection that another gateway of the fleet has opened; anybody else does
    /// not get past the handshake.
    package func installForPeer(in channel: any Channel) throws {
        let remote = channel.remoteAddress.map { "\($0)" } ?? "unknown"
        try channel.pipeline.syncOperations.addHandlers(
            self.peerServerHandler(remote: remote),
            HandshakeWatch(credentials: self, remote: remote)
        )
    }

    /// Puts mutual TLS 1.3 at the front of a connection to a gateway of another region, of HTTP/1.1 or HTTP/2.
    package func install(
        in channel: any Channel,
        to address: EndpointAddress,
        region: RegionName,
        usesHTTP2: Bool = false
    ) throws {
        let remote = address.description
        try channel.pipeline.syncOperations.addHandlers(
            try self.peerClientHandler(remote: remote, name: region.text, usesHTTP2: usesHTTP2),
            HandshakeWatch(credentials: self, remote: remote)
        )
    }
}
