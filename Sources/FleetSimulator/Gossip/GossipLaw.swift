package import FleetModel
import GossipCore

/// What holds in every run of the gossip, whatever the network does.
///
/// docs/gossip.md tells them by these numbers.
package enum GossipLaw: Int, Hashable, Sendable, CaseIterable {
    /// The stamp that a hub holds of an agent never decreases while the hub runs.
    case newestStays = 1
    /// What a hub holds was sealed by its agent under that stamp, to the byte.
    case nothingForged
    /// An agent uses no stamp twice, over all its restarts.
    case stampsAreUnique
    /// The age that a hub tells is true but for the time on links.
    case agesAreTrue
    /// A frame goes through one relay at most, and only its own agent asks for it.
    case oneHop
    /// No hub suspects an agent of which it took a new frame in the last two seconds.
    case heardIsNotSuspect
    /// Agents keep to their budgets of frames and of help.
    case budgetsHold
    /// Shares stay between 0 and 1, and stand still while they are frozen.
    case sharesAreBounded
    /// Five seconds after the network has healed, every hub holds a frame of each living agent that was made since.
    case agreement
    /// Thirty seconds after it, the living are fresh at their full share, the dead unreachable, nothing is frozen, and of
    /// the dead every hub holds the newest frame that any of them holds.
    case rest
    /// A hub that takes an agent for unreachable before the longest silence has another hub's word for it, about a frame
    /// that is not older than its own.
    case confirmedOrLate
    /// At rest no hub sends another a frame that it has sent it before.
    case quietMesh
}

/// A broken invariant: which, when and how, and the seed that replays it.
package struct BrokenGossipLaw: Error, Hashable, CustomStringConvertible {
    package var law: GossipLaw
    package var seed: UInt64
    package var at: Seconds
    package var detail: String

    package var description: String {
        let milliseconds = Int((self.at * 1_000).rounded())
        return "seed \(self.seed) breaks G\(self.law.rawValue) (\(self.law)) at \(milliseconds) ms: \(self.detail)\n"
            + "replay: isobar simulate gossip-seeds --seeds 1 --first-seed \(self.seed)"
    }
}

/// What really happened in a trial, to hold the gossip to.
struct GossipBook: Sendable {
    static let agreementWithin: Seconds = 5
    static let restWithin: Seconds = 30
    /// At the end of it, in seconds: everybody knows everything.
    static let quietFor: Seconds = 8

    private struct Sealed: Sendable {
        var header: FrameHeader
        var madeAt: Seconds
    }

    private var sealedBy: [[FrameStamp: Sealed]]
    private(set) var everSealed: [SealedFrame] = []
    private var held: [[FrameStamp]]
    /// By hub and agent, on the hub's clock: when it took a frame that was new.
    private var takenAt: [[Seconds]]
    private var published: [[Seconds]]
    private var forwarded: [[Seconds]]
    /// By agent: frames that somebody brought again.
    private var replayed: [Set<FrameStamp>]
    var longestFlight: Seconds = 0
    private var newestAtHeal: [FrameStamp] = []
    /// By hub and agent: the newest stamp that a hub ever told others it suspects.
    private var suspected: [[FrameStamp]]
    /// By pair of hubs, agent and stamp: how often it was flushed since quiet began; `nil` before.
    private var flushed: [Flushed: Int]?

    private struct Flushed: Hashable, Sendable {
        var from: Int
        var to: Int
        var agent: AgentID
        var stamp: FrameStamp
    }
    private var alive: [Bool] = []

    init(hubs: Int, agents: Int) {
        self.sealedBy = Array(repeating: [:], count: agents)
        self.held = Array(repeating: Array(repeating: .none, count: agents), count: hubs)
        self.takenAt = Array(repeating: Array(repeating: -.infinity, count: agents), count: hubs)
        self.published = Array(repeating: [], count: agents)
        self.forwarded = Array(repeating: [], count: agents)
        self.replayed = Array(repeating: [], count: agents)
        self.suspected = Array(repeating: Array(repeating: .none, count: agents), count: hubs)
    }

    /// The bytes that only the agent of a header can make of it.
    static func seal(_ header: FrameHeader) -> [UInt8] {
        var bytes: [UInt8] = []
        for part in [header.agent.number, header.stamp.incarnation, header.stamp.sequence, UInt32(header.reach.bits)] {
            for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: part >> shift)) }
        }
        return bytes
    }

    func isGenuine(_ frame: SealedFrame) -> Bool { frame.bytes == Self.seal(frame.header) }

    mutating func replays(_ frame: SealedFrame) {
        self.replayed[Int(frame.header.agent.number)].insert(frame.header.stamp)
    }

    private func broken(_ law: GossipLaw, _ trial: borrowing GossipTrial, _ detail: String) -> BrokenGossipLaw {
        BrokenGossipLaw(law: law, seed: trial.seed, at: trial.now, detail: detail)
    }

    mutating func hubStarted(_ hub: Int) {
        for agent in self.held[hub].indices {
            self.held[hub][agent] = .none
            self.takenAt[hub][agent] = -.infinity
        }
    }

    mutating func sealed(_ frame: SealedFrame, trial: borrowing GossipTrial) throws(BrokenGossipLaw) {
        let header = frame.header
        let agent = Int(header.agent.number)
        if let newest = self.sealedBy[agent].keys.max(), header.stamp <= newest {
            throw self.broken(.stampsAreUnique, trial, "\(header.agent) made \(header.stamp) after \(newest)")
        }
        self.sealedBy[agent][header.stamp] = Sealed(header: header, madeAt: trial.now)
        self.everSealed.append(frame)
        self.published[agent].removeAll { $0 < trial.now - 1 }
        self.published[agent].append(trial.now)
        // The burst, a second's refill, the regular frame, a restart and a step of the clock.
        if self.published[agent].count > 12 {
            throw self.broken(
                .budgetsHold,
                trial,
                "\(header.agent) made \(self.published[agent].count) frames in a second"
            )
        }
    }

    mutating func sent(_ outgoing: Outgoing, from: Int, trial: borrowing GossipTrial) throws(BrokenGossipLaw) {
        let agent = from - self.held.count
        switch (outgoing.message, outgoing.to) {
        case (.push(let push), .hub), (.relay(let push), .agent):
            guard Int(push.carried.frame.header.agent.number) == agent else {
                throw self.broken(.oneHop, trial, "node \(from) sends \(push.carried.frame.header.agent) as its own")
            }
        case (.forward, .hub):
            self.forwarded[agent].removeAll { $0 < trial.now - 1 }
            self.forwarded[agent].append(trial.now)
            if Double(self.forwarded[agent].count) > 2.1 * trial.settings.relayBudget {
                throw self.broken(.budgetsHold, trial, "agent \(agent) forwards too much")
            }
        case (.flush(let flush), .hub(let to)):
            for entry in flush.suspicions ?? [] {
                let known = self.suspected[from][Int(entry.agent.number)]
                self.suspected[from][Int(entry.agent.number)] = max(known, entry.stamp)
            }
            try self.quiet(flush, from: from, to: Int(to.number), trial: trial)
        case (.relayed, .agent), (.refuse, .agent), (.ping, _), (.pong, .agent), (.acknowledge, .agent):
            break
        default: throw self.broken(.oneHop, trial, "node \(from) sends \(outgoing.message.slot) to \(outgoing.to)")
        }
    }

    mutating func learned(_ carried: CarriedFrame, hub: Int, trial: borrowing GossipTrial) throws(BrokenGossipLaw) {
        let header = carried.frame.header
        let agent = Int(header.agent.number)
        guard header.stamp > self.held[hub][agent] else {
            let held = self.held[hub][agent]
            throw self.broken(.newestStays, trial, "hub \(hub) went from \(held) to \(header.stamp) of \(header.agent)")
        }
        self.held[hub][agent] = header.stamp
        guard let sealed = self.sealedBy[agent][header.stamp], sealed.header == header,
            carried.frame.bytes == Self.seal(header)
        else { throw self.broken(.nothingForged, trial, "hub \(hub) took a forged \(header.stamp) of \(header.agent)") }
        if carried.age <= 1 { self.takenAt[hub][agent] = trial.nodes[hub].local(trial.now) }
        // A replay claims to be new, since the age is not sealed; a stepped clock tells nothing.
        let truth = trial.now - sealed.madeAt
        guard !trial.hasSteppedClock, !self.replayed[agent].contains(header.stamp) else { return }
        let slack = 4 * self.longestFlight + 0.05 * truth + 0.01
        if abs(carried.age - truth) > slack {
            throw self.broken(
                .agesAreTrue,
                trial,
                "hub \(hub) takes \(header.agent) for \(carried.age) s, not \(truth)"
            )
        }
    }

    mutating func ticked(
        _ mesh: HubMesh,
        before: HubMesh,
        local: Seconds,
        trial: borrowing GossipTrial
    ) throws(BrokenGossipLaw) {
        let hub = Int(mesh.hub.number)
        let views = mesh.views(now: local)
        for view in views {
            let agent = Int(view.agent.number)
            if view.liveness >= .suspect, local - self.takenAt[hub][agent] < 2, !trial.hasSteppedClock {
                throw self.broken(.heardIsNotSuspect, trial, "hub \(hub) suspects \(view.agent), heard just now")
            }
            guard (0...1).contains(view.admission) else {
                throw self.broken(.sharesAreBounded, trial, "hub \(hub) gives \(view.agent) \(view.admission)")
            }
        }
        guard mesh.isFrozen, before.isFrozen else { return }
        for (new, old) in zip(views, before.views(now: local)) where new.admission != old.admission {
            throw self.broken(.sharesAreBounded, trial, "hub \(hub) moves \(new.agent) while frozen")
        }
    }

    /// An agent's liveness has changed in a hub's eyes.
    func changed(
        _ change: LivenessChange,
        hub: Int,
        trial: borrowing GossipTrial
    ) throws(BrokenGossipLaw) {
        // A hub that is alone has nobody to ask.
        guard change.to == .unreachable, self.held.count > 1 else { return }
        guard change.silence < trial.settings.unreachableMax - 0.01 else { return }
        let agent = Int(change.agent.number)
        let isConfirmed = self.suspected.indices.contains {
            $0 != hub && self.suspected[$0][agent] >= self.held[hub][agent] && self.suspected[$0][agent] > .none
        }
        if !isConfirmed {
            let silence = "after \(change.silence) s and nobody's word"
            throw self.broken(.confirmedOrLate, trial, "hub \(hub) gives up \(change.agent) \(silence)")
        }
    }

    // MARK: After the storm

    mutating func quietBegins() { self.flushed = [:] }

    /// Nothing is lost any more: a frame that was flushed came, and the other said so within a second or two.
    private mutating func quiet(
        _ flush: MeshFlush,
        from: Int,
        to: Int,
        trial: borrowing GossipTrial
    ) throws(BrokenGossipLaw) {
        guard self.flushed != nil else { return }
        for carried in flush.frames {
            let header = carried.frame.header
            let key = Flushed(from: from, to: to, agent: header.agent, stamp: header.stamp)
            let times = (self.flushed?[key] ?? 0) + 1
            self.flushed?[key] = times
            if times > 2 {
                let what = "\(header.stamp) of \(header.agent) for the third time"
                throw self.broken(.quietMesh, trial, "hub \(from) flushes to hub \(to) \(what)")
            }
        }
    }

    mutating func healed(_ trial: borrowing GossipTrial) {
        self.newestAtHeal = self.sealedBy.map { $0.keys.max() ?? .none }
        self.alive = trial.agents.map { $0 != nil }
    }

    func checkAgreement(_ trial: borrowing GossipTrial) throws(BrokenGossipLaw) {
        for hub in trial.hubs.indices {
            for agent in self.alive.indices where self.alive[agent] && self.held[hub][agent] <= self.newestAtHeal[agent]
            {
                let (held, newest) = (self.held[hub][agent], self.newestAtHeal[agent])
                throw self.broken(.agreement, trial, "hub \(hub) holds \(held) of agent \(agent), healed at \(newest)")
            }
        }
    }

    func checkRest(_ trial: borrowing GossipTrial) throws(BrokenGossipLaw) {
        for agent in self.alive.indices where !self.alive[agent] {
            let held = trial.hubs.map { $0?.stamp(of: AgentID(UInt32(agent))) ?? .none }
            let newest = trial.hubs.compactMap { hub in
                hub?.views(now: 0).first { $0.agent.number == agent }?.frame?.header.stamp
            }.max()
            if let newest, let hub = held.firstIndex(where: { $0 < newest }) {
                throw self.broken(
                    .rest,
                    trial,
                    "hub \(hub) holds \(held[hub]) of the dead agent \(agent), not \(newest)"
                )
            }
        }
        for hub in trial.hubs.indices {
            guard let mesh = trial.hubs[hub] else { continue }
            if mesh.isFrozen { throw self.broken(.rest, trial, "hub \(hub) is frozen") }
            for view in mesh.views(now: trial.nodes[hub].local(trial.now)) where view.frame != nil {
                let agent = Int(view.agent.number)
                let isRight =
                    self.alive[agent]
                    ? view.liveness == .fresh && view.admission == 1 : view.liveness == .unreachable
                guard isRight else {
                    let life = self.alive[agent] ? "living" : "dead"
                    let share = "share \(view.admission)"
                    throw self.broken(
                        .rest,
                        trial,
                        "hub \(hub) has the \(life) \(view.agent) \(view.liveness), \(share)"
                    )
                }
            }
        }
    }
}
