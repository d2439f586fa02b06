import NIOCore
import NIOPosix
import Synchronization

/// A TCP relay between two programs of a test, which the test can cut.
package final class CutLink: Sendable {
    package enum State: Sendable {
        case open
        /// Nothing passes and nothing is answered, as when packets vanish; what was sent meanwhile comes later.
        case silent
        /// Connections are closed, and new ones at once.
        case refused
    }

    private struct Held {
        var state = State.open
        var channels: [ObjectIdentifier: any Channel] = [:]
    }

    private let held = Mutex(Held())
    private let listener = Mutex<(any Channel)?>(nil)

    private init() {}

    /// Opens a link to a port of this machine, on a free port of its own.
    package static func open(to port: Int) async throws -> CutLink {
        let link = CutLink()
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { channel in link.accept(channel, to: port) }
            .bind(host: "127.0.0.1", port: 0)
            .get()
        link.listener.withLock { $0 = listener }
        return link
    }

    /// Where the programs connect.
    package var port: Int { self.listener.withLock { $0?.localAddress?.port ?? 0 } }

    /// Cuts the link, or opens it again.
    package func set(_ state: State) {
        let channels = self.held.withLock { held in
            held.state = state
            return Array(held.channels.values)
        }
        for channel in channels {
            switch state {
            case .open: channel.setOption(.autoRead, value: true).whenSuccess { channel.read() }
            case .silent: _ = channel.setOption(.autoRead, value: false)
            case .refused: channel.close(promise: nil)
            }
        }
    }

    /// Ends the link and everything on it.
    package func close() async {
        self.set(.refused)
        let listener = self.listener.withLock { $0 }
        try? await listener?.close()
    }

    private func accept(_ near: any Channel, to port: Int) -> EventLoopFuture<Void> {
        guard self.add(near) else { return near.close() }
        return ClientBootstrap(group: near.eventLoop)
            .channelOption(.autoRead, value: false)
            .connect(host: "127.0.0.1", port: port)
            .flatMap { far in
                guard self.add(far) else { return far.close() }
                return near.pipeline.addHandler(CutLinkHandler(to: far)).flatMap {
                    far.pipeline.addHandler(CutLinkHandler(to: near))
                }.map {
                    guard self.held.withLock({ $0.state }) == .open else { return }
                    // The near one is not registered yet: a read that is asked for now would never be done.
                    for channel in [near, far] { _ = channel.setOption(.autoRead, value: true) }
                }
            }
    }

    /// - Returns: `false` while connections are refused.
    private func add(_ channel: any Channel) -> Bool {
        let id = ObjectIdentifier(channel)
        let isWanted = self.held.withLock { held -> Bool in
            guard held.state != .refused else { return false }
            held.channels[id] = channel
            return true
        }
        channel.closeFuture.whenComplete { _ in
            self.held.withLock { held in _ = held.channels.removeValue(forKey: id) }
        }
        return isWanted
    }
}

/// Passes on what its channel reads, and its end.
private final class CutLinkHandler: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    private let other: any Channel

    init(to other: any Channel) { self.other = other }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.other.writeAndFlush(self.unwrapInboundIn(data), promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { self.other.close(promise: nil) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
