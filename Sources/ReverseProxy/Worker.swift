import DequeModule
import FleetModel
import NIOCore
import NIOPosix

/// One event loop's share of the proxy: its connections, its kept upstream connections, its timers.
///
/// It is confined to its loop, and so is everything it holds.
final class Worker {
    let eventLoop: any EventLoop
    let director: any ProxyDirector
    let settings: ProxySettings
    let counters: SharedCounters
    private(set) var isDraining = false
    /// Connections of HTTP/1.1, and streams of HTTP/2.
    private var clients: [ObjectIdentifier: ClientConnection] = [:]
    private var http2: [ObjectIdentifier: HTTP2Connection] = [:]
    /// Connections that have not said what they speak.
    private var openings: [ObjectIdentifier: ConnectionOpening] = [:]
    private var handshakes = 0
    /// Connections of all kinds.
    private var connections = 0
    /// Clients whose director is to be asked again, by the request.
    private var paused: [UInt64: ClientConnection] = [:]
    private var idle: [EndpointAddress: Deque<UpstreamConnection>] = [:]
    /// Connections of HTTP/2 to upstreams.
    private var sessions: [EndpointAddress: UpstreamSession] = [:]
    private var wheel = TimerWheel()
    private var isTicking = false
    private var drained: EventLoopPromise<Void>?
    private let maxClients: Int
    private let maxHandshakes: Int
    private var nextID: UInt64

    /// Makes a worker: `index` tells the workers of one server apart, in the high bits of request ids, and
    /// `maxClients` and `maxHandshakes` are its shares of ``ProxySettings/maxConnections`` and its like.
    init(
        index: Int,
        maxClients: Int,
        maxHandshakes: Int,
        eventLoop: any EventLoop,
        director: any ProxyDirector,
        settings: ProxySettings,
        counters: SharedCounters
    ) {
        self.eventLoop = eventLoop
        self.director = director
        self.settings = settings
        self.counters = counters
        self.maxClients = maxClients
        self.maxHandshakes = maxHandshakes
        self.nextID = UInt64(index) << 48
    }

    func makeRequestID() -> UInt64 {
        self.nextID += 1
        return self.nextID
    }

    // MARK: Clients

    /// Sets up a connection that was just accepted.
    func accept(_ channel: any Channel, from listener: ProxyListener) throws {
        let hasRoom = self.connections < self.maxClients
        guard !self.isDraining, hasRoom, listener.tls == nil || self.handshakes < self.maxHandshakes else {
            self.counters.count { $0.connectionsRefused += 1 }
            throw ChannelError.inappropriateOperationForState
        }
        self.connections += 1
        self.counters.count { $0.connectionsOpen += 1 }
        channel.closeFuture.assumeIsolated().whenComplete { _ in self.closed() }
        try listener.tls?(channel)
        try channel.pipeline.syncOperations.addHandler(ConnectionOpening(worker: self, listener: listener))
    }

    private func closed() {
        self.connections -= 1
        self.counters.count { $0.connectionsOpen -= 1 }
        if self.connections == 0 { self.drained.take()?.succeed() }
    }

    /// Sets up a connection that speaks HTTP/1.1.
    func serve(_ channel: any Channel, claims: ClientWire.Claims) throws {
        try channel.pipeline.syncOperations.addHandler(
            ClientConnection(worker: self, wire: ClientWire(isStream: false, claims: claims))
        )
    }

    /// Sets up a connection that speaks HTTP/2.
    func serveStreams(_ channel: any Channel, claims: ClientWire.Claims) throws {
        try HTTP2Connection.serve(channel, worker: self, claims: claims)
    }

    func add(_ client: ClientConnection) {
        self.clients[ObjectIdentifier(client)] = client
        guard client.isStream else { return }
        self.counters.count {
            $0.streams += 1
            $0.streamsOpen += 1
        }
    }

    func remove(_ client: ClientConnection) {
        guard self.clients.removeValue(forKey: ObjectIdentifier(client)) != nil, client.isStream else { return }
        self.counters.count { $0.streamsOpen -= 1 }
    }

    func add(_ connection: HTTP2Connection) {
        self.http2[ObjectIdentifier(connection)] = connection
        if self.isDraining { connection.drain() }
    }

    func remove(_ connection: HTTP2Connection) { self.http2[ObjectIdentifier(connection)] = nil }

    func add(opening: ConnectionOpening, isSecure: Bool) {
        self.openings[ObjectIdentifier(opening)] = opening
        if isSecure { self.handshakes += 1 }
    }

    func remove(opening: ConnectionOpening, isSecure: Bool) {
        guard self.openings.removeValue(forKey: ObjectIdentifier(opening)) != nil, isSecure else { return }
        self.handshakes -= 1
    }

    // MARK: Pauses

    func pause(_ client: ClientConnection, request: UInt64) { self.paused[request] = client }

    func forget(paused request: UInt64) {
        if !self.paused.isEmpty { self.paused[request] = nil }
    }

    func wake(_ request: UInt64) { self.paused[request]?.resume() }

    /// Lets exchanges in flight finish; succeeds when the last connection is closed.
    func drain() -> EventLoopFuture<Void> {
        self.isDraining = true
        let promise = self.eventLoop.makePromise(of: Void.self)
        self.drained = promise
        for opening in self.openings.values { opening.closeNow() }
        for connection in self.http2.values { connection.drain() }
        for client in self.clients.values { client.drain() }
        if self.connections == 0 { self.drained.take()?.succeed() }
        return promise.futureResult
    }

    /// Closes every client, served or not.
    func closeClients() {
        for opening in self.openings.values { opening.closeNow() }
        for connection in self.http2.values { connection.closeNow() }
        for client in self.clients.values { client.closeNow() }
    }

    /// Lets go of what is left when no client is.
    func stop() {
        for connection in self.idle.values.joined() { connection.close() }
        for session in self.sessions.values { session.close() }
        self.wheel = TimerWheel()
    }

    /// Bytes that wait in this process for whoever reads slowly.
    func bufferedBytes() -> Int { self.clients.values.reduce(0) { $0 + $1.bufferedBytes } }

    // MARK: Upstreams

    /// A kept connection, the one used last.
    func takeIdle(for address: EndpointAddress) -> UpstreamConnection? {
        guard let connection = self.idle[address]?.popLast() else { return nil }
        connection.deadline = nil
        self.counters.count { $0.upstreamIdle -= 1 }
        return connection
    }

    /// Keeps a clean connection for the next request, or closes it when there are enough.
    func keep(_ connection: UpstreamConnection) {
        guard !self.isDraining, self.idle[connection.address]?.count ?? 0 < self.settings.idleConnections else {
            return connection.close()
        }
        self.idle[connection.address, default: []].append(connection)
        self.counters.count { $0.upstreamIdle += 1 }
        connection.deadline = .now() + .seconds(self.settings.idleTimeout)
        self.watch(connection)
    }

    /// Forgets an idle connection that has closed.
    func forget(_ connection: UpstreamConnection) {
        guard let place = self.idle[connection.address]?.firstIndex(where: { $0 === connection }) else { return }
        self.idle[connection.address]?.remove(at: place)
        if self.idle[connection.address]?.isEmpty ?? false { self.idle[connection.address] = nil }
        self.counters.count { $0.upstreamIdle -= 1 }
    }

    /// Forgets a connection of HTTP/2 on which no more streams are opened.
    func forget(_ session: UpstreamSession) {
        if self.sessions[session.address] === session { self.sessions[session.address] = nil }
    }

    private func newSession(to address: EndpointAddress) -> UpstreamSession {
        let session = UpstreamSession(address: address, worker: self, tls: self.director.tls(to: address))
        self.sessions[address] = session
        session.connect()
        return session
    }

    /// Opens a connection on this loop, or a stream on one of HTTP/2.
    func connect(
        to address: EndpointAddress,
        then body: @escaping (Result<UpstreamConnection, ProxyFailure>) -> Void
    ) {
        if let session = self.sessions[address], session.isOpen { return session.open(then: body) }
        if self.director.speaksHTTP2(to: address) { return self.newSession(to: address).open(then: body) }
        let connection = UpstreamConnection(address: address, worker: self)
        let bound = NIOLoopBound(connection, eventLoop: self.eventLoop)
        self.dial(address, tls: self.director.tls(to: address)) { channel in
            try channel.pipeline.syncOperations.addHandler(bound.value)
        }.assumeIsolated().whenComplete { result in
            body(result.map { _ in connection }.mapError(ProxyFailure.init(connecting:)))
        }
    }

    /// Makes a connection on this loop.
    ///
    /// - Parameters:
    ///   - address: Where to.
    ///   - tls: TLS to it; plain text when `nil`.
    ///   - wanted: What ALPN has to come to; anything when `nil`.
    ///   - setUp: Puts the handlers behind TLS.
    /// - Returns: The channel, when it is connected and its handshake is over.
    func dial(
        _ address: EndpointAddress,
        tls: TLSInstaller?,
        negotiating wanted: String? = nil,
        _ setUp: @escaping @Sendable (any Channel) throws -> Void
    ) -> EventLoopFuture<any Channel> {
        let opened = tls.map { _ in self.eventLoop.makePromise(of: Void.self) }
        let bootstrap = ClientBootstrap(group: self.eventLoop)
            .connectTimeout(.seconds(self.settings.connectTimeout))
            .channelOption(.autoRead, value: false)
            .channelOptions(PeerSilence.options(limit: self.settings.silenceTimeout))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try tls?(channel)
                    if let opened {
                        try channel.pipeline.syncOperations.addHandler(TLSGate(opened: opened, wanted: wanted))
                    }
                    try setUp(channel)
                }
            }
        var channel: EventLoopFuture<any Channel>
        if let socketAddress = try? SocketAddress(ipAddress: address.host, port: address.port) {
            channel = bootstrap.connect(to: socketAddress)
        } else {
            channel = bootstrap.connect(host: address.host, port: address.port)
        }
        if let opened { channel = self.secured(channel, opened) }
        return channel
    }

    /// A connection that is there when its TLS handshake is over, for which it has as long as for connecting.
    private func secured(
        _ channel: EventLoopFuture<any Channel>,
        _ opened: EventLoopPromise<Void>
    ) -> EventLoopFuture<any Channel> {
        // A connection that was not made has no handshake to wait for.
        channel.whenFailure { opened.fail($0) }
        let timeout = TimeAmount.seconds(self.settings.connectTimeout)
        return channel.flatMap { channel in
            let limit = channel.eventLoop.scheduleTask(in: timeout) {
                opened.fail(ProxyFailure.connectTimeout)
            }
            return opened.futureResult.always { result in
                limit.cancel()
                if case .failure = result { channel.close(promise: nil) }
            }.map { channel }
        }
    }

    // MARK: Time

    /// Sees to it that an element gives up at its deadline.
    func watch(_ element: any Impatient) {
        self.wheel.hold(element)
        self.tickOn()
    }

    private func tickOn() {
        guard !self.isTicking, !self.wheel.isEmpty else { return }
        self.isTicking = true
        self.eventLoop.assumeIsolated().scheduleTask(in: TimerWheel.resolution) {
            self.isTicking = false
            for element in self.wheel.expired(at: .now()) { element.giveUp() }
            self.tickOn()
        }
    }
}

extension ClientBootstrap {
    fileprivate func channelOptions(_ options: [PeerSilence.Option]) -> ClientBootstrap {
        options.reduce(self) { $0.channelOption($1.name, value: .init($1.value)) }
    }
}

extension ProxyFailure {
    /// Why a connection could not be made.
    init(connecting error: any Error) {
        if let failure = error as? ProxyFailure { self = failure; return }
        func isTimeout(_ error: any Error) -> Bool {
            if case .connectTimeout? = error as? ChannelError { true } else { false }
        }
        let causes = (error as? NIOConnectionError)?.connectionErrors.map(\.error) ?? [error]
        self = causes.contains(where: isTimeout) ? .connectTimeout : .connectionRefused
    }
}

extension TimeAmount {
    static func seconds(_ seconds: Seconds) -> TimeAmount { .nanoseconds(Int64(seconds * 1e9)) }
}
