import NIOCore
import NIOHTTP2

/// The answer to a client's HTTP/2 stream.
final class StreamOutput: FrameOutput {
    /// The client has ended its side: the stream ends with the answer.
    var isRequestWhole = false
    private var isAnswerSent = false
    private var isFinished = false

    override func write(_ head: ResponseHead) {
        self.write(.headers(.init(headers: Self.block(head.headers, after: [(":status", String(head.status))]))))
    }

    override func writeEnd(_ trailers: Fields?) {
        let sent = self.context.eventLoop.makePromise(of: Void.self)
        sent.futureResult.assumeIsolated().whenSuccess {
            self.isAnswerSent = true
            if self.isFinished { self.leave() }
        }
        self.writeEnd(trailers, sent)
    }

    // MARK: The end

    /// The answer is all written: what is left of the request is not wanted, and once the answer is sent the client is
    /// told so (RFC 9113 §8.1).
    func finish() {
        self.isFinished = true
        if self.isAnswerSent { self.leave() }
    }

    private func leave() {
        guard !self.isRequestWhole, self.context.channel.isActive else { return }
        self.isRequestWhole = true
        self.write(.rstStream(.noError))
        self.flush()
    }

    /// The answer is not whole and never will be.
    func abort() {
        self.write(.rstStream(.internalError))
        self.flush()
    }
}
