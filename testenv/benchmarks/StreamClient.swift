import ArgumentParser
import Dispatch
import NIOCore
import NIOHTTP1
import NIOPosix

/// Reads streamed answers of ``UpstreamServer`` and says how late each event came.
///
/// Writer and reader share the machine's monotonic clock, so an event's delay needs no estimate.
struct StreamClient: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "streams",
        abstract: "Read streams from an upstream, directly or through a proxy, and print the delays of their events."
    )

    @Option(help: "Where to send requests, such as 127.0.0.1:8080.")
    var to: String
    @Option(help: "Streams at a time.")
    var streams = 20
    @Option(help: "Streams in all.")
    var count = 100
    @Option(help: "The path of the request.")
    var path = "/v1/chat/completions"
    @Option(help: "The model to ask for.")
    var model = "llama"

    func run() throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let parts = self.to.split(separator: ":")
        guard parts.count == 2, let port = Int(parts[1]) else {
            throw ValidationError("--to: '\(self.to)' is not HOST:PORT")
        }
        let host = String(parts[0])
        let (path, model) = (self.path, self.model)
        let each = max(1, self.count / self.streams)
        let futures = (0..<self.streams).map { _ in
            let done = group.next().makePromise(of: Delays.self)
            let future = ClientBootstrap(group: group)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHTTPClientHandlers()
                        try channel.pipeline.syncOperations.addHandler(
                            StreamHandler(host: "\(host):\(port)", path: path, model: model, count: each, done: done)
                        )
                    }
                }
                .connect(host: host, port: port)
            future.whenFailure { done.fail($0) }
            return done.futureResult
        }
        let all = try EventLoopFuture.whenAllSucceed(futures, on: group.next()).wait()
        let first = all.flatMap(\.first).sorted()
        let between = all.flatMap(\.between).sorted()
        let errors = all.reduce(0) { $0 + $1.errors }
        func percentile(_ values: [Double], _ share: Double) -> Double {
            values.isEmpty ? 0 : values[min(values.count - 1, Int(Double(values.count) * share))]
        }
        print(
            """
            {"streams":\(each * self.streams),"errors":\(errors),"events":\(first.count + between.count),\
            "first_ms":{"p50":\(percentile(first, 0.5)),"p99":\(percentile(first, 0.99))},\
            "between_ms":{"p50":\(percentile(between, 0.5)),"p99":\(percentile(between, 0.99))}}
            """
        )
    }
}

/// Milliseconds from the write of an event to its arrival.
private struct Delays: Sendable {
    var first: [Double] = []
    var between: [Double] = []
    var errors = 0
}

private final class StreamHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    static let mark = Array(#"{"at":"#.utf8)

    let host: String
    let path: String
    let body: ByteBuffer
    let done: EventLoopPromise<Delays>
    private var left: Int
    private var delays = Delays()
    private var isFirst = true

    init(host: String, path: String, model: String, count: Int, done: EventLoopPromise<Delays>) {
        self.host = host
        self.path = path
        self.left = count
        self.done = done
        self.body = ByteBuffer(
            string: #"{"model":"\#(model)","stream":true,"messages":[{"role":"user","content":"Hello there"}]}"#
        )
    }

    func channelActive(context: ChannelHandlerContext) { self.send(context) }

    private func send(_ context: ChannelHandlerContext) {
        guard self.left > 0 else {
            self.done.succeed(self.delays)
            context.close(promise: nil)
            return
        }
        self.left -= 1
        self.isFirst = true
        let headers: HTTPHeaders = [
            "host": self.host, "content-type": "application/json", "content-length": "\(self.body.readableBytes)",
        ]
        let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: self.path, headers: headers)
        context.write(self.wrapOutboundOut(.head(head)), promise: nil)
        context.write(self.wrapOutboundOut(.body(.byteBuffer(self.body))), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head): if head.status != .ok { self.delays.errors += 1 }
        case .body(let bytes): self.read(bytes.readableBytesView)
        case .end: self.send(context)
        }
    }

    /// An event cut in two by the network is left out: its second half would be timed, not its whole.
    private func read(_ bytes: ByteBufferView) {
        let now = DispatchTime.now().uptimeNanoseconds
        var rest = bytes[...]
        while let mark = rest.firstRange(of: Self.mark) {
            rest = rest[mark.upperBound...]
            let digits = rest.prefix { $0 >= 0x30 && $0 <= 0x39 }
            guard let written = UInt64(String(decoding: digits, as: UTF8.self)), written <= now else { continue }
            let delay = Double(now - written) / 1e6
            if self.isFirst { self.delays.first.append(delay) } else { self.delays.between.append(delay) }
            self.isFirst = false
        }
    }

    func channelInactive(context: ChannelHandlerContext) { self.done.succeed(self.delays) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.delays.errors += 1
        context.close(promise: nil)
    }
}
