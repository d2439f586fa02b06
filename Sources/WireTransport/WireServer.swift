package import FleetModel
package import GRPCCore
import GRPCNIOTransportHTTP2Posix
import NIOCore
import ServiceLifecycle
package import WireProtocol

/// Serves gRPC services on one port.
package struct WireServer: Service {
    /// Bytes of a connection that may wait for the network before its streams hear of it, and those below which they
    /// may go on: each time all of them are told, so that a plan for all of them must fit between.
    private static let unwritten = ChannelOptions.Types.WriteBufferWaterMark(low: 256 << 10, high: 1 << 20)

    private let address: EndpointAddress
    private let server: GRPCServer<HTTP2ServerTransport.Posix>

    /// - Parameters:
    ///   - address: Where to listen; port 0 lets the system choose.
    ///   - services: What to serve.
    ///   - methods: What to serve beside it, on the event loops.
    ///   - credentials: Mutual TLS with these; plain text, on loopback only, when `nil`.
    ///   - onListening: Told the address with the port in it, once, when the server listens.
    /// - Throws: ``WireRefusal`` for an address off loopback without credentials.
    package init(
        listen address: EndpointAddress,
        services: [any RegistrableRPCService],
        methods: [any DirectMethod] = [],
        credentials: LinkCredentials? = nil,
        onListening: @escaping @Sendable (EndpointAddress) -> Void = { _ in }
    ) throws(WireRefusal) {
        if credentials == nil { try WireRefusal.check(address, field: "listen") }
        self.address = address
        let callGuard = credentials.map { CallGuard(credentials: $0) }
        let methodsByPath = Dictionary(methods.map { ($0.path, $0) }) { first, _ in first }
        let transport = HTTP2ServerTransport.Posix(
            address: address.host.contains(":")
                ? .ipv6(host: address.host, port: address.port)
                : .ipv4(host: address.host == "localhost" ? "127.0.0.1" : address.host, port: address.port),
            // TLS is put below HTTP/2 as each connection comes: the transport's own has no choice of TLS 1.3 alone.
            transportSecurity: .plaintext,
            config: .defaults { config in
                config.connection.maxGraceTime = .seconds(1)
                // Streams of one connection that write in one turn share a system call, and a TLS record.
                config.connection.flushCoalescing = .init(
                    maxFlushDelay: .microseconds(100),
                    maxBytes: DirectConnectionHandler.flushBytes
                )
                if !methodsByPath.isEmpty {
                    config.channelDebuggingCallbacks.onAcceptHTTP2Stream = { stream in
                        stream.eventLoop.makeCompletedFuture {
                            try DirectCallHandler.install(in: stream, methods: methodsByPath, callGuard: callGuard)
                        }
                    }
                }
                config.channelDebuggingCallbacks.onBindTCPListener = { listener in
                    listener.eventLoop.makeCompletedFuture {
                        try listener.pipeline.syncOperations.addHandler(
                            ListenerWatch { port in
                                onListening(EndpointAddress(host: address.host, port: port ?? address.port))
                            }
                        )
                    }
                }
                config.channelDebuggingCallbacks.onAcceptTCPConnection = { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try PingAbsorber.install(in: channel, ofServer: true)
                        if !methodsByPath.isEmpty { try DirectConnectionHandler.install(in: channel) }
                        try channel.syncOptions?.setOption(.writeBufferWaterMark, value: Self.unwritten)
                        guard let credentials else { return }
                        let remote = channel.remoteAddress.map { "\($0)" } ?? "unknown"
                        try channel.pipeline.syncOperations.addHandlers(
                            credentials.serverHandler(remote: remote),
                            HandshakeWatch(credentials: credentials, remote: remote),
                            position: .first
                        )
                    }
                }
            }
        )
        self.server = GRPCServer(
            transport: transport,
            services: services,
            interceptors: callGuard.map { [$0] } ?? []
        )
    }

    /// Serves until a graceful shutdown.
    ///
    /// - Throws: ``WireRefusal`` when the port cannot be had.
    package func run() async throws {
        let isEnding = Once()
        @Sendable func end() {
            isEnding.happens()
            self.server.beginGracefulShutdown()
        }
        do {
            // A server that is only cancelled waits for its open connections, and until then accepts others that nobody
            // takes any more, which ends the process: so it is told to close its listener first.
            try await withTaskCancellationHandler {
                try await withGracefulShutdownHandler {
                    try await self.server.serve()
                } onGracefulShutdown: {
                    end()
                }
            } onCancel: {
                end()
            }
        } catch let error as RuntimeError {
            // One that is told to end before it listens says that its listener is closed.
            if isEnding.happened { return }
            throw WireRefusal(
                field: "listen",
                address: self.address.description,
                reason: error.cause.map { "\($0)" } ?? error.message,
                fix: "stop what holds the port, or choose another one"
            )
        }
    }
}

/// Why a link was not made: the configuration's field, what stood there, and the fix.
package struct WireRefusal: Error, Hashable, CustomStringConvertible {
    package let field: String
    package let address: String
    package let reason: String
    package let fix: String

    package var description: String { "\(self.field): \(self.address): \(self.reason); \(self.fix)" }

    /// Plain text is for loopback only: off it, frames and plans could be read and forged.
    ///
    /// - Throws: A refusal for an address off loopback.
    package static func check(_ address: EndpointAddress, field: String) throws(WireRefusal) {
        guard address.isLoopback else {
            throw WireRefusal(
                field: field,
                address: address.description,
                reason: "links off loopback need mutual TLS",
                fix: "add `tls:` with certificate, key and authority, which `isobar pki` makes"
            )
        }
    }
}
