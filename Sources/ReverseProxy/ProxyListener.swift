package import FleetModel
package import NIOCore

/// Puts a TLS handler at the front of a channel that was just made; called on the channel's event loop.
package typealias TLSInstaller = @Sendable (any Channel) throws -> Void

/// One address at which a ``ProxyServer`` takes connections.
package struct ProxyListener: Sendable {
    /// From whom the proxy believes that a gateway of the fleet has passed a request on.
    package enum HopTrust: Hashable, Sendable {
        case nobody
        /// From clients on this machine.
        case loopback
        /// From everybody who gets past the listener's TLS.
        case everybody
    }

    /// Where to listen; port 0 for any that is free.
    package var address: EndpointAddress
    /// TLS with what these connections negotiate by ALPN, `h2` or `http/1.1`; plain text when `nil`, of both kinds.
    package var tls: TLSInstaller?
    package var trust: HopTrust

    package init(_ address: EndpointAddress, tls: TLSInstaller? = nil, trust: HopTrust = .loopback) {
        self.address = address
        self.tls = tls
        self.trust = trust
    }

    /// What the requests of one connection may claim.
    func claims(of remote: SocketAddress?) -> ClientWire.Claims {
        switch self.trust {
        case .nobody: .none
        case .everybody: .hops
        case .loopback: remote?.isLoopback ?? true ? .hops : .none
        }
    }
}

/// How a client's requests come: on a connection of their own, one after the other, or each on a stream of HTTP/2.
struct ClientWire: Hashable {
    enum Claims: Hashable { case none, hops }

    /// An HTTP/2 stream carries one request, and ends without a word about its connection.
    var isStream = false
    var claims = Claims.hops
}

extension SocketAddress {
    /// Whether the other end is on this machine; a Unix socket's is.
    var isLoopback: Bool {
        guard let host = self.ipAddress else { return true }
        // A connection over IPv4 to a listener of both kinds is `::ffff:127.…`.
        return EndpointAddress(host: host.replacing("::ffff:", with: ""), port: 0).isLoopback
    }
}
