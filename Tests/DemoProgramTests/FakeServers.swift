import FleetModel
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Testing

@testable import DemoProgram

/// Listens on loopback and hands each connection to `handler`.
func serve<Result>(
    _ handler: @escaping @Sendable (any Channel) throws -> Void,
    _ body: (EndpointAddress) async throws -> Result
) async throws -> Result {
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .childChannelOption(.allowRemoteHalfClosure, value: true)
        .childChannelInitializer { channel in channel.eventLoop.makeCompletedFuture { try handler(channel) } }
        .bind(host: "127.0.0.1", port: 0).get()
    let outcome: Swift.Result<Result, any Error>
    do {
        outcome = .success(try await body(EndpointAddress(host: "127.0.0.1", port: listener.localAddress?.port ?? 0)))
    } catch { outcome = .failure(error) }
    try await listener.close()
    return try outcome.get()
}

/// An address on which nobody listens, and nobody can while this exists: its socket is bound and never listens.
final class DeadAddress: Sendable {
    let address: EndpointAddress
    private let socket: CInt

    init() throws {
        #if canImport(Glibc)
        let stream = CInt(SOCK_STREAM.rawValue)
        #else
        let stream = SOCK_STREAM
        #endif
        self.socket = Foundation.socket(AF_INET, stream, 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = self.socket
        let isBound = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(descriptor, address, size) == 0 && getsockname(descriptor, address, &size) == 0
            }
        }
        try #require(isBound)
        self.address = EndpointAddress(host: "127.0.0.1", port: Int(UInt16(bigEndian: name.sin_port)))
    }

    deinit { close(self.socket) }
}

/// Sends back what it reads, and closes its side when the other side has.
final class EchoHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.writeAndFlush(data, promise: nil) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed? = event as? ChannelEvent else { return }
        let channel = context.channel
        // With its input closed, NIO closes the whole channel and drops what is not written yet: so after the last write.
        channel.writeAndFlush(ByteBuffer()).whenComplete { _ in channel.close(mode: .output, promise: nil) }
    }
}

/// What a fake gateway answers to one request.
enum FakeAnswer: Sendable {
    /// A whole stream, said to come from this cluster.
    case stream(cluster: String)
    /// The head and one token, then the connection breaks.
    case cutAfterFirstToken
    /// The connection breaks before any byte.
    case closed
    case status(HTTPResponseStatus, retryAfter: String?)
    /// The head, and then nothing.
    case silence
}

/// A gateway that answers each request with the next item of its script, and the last one for ever.
final class FakeGateway: Sendable {
    private let script: Mutex<[FakeAnswer]>
    private let bodies = Mutex<[String]>([])

    init(_ script: [FakeAnswer]) { self.script = Mutex(script) }

    /// The bodies of the requests so far.
    var requests: [String] { self.bodies.withLock { $0 } }

    func serve<Result>(_ body: (EndpointAddress) async throws -> Result) async throws -> Result {
        try await DemoProgramTests.serve(
            { channel in
                try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                try channel.pipeline.syncOperations.addHandler(Handler(gateway: self))
            },
            body
        )
    }

    private func next(_ body: String) -> FakeAnswer {
        self.bodies.withLock { $0.append(body) }
        return self.script.withLock { $0.count > 1 ? $0.removeFirst() : $0[0] }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let gateway: FakeGateway
        private var body = ByteBuffer()

        init(gateway: FakeGateway) { self.gateway = gateway }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch self.unwrapInboundIn(data) {
            case .head: self.body.clear()
            case .body(var part): self.body.writeBuffer(&part)
            case .end: self.answer(context, self.gateway.next(String(buffer: self.body)))
            }
        }

        private func answer(_ context: ChannelHandlerContext, _ answer: FakeAnswer) {
            func write(_ part: HTTPServerResponsePart) {
                context.writeAndFlush(self.wrapOutboundOut(part), promise: nil)
            }
            func head(_ status: HTTPResponseStatus, _ headers: HTTPHeaders) {
                write(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers)))
            }
            func event(_ data: String) { write(.body(.byteBuffer(ByteBuffer(string: "data: \(data)\n\n")))) }
            let token = #"{"choices":[{"delta":{"content":"hi"}}]}"#
            switch answer {
            case .stream(let cluster):
                head(.ok, ["x-isobar-cluster": cluster])
                event(#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#)
                event(token)
                event("[DONE]")
                write(.end(nil))
            case .cutAfterFirstToken:
                head(.ok, ["x-isobar-cluster": "europe-west-a"])
                event(token)
                context.close(promise: nil)
            case .closed:
                context.close(promise: nil)
            case .status(let status, let retryAfter):
                var headers: HTTPHeaders = ["content-length": "0"]
                if let retryAfter { headers.add(name: "retry-after", value: retryAfter) }
                head(status, headers)
                write(.end(nil))
            case .silence:
                head(.ok, [:])
            }
        }
    }
}
