import ArgumentParser
import Dispatch
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// A model server that costs next to nothing, so that what is measured is the proxy before it.
///
/// Every `POST` whose body says `"stream":true` is answered with server-sent events, each with the time it was written
/// at; every other `POST` with one small completion. `GET /metrics` is a vLLM page without work; every other `GET` is a
/// list of one model.
struct UpstreamServer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upstream",
        abstract: "Answer as a model server that costs nothing; prints its port and runs until it is ended."
    )

    @Option(help: "Port; 0 takes a free one.")
    var port = 0
    @Option(help: "Events of a streamed answer.")
    var events = 50
    @Option(help: "Milliseconds between two events.")
    var interval = 10
    @Option(help: "The model's name.")
    var model = "llama"

    func run() throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let (events, interval, model) = (self.events, TimeAmount.milliseconds(Int64(self.interval)), self.model)
        let server = try ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 4_096)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withPipeliningAssistance: false)
                    try channel.pipeline.syncOperations.addHandler(
                        UpstreamHandler(events: events, interval: interval, model: model)
                    )
                }
            }
            .bind(host: "127.0.0.1", port: self.port).wait()
        print(server.localAddress?.port ?? 0)
        // Into a file, a line would wait for the buffer to fill.
        fflush(nil)
        try server.closeFuture.wait()
    }
}

private final class UpstreamHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    static let mark = Array(#""stream":true"#.utf8)

    let events: Int
    let interval: TimeAmount
    let answer: ByteBuffer
    let models: ByteBuffer
    let metrics: ByteBuffer
    private var head: HTTPRequestHead?
    private var isStream = false

    init(events: Int, interval: TimeAmount, model: String) {
        self.events = events
        self.interval = interval
        self.answer = ByteBuffer(
            string: """
                {"id":"cmpl-1","object":"chat.completion","created":1,"model":"\(model)","choices":[{"index":0,\
                "message":{"role":"assistant","content":"\(String(repeating: "word ", count: 40))"},\
                "finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":40,"total_tokens":49}}
                """
        )
        self.models = ByteBuffer(
            string: #"{"object":"list","data":[{"id":"\#(model)","object":"model","owned_by":"bench"}]}"#
        )
        self.metrics = ByteBuffer(
            string: """
                # TYPE vllm:num_requests_running gauge
                vllm:num_requests_running{engine="0",model_name="\(model)"} 0.0
                # TYPE vllm:num_requests_waiting gauge
                vllm:num_requests_waiting{engine="0",model_name="\(model)"} 0.0
                # TYPE vllm:kv_cache_usage_perc gauge
                vllm:kv_cache_usage_perc{engine="0",model_name="\(model)"} 0.0

                """
        )
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch self.unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            self.isStream = false
        case .body(let bytes):
            if !self.isStream { self.isStream = bytes.readableBytesView.firstRange(of: Self.mark) != nil }
        case .end:
            guard let head = self.head else { return }
            if head.method != .POST {
                self.write(head.uri == "/metrics" ? self.metrics : self.models, head.uri == "/metrics", context)
            } else if self.isStream {
                self.stream(context)
            } else {
                self.write(self.answer, false, context)
            }
        }
    }

    private func write(_ body: ByteBuffer, _ isText: Bool, _ context: ChannelHandlerContext) {
        let headers: HTTPHeaders = [
            "content-type": isText ? "text/plain; version=0.0.4" : "application/json",
            "content-length": "\(body.readableBytes)",
        ]
        context.write(
            self.wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .ok, headers: headers))),
            promise: nil
        )
        context.write(self.wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        context.writeAndFlush(self.wrapOutboundOut(.end(nil)), promise: nil)
    }

    private func stream(_ context: ChannelHandlerContext) {
        let head = HTTPResponseHead(
            version: .http1_1,
            status: .ok,
            headers: ["content-type": "text/event-stream", "transfer-encoding": "chunked"]
        )
        context.writeAndFlush(self.wrapOutboundOut(.head(head)), promise: nil)
        let loop = NIOLoopBound(context, eventLoop: context.eventLoop)
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let left = NIOLoopBoundBox(self.events, eventLoop: context.eventLoop)
        context.eventLoop.scheduleRepeatedTask(initialDelay: self.interval, delay: self.interval) { task in
            let (context, handler) = (loop.value, bound.value)
            guard context.channel.isActive, left.value > 0 else {
                task.cancel()
                guard context.channel.isActive else { return }
                let done = ByteBuffer(string: "data: [DONE]\n\n")
                context.write(handler.wrapOutboundOut(.body(.byteBuffer(done))), promise: nil)
                context.writeAndFlush(handler.wrapOutboundOut(.end(nil)), promise: nil)
                return
            }
            left.value -= 1
            let event = ByteBuffer(
                string: """
                    data: {"at":\(DispatchTime.now().uptimeNanoseconds),"id":"cmpl-1","object":"chat.completion.chunk",\
                    "choices":[{"index":0,"delta":{"content":"word "}}]}\n\n
                    """
            )
            context.writeAndFlush(handler.wrapOutboundOut(.body(.byteBuffer(event))), promise: nil)
        }
    }
}
