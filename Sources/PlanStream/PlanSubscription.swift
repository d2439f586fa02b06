import FleetModel
import Foundation
import NIOCore
import WireProtocol

/// What the hub knows of one gateway's stream, and what it says next: a value, so that the rules need no stream to be
/// tested.
///
/// - The newest plan wins: what was announced while the stream could not take it is never sent.
/// - A gateway that holds the announced plan's parent gets the delta, any other one the body, and one that holds the
///   plan a sign of life at times.
/// - A gateway that is sent plans and takes none of them is given up after ``patience``.
struct PlanSubscription: Sendable {
    /// How long a gateway may hold back its answer to a plan, in seconds.
    static let patience: Seconds = 10
    /// At the latest after this long, in seconds, or a quarter of the plan's time to live when that is shorter, a
    /// gateway hears that its plan is in force.
    static let heartbeatPeriod: Seconds = 5

    enum Word {
        case body(ByteBuffer)
        case delta(ByteBuffer)
        case heartbeat(ByteBuffer)

        var bytes: ByteBuffer {
            switch self {
            case .body(let bytes), .delta(let bytes), .heartbeat(let bytes): bytes
            }
        }
    }

    let scope: PlanScope
    /// Its own heartbeats come this much of the period early, 0 to 1, so that those of all gateways do not come at once.
    let phase: Double
    /// What the gateway holds once it has read everything that was sent.
    private(set) var held: PlanVersion?
    private var hash: Data?
    private var spokeAt: Seconds = -.infinity
    /// Since when it owes an answer.
    private(set) var unansweredSince: Seconds?

    init(scope: PlanScope, phase: Double, held: PlanVersion?, hash: Data?) {
        self.scope = scope
        self.phase = phase
        self.held = held
        self.hash = hash
    }

    /// What to send now, if anything.
    ///
    /// - Parameters:
    ///   - announcement: What is in force.
    ///   - isConfirmed: Whether this replica knows at this moment that it is in force.
    ///   - now: The hub's clock.
    /// - Returns: The word; `nil` for none.
    /// - Throws: ``PlanUnreadable`` when the plan cannot be encoded.
    mutating func next(
        _ announcement: Announcement,
        isConfirmed: Bool,
        now: Seconds
    ) throws(PlanUnreadable) -> Word? {
        guard let slice = try announcement.slice(for: self.scope), slice.encoded.hash != self.hash else {
            return self.heartbeat(announcement, isConfirmed: isConfirmed, now: now)
        }
        let word: Word
        if let delta = slice.delta, delta.base == self.hash {
            word = .delta(delta.framed)
        } else {
            word = .body(slice.body)
        }
        self.held = slice.encoded.version
        self.hash = slice.encoded.hash
        self.spokeAt = now
        if self.unansweredSince == nil { self.unansweredSince = now }
        return word
    }

    private mutating func heartbeat(_ announcement: Announcement, isConfirmed: Bool, now: Seconds) -> Word? {
        guard isConfirmed else { return nil }
        let timeToLive = announcement.plan?.message.timeToLive ?? .infinity
        let period = min(Self.heartbeatPeriod, timeToLive / 4)
        guard now - self.spokeAt >= period * (1 - 0.4 * self.phase) else { return nil }
        self.spokeAt = now
        return .heartbeat(announcement.heartbeat)
    }

    /// The gateway took a plan, or refused one.
    mutating func answered(_ version: PlanVersion, now: Seconds) {
        // An answer to an older plan is progress, and the newer one is still owed.
        self.unansweredSince = version == self.held ? nil : now
    }

    /// The gateway could not use what it was sent: the body follows.
    mutating func lost() {
        self.hash = nil
        self.unansweredSince = nil
    }

    /// Whether the gateway has been given up.
    func isStuck(now: Seconds) -> Bool {
        guard let since = self.unansweredSince else { return false }
        return now - since > Self.patience
    }
}
