import FleetModel
import Foundation
import NIOCore
import SwiftProtobuf
import Synchronization
import WireProtocol

/// One plan in force on its way to the gateways: each scope's slice is cut and encoded when the first stream of it asks,
/// and shared by all others.
///
/// With 10,000 gateways in 50 regions that is 50 encodings of a body and 50 of a delta.
final class Announcement: Sendable {
    /// More scopes than this are not kept apart: their gateways get all pools of their region.
    static let scopesMax = 4_096

    /// The slice of one scope, as it is written to its streams; an object, as it is handed to thousands of them.
    final class Slice: Sendable {
        let encoded: EncodedPlan
        /// The whole slice, framed.
        let body: ByteBuffer
        /// What turns the parent's slice into this one, framed; `nil` when it would be longer than the body.
        let delta: Delta?

        init(encoded: EncodedPlan, body: ByteBuffer, delta: Delta?) {
            (self.encoded, self.body, self.delta) = (encoded, body, delta)
        }
    }

    struct Delta: Sendable {
        /// The hash of the slice that it stands on.
        let base: Data
        let framed: ByteBuffer
    }

    /// How a gateway says that it has taken the plan.
    final class Answer: Sendable {
        let version: PlanVersion
        let encoded: ByteBuffer

        init(to version: PlanVersion) throws(PlanUnreadable) {
            self.version = version
            var message = Isobar_V1_GatewayMessage()
            message.acknowledgement.version = Isobar_V1_PlanVersion(version)
            self.encoded = ByteBuffer(bytes: try message.encoded())
        }
    }

    private struct State {
        /// The announcement before this one: what most gateways hold.
        var parent: Announcement?
        var slices: [PlanScope: Place] = [:]
    }

    /// Where the slice of one scope will be: whoever cuts it holds up only those that want the same one.
    private final class Place: Sendable {
        let slice = Mutex<Slice?>(nil)
    }

    let plan: EncodedPlan?
    /// The version in force, framed.
    let heartbeat: ByteBuffer
    /// `nil` without a plan.
    let answer: Answer?
    private let state: Mutex<State>

    init(_ plan: EncodedPlan?, after parent: Announcement? = nil) throws(PlanUnreadable) {
        self.plan = plan
        var message = Isobar_V1_HubMessage()
        message.heartbeat = Isobar_V1_PlanVersion(plan?.version ?? PlanVersion(epoch: 0, generation: 0))
        self.heartbeat = try message.framed()
        self.answer = try plan.map { plan throws(PlanUnreadable) in try Answer(to: plan.version) }
        self.state = Mutex(State(parent: parent))
        // One generation back is enough, and all of them would be the whole history.
        parent?.state.withLock { $0.parent = nil }
    }

    /// The slice of a scope; `nil` without a plan.
    ///
    /// - Throws: ``PlanUnreadable`` when it cannot be encoded.
    func slice(for scope: PlanScope) throws(PlanUnreadable) -> Slice? {
        guard let plan = self.plan else { return nil }
        let (place, kept, parent) = self.state.withLock { state in
            if let place = state.slices[scope] { return (place, scope, state.parent) }
            let isCrowded = state.slices.count >= Self.scopesMax
            let kept = isCrowded ? PlanScope(region: scope.region) : scope
            let place = state.slices[kept] ?? Place()
            state.slices[kept] = place
            return (place, kept, state.parent)
        }
        return try place.slice.withLock { slice throws(PlanUnreadable) in
            if let slice { return slice }
            let made = try Self.slice(of: plan, for: kept, after: parent)
            slice = made
            return made
        }
    }

    private static func slice(
        of plan: EncodedPlan,
        for scope: PlanScope,
        after parent: Announcement?
    ) throws(PlanUnreadable) -> Slice {
        let encoded = try plan.slice(for: scope)
        var message = Isobar_V1_HubMessage()
        message.plan = encoded.envelope
        let body = try message.framed()
        var delta: Delta?
        if let base = try parent?.encodedSlice(for: scope), base.hash != encoded.hash {
            message.delta = encoded.delta(from: base)
            let framed = try message.framed()
            if framed.readableBytes < body.readableBytes { delta = Delta(base: base.hash, framed: framed) }
        }
        return Slice(encoded: encoded, body: body, delta: delta)
    }

    /// The slice without its delta, which nobody asks a parent for.
    private func encodedSlice(for scope: PlanScope) throws(PlanUnreadable) -> EncodedPlan? {
        let place = self.state.withLock { $0.slices[scope] }
        if let slice = place?.slice.withLock({ $0 }) { return slice.encoded }
        return try self.plan?.slice(for: scope)
    }
}

extension Message {
    fileprivate func encoded() throws(PlanUnreadable) -> [UInt8] {
        do {
            return try self.serializedBytes()
        } catch {
            throw PlanUnreadable(reason: "encoding: \(error)")
        }
    }

    fileprivate func framed() throws(PlanUnreadable) -> ByteBuffer { DirectMessage.framed(try self.encoded()) }
}
