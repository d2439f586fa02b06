import FleetModel
import Glibc
import NIOCore
import NIOPosix

/// One end of a TCP connection that speaks raw bytes, as a test tells it to.
final class Peer: Sendable {
    struct State: Sendable {
        var text = ""
        var bytes = 0
        var isClosed = false
        var wasReset = false
        var bytesSent = 0
    }

    let channel: any Channel
    let state: Watched<State>

    init(channel: any Channel, state: Watched<State>) {
        self.channel = channel
        self.state = state
    }

    static func connect(
        to address: EndpointAddress,
        tls: (@Sendable (any Channel) throws -> Void)? = nil
    ) async throws -> Peer {
        let state = Watched(State())
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try tls?(channel)
                    try channel.pipeline.syncOperations.addHandler(Ear(state: state))
                }
            }
            .connect(host: address.host, port: address.port).get()
        return Peer(channel: channel, state: state)
    }

    func send(_ text: String) {
        self.channel.writeAndFlush(ByteBuffer(string: text), promise: nil)
    }

    func send(bytes: ByteBuffer) { self.channel.writeAndFlush(bytes, promise: nil) }

    /// Sends many bytes and counts those that the kernel took.
    func send(chunk: ByteBuffer, times: Int) {
        for _ in 0..<times {
            self.channel.writeAndFlush(chunk).whenSuccess { self.state.update { $0.bytesSent += chunk.readableBytes } }
        }
    }

    func close() { self.channel.close(promise: nil) }

    func endOutput() { self.channel.close(mode: .output, promise: nil) }

    func setReading(_ isReading: Bool) async throws {
        try await self.channel.setOption(.autoRead, value: isReading).get()
    }

    @discardableResult
    func receive(_ text: String, times: Int = 1) async throws -> String {
        do {
            return try await self.state.wait { $0.text.ranges(of: text).count >= times }.text
        } catch {
            throw Unheard(awaited: text, heard: self.state.value)
        }
    }

    /// What a test waited for in vain.
    struct Unheard: Error {
        let awaited: String
        let heard: State
    }

    /// Everything up to the close.
    @discardableResult
    func receiveClose() async throws -> String { try await self.state.wait { $0.isClosed }.text }
}

/// Keeps what a ``Peer`` hears: all of it while it is short, then only its length.
private final class Ear: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let state: Watched<Peer.State>

    init(state: Watched<Peer.State>) { self.state = state }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        self.state.update {
            $0.bytes += bytes.readableBytes
            if $0.text.utf8.count < 100_000 { $0.text += String(buffer: bytes) }
        }
    }

    func channelInactive(context: ChannelHandlerContext) { self.state.update { $0.isClosed = true } }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.state.update { $0.wasReset = true }
        context.close(promise: nil)
    }
}

/// A model server whose every word is in the test.
final class Upstream: Sendable {
    let address: EndpointAddress
    private let listener: any Channel
    private let peers: Watched<[Peer]>

    private init(address: EndpointAddress, listener: any Channel, peers: Watched<[Peer]>) {
        self.address = address
        self.listener = listener
        self.peers = peers
    }

    /// Listens on a free port; `halfOpen` lets a client's end of its side leave the connection open.
    static func start(
        halfOpen: Bool = false,
        tls: (@Sendable (any Channel) throws -> Void)? = nil
    ) async throws -> Upstream {
        let peers = Watched<[Peer]>([])
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: halfOpen)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let state = Watched(Peer.State())
                    try tls?(channel)
                    try channel.pipeline.syncOperations.addHandler(Ear(state: state))
                    peers.update { $0.append(Peer(channel: channel, state: state)) }
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let address = EndpointAddress(host: "127.0.0.1", port: listener.localAddress?.port ?? 0)
        return Upstream(address: address, listener: listener, peers: peers)
    }

    /// The connection of this number, from 0, as soon as it is there.
    func connection(_ number: Int) async throws -> Peer {
        try await self.peers.wait { $0.count > number }[number]
    }

    var connections: Int { self.peers.value.count }

    func stop() async throws {
        try await self.listener.close()
        for peer in self.peers.value { peer.close() }
    }
}

/// An address that refuses every connection for as long as it is held: its port is bound and nobody listens, so no
/// other test can be given it.
final class DeadAddress: Sendable {
    let address: EndpointAddress
    private let socket: CInt

    init() throws {
        let socket = Glibc.socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 && getsockname(socket, $0, &length) == 0
            }
        }
        self.socket = socket
        self.address = EndpointAddress(host: "127.0.0.1", port: Int(UInt16(bigEndian: name.sin_port)))
        guard isBound else { throw IOError(errnoCode: errno, reason: "bind") }
    }

    deinit { close(self.socket) }
}
