package import FleetModel

/// Names one request; the caller gives each a number of its own.
package typealias EngineRequestID = UInt64

/// Why a request ended.
package enum EngineFinish: String, Hashable, Sendable, CaseIterable {
    /// The model ended its answer by itself.
    case stop
    /// The answer reached its token limit.
    case length
    /// The client went away.
    case abort
}

/// What a client asks of the engine.
package struct EngineRequest: Hashable, Sendable {
    package var id: EngineRequestID
    package var promptTokens: Int
    /// Tokens that will be generated, exactly.
    package var outputTokens: Int
    /// Hashes of the prompt's leading full units of `prefixUnitTokens`; each hash also covers all before it.
    package var prefix: [UInt64]
    /// How the answer ends when its last token is out.
    package var finish: EngineFinish

    package init(
        id: EngineRequestID,
        promptTokens: Int,
        outputTokens: Int,
        prefix: [UInt64] = [],
        finish: EngineFinish = .length
    ) {
        self.id = id
        self.promptTokens = promptTokens
        self.outputTokens = outputTokens
        self.prefix = prefix
        self.finish = finish
    }
}

/// Why a request was not taken.
package enum EngineRefusal: Error, Hashable, CustomStringConvertible {
    /// Without prompt or output tokens there is nothing to do.
    case empty
    /// The request alone would overflow the KV cache.
    case tooLong(tokens: Int, kvTokens: Int)

    package var description: String {
        switch self {
        case .empty: "a request needs at least one prompt token and one output token"
        case .tooLong(let tokens, let kvTokens):
            "a request of \(tokens) tokens does not fit into a KV cache of \(kvTokens) tokens"
        }
    }
}

/// Something that happened to a request inside the engine.
package struct EngineEvent: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        /// The `number`th token of the answer is out, counted from 1; the last one says how the answer ended.
        case token(number: Int, finish: EngineFinish?)
        /// The KV cache was full: the request gave up its blocks and waits to be computed again.
        case preempted
    }

    package var request: EngineRequestID
    package var at: Seconds
    package var kind: Kind
    /// When the scheduler first gave the request a seat.
    package var admittedAt: Seconds

    package init(request: EngineRequestID, at: Seconds, kind: Kind, admittedAt: Seconds) {
        self.request = request
        self.at = at
        self.kind = kind
        self.admittedAt = admittedAt
    }

    /// How the request ended, if this is its last token.
    package var finish: EngineFinish? {
        guard case .token(_, let finish) = self.kind else { return nil }
        return finish
    }
}
