package import FleetModel
package import Logging
package import NIOCore
import NIOPosix
import ServiceLifecycle

/// The port could not be opened.
package struct ProxyBindError: Error, CustomStringConvertible {
    package let address: EndpointAddress
    package let reason: String

    package var description: String {
        "cannot listen on \(self.address): \(self.reason); choose another address or stop the program that uses it"
    }
}

/// The gateway's data plane, HTTP/1.1 and HTTP/2: accepts clients, asks the director, moves bytes.
///
/// A client's connection and the upstream connections that serve it live on one event loop, so nothing on the way
/// of a byte locks, hops or suspends.
package final class ProxyServer: Service {
    private let listeners: [ProxyListener]
    private let settings: ProxySettings
    private let group: any EventLoopGroup
    private let logger: Logger
    private let onListening: (@Sendable (EndpointAddress) -> Void)?
    private let shares: [Share]

    /// What one event loop carries; the worker is touched on its loop only.
    private struct Share: Sendable {
        let loop: any EventLoop
        let counters: SharedCounters
        let worker: NIOLoopBoundBox<Worker>

        func run<Value: Sendable>(_ body: @escaping @Sendable (Worker) -> Value) async throws -> Value {
            try await self.loop.submit { body(self.worker.value) }.get()
        }
    }

    /// - Parameters:
    ///   - listeners: Where to take connections, and of which kind.
    ///   - director: Decides where requests go.
    ///   - settings: Limits and time-outs.
    ///   - group: The event loops that carry the traffic.
    ///   - waker: What the director asks to be asked again with; `nil` when it never answers ``ProxyDecision/wait(_:)``.
    ///   - logger: For start, stop and what went wrong with the listener; requests are not logged.
    ///   - onListening: Called once for each listener, in their order, with the address that was bound.
    package init(
        listeners: [ProxyListener],
        director: any ProxyDirector,
        settings: ProxySettings = ProxySettings(),
        group: any EventLoopGroup,
        waker: ProxyWaker? = nil,
        logger: Logger,
        onListening: (@Sendable (EndpointAddress) -> Void)? = nil
    ) {
        self.listeners = listeners
        self.settings = settings
        self.group = group
        self.logger = logger
        self.onListening = onListening
        let loops = Array(group.makeIterator())
        self.shares = loops.enumerated().map { index, loop in
            let counters = SharedCounters()
            let worker = Worker(
                index: index,
                maxClients: max(1, settings.maxConnections / loops.count),
                maxHandshakes: max(1, settings.maxHandshakes / loops.count),
                eventLoop: loop,
                director: director,
                settings: settings,
                counters: counters
            )
            return Share(loop: loop, counters: counters, worker: .makeBoxSendingValue(worker, eventLoop: loop))
        }
        let shares = self.shares
        waker?.attach { request in
            let index = Int(request >> 48)
            guard shares.indices.contains(index) else { return }
            let worker = shares[index].worker
            shares[index].loop.execute { worker.value.wake(request) }
        }
    }

    /// The sum over all event loops.
    package var counters: ProxyCounters {
        self.shares.reduce(into: ProxyCounters()) { $0 += $1.counters.snapshot }
    }

    /// Bytes that wait in this process for whoever reads slowly, bodies kept for another try included.
    package func bufferedBytes() async throws -> Int {
        var sum = 0
        for share in self.shares { sum += try await share.run { $0.bufferedBytes() } }
        return sum
    }

    /// Serves until a graceful shutdown or cancellation, then lets exchanges in flight finish for
    /// ``ProxySettings/drainTimeout``.
    ///
    /// - Throws: ``ProxyBindError`` if the port cannot be opened.
    package func run() async throws {
        var bound: [any Channel] = []
        do {
            for listener in self.listeners {
                let channel = try await self.bind(listener)
                bound.append(channel)
                let port = channel.localAddress?.port ?? listener.address.port
                let address = EndpointAddress(host: listener.address.host, port: port)
                self.logger.info("proxy listens", metadata: ["address": "\(address)"])
                self.onListening?(address)
            }
        } catch {
            for channel in bound { channel.close(promise: nil) }
            throw error
        }
        let channels = bound
        try await withTaskCancellationOrGracefulShutdownHandler {
            for channel in channels { try await channel.closeFuture.get() }
        } onCancelOrGracefulShutdown: {
            for channel in channels { channel.close(promise: nil) }
        }
        await self.drain()
    }

    private func bind(_ listener: ProxyListener) async throws -> any Channel {
        let workers = Dictionary(uniqueKeysWithValues: self.shares.map { (ObjectIdentifier($0.loop), $0.worker) })
        let bootstrap = PeerSilence.options(limit: self.settings.clientTimeout)
            .reduce(ServerBootstrap(group: self.group)) { $0.childChannelOption($1.name, value: .init($1.value)) }
        do {
            return
                try await bootstrap
                .serverChannelOption(.backlog, value: 1024)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                .childChannelOption(.autoRead, value: false)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try workers[ObjectIdentifier(channel.eventLoop)]?.value.accept(channel, from: listener)
                    }
                }
                .bind(host: listener.address.host, port: listener.address.port)
                .get()
        } catch {
            throw ProxyBindError(address: listener.address, reason: "\(error)")
        }
    }

    private func drain() async {
        let finished = self.shares.map { share in share.loop.flatSubmit { share.worker.value.drain() } }
        let limit = self.group.next().scheduleTask(in: .seconds(self.settings.drainTimeout)) { [shares = self.shares] in
            for share in shares { share.loop.execute { share.worker.value.closeClients() } }
        }
        // Neither can fail but by the event loops' end, and then there is nothing left to close.
        for future in finished { try? await future.get() }
        limit.cancel()
        for share in self.shares { try? await share.run { $0.stop() } }
        self.logger.info("proxy has stopped", metadata: ["requests": "\(self.counters.requests)"])
    }
}
