import EngineModel
import ServiceLifecycle
import Synchronization

/// A token of an answer, on its way to the client.
struct EngineToken: Sendable {
    /// Counted from 1.
    let number: Int
    /// Set on the last token.
    let finish: EngineFinish?
}

/// The connection that a request came in on; HTTP/1.1 has one request in flight on each.
typealias ConnectionID = ObjectIdentifier

/// Drives the engine's machine by the real clock and hands each token to the request that it belongs to.
///
/// Only `run()` moves the machine forward, so that every request sees its tokens in order.
final class EngineShell: Service {
    private struct Answer {
        let tokens: AsyncStream<EngineToken>.Continuation
        let connection: ConnectionID
        let wantsEveryToken: Bool
        /// The client's name for it, when a log wants it.
        let name: String?
    }

    private struct Delivery {
        /// `nil` when nobody waits for this token.
        let tokens: AsyncStream<EngineToken>.Continuation?
        let token: EngineToken
        let name: String?
    }

    private struct State {
        var machine: EngineMachine
        var answers: [EngineRequestID: Answer] = [:]
        var requests: [ConnectionID: EngineRequestID] = [:]
        var lastID: EngineRequestID = 0

        /// Where an event goes, if anybody wants it.
        mutating func delivery(of event: EngineEvent) -> Delivery? {
            guard case .token(let number, let finish) = event.kind else { return nil }
            let token = EngineToken(number: number, finish: finish)
            if finish != nil {
                return self.forget(event.request).map { Delivery(tokens: $0.tokens, token: token, name: $0.name) }
            }
            guard let answer = self.answers[event.request], answer.wantsEveryToken || answer.name != nil else {
                return nil
            }
            return Delivery(tokens: answer.wantsEveryToken ? answer.tokens : nil, token: token, name: answer.name)
        }

        mutating func forget(_ id: EngineRequestID) -> Answer? {
            guard let answer = self.answers.removeValue(forKey: id) else { return nil }
            if self.requests[answer.connection] == id { self.requests[answer.connection] = nil }
            return answer
        }
    }

    private let state: Mutex<State>
    private let epoch = ContinuousClock.now
    private let wakes: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation
    private let log: RequestLog?

    init(profile: EngineProfile, log: RequestLog? = nil) {
        self.log = log
        self.state = Mutex(State(machine: EngineMachine(profile: profile)))
        (self.wakes, self.wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    var metrics: EngineMetrics { self.state.withLock { $0.machine.metrics } }

    /// Hands a request to the engine.
    ///
    /// The stream needs no more room than the answer has tokens, so nothing is dropped and nothing is unbounded.
    ///
    /// - Parameters:
    ///   - ask: The request.
    ///   - connection: Where it came in.
    ///   - name: What the client calls it, for the log.
    /// - Returns: the request's id and its tokens; only the last one unless `wantsEveryToken`.
    /// - Throws: ``EngineRefusal`` for a request that no engine of this size could ever serve.
    func submit(
        _ ask: EngineAsk,
        connection: ConnectionID,
        name: String? = nil
    ) throws(EngineRefusal) -> (id: EngineRequestID, tokens: AsyncStream<EngineToken>) {
        let name = self.log == nil ? nil : name.map { String($0.prefix(RequestLog.idLimit)) }
        let (tokens, continuation) = AsyncStream.makeStream(
            of: EngineToken.self,
            bufferingPolicy: .bufferingOldest(ask.outputTokens)
        )
        let id = try self.state.withLock { state throws(EngineRefusal) in
            state.lastID += 1
            let id = state.lastID
            let request = EngineRequest(
                id: id,
                promptTokens: ask.prompt.tokens,
                outputTokens: ask.outputTokens,
                prefix: ask.prompt.prefix,
                finish: ask.finish
            )
            try state.machine.submit(request, now: self.now)
            state.answers[id] = Answer(
                tokens: continuation,
                connection: connection,
                wantsEveryToken: ask.streams,
                name: name
            )
            state.requests[connection] = id
            return id
        }
        if let name { self.log?.add(.taken, of: name) }
        self.wake.yield()
        return (id, tokens)
    }

    /// Ends a request early; does nothing for one that has ended.
    func cancel(_ id: EngineRequestID) {
        let answer = self.state.withLock { state in
            let answer = state.forget(id)
            if answer != nil { _ = state.machine.cancel(id) }
            return answer
        }
        answer?.tokens.finish()
        if let name = answer?.name { self.log?.add(.cancelled, of: name) }
    }

    /// Ends the request of a connection whose client went away.
    func connectionClosed(_ connection: ConnectionID) {
        if let id = self.state.withLock({ $0.requests[connection] }) { self.cancel(id) }
    }

    func run() async {
        for await _ in self.wakes.cancelOnGracefulShutdown() {
            // While the machine has something to come, a new request does not bring it forward: no need to listen.
            while let next = self.turn() {
                do {
                    try await Task.sleep(until: next, tolerance: .zero, clock: .continuous)
                } catch {
                    break
                }
            }
        }
        for id in self.state.withLock({ Array($0.answers.keys) }) { self.cancel(id) }
    }

    private var now: Double { (ContinuousClock.now - self.epoch) / .seconds(1) }

    /// Lives up to the present and hands out the tokens.
    ///
    /// - Returns: when the machine has to be looked at again, if at all.
    private func turn() -> ContinuousClock.Instant? {
        let now = self.now
        let (deliveries, next) = self.state.withLock { state in
            let events = state.machine.advance(to: now)
            let deliveries = events.compactMap { state.delivery(of: $0) }
            return (deliveries, state.machine.nextEventAt)
        }
        for delivery in deliveries {
            let isLast = delivery.token.finish != nil
            if let name = delivery.name {
                if delivery.token.number == 1 { self.log?.add(.begun, of: name) }
                if isLast { self.log?.add(.finished, of: name) }
            }
            delivery.tokens?.yield(delivery.token)
            if isLast { delivery.tokens?.finish() }
        }
        return next.map { self.epoch + .seconds($0) }
    }
}
