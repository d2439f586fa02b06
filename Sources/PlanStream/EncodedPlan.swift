import Crypto
package import FleetModel
package import Foundation
import SwiftProtobuf
package import WireProtocol

/// A plan, or a gateway's slice of one, as it travels and lies on disk: encoded once, shared by whoever sends it.
package struct EncodedPlan: Sendable {
    package let version: PlanVersion
    package let envelope: Isobar_V1_PlanEnvelope
    /// What the body says.
    package let message: Isobar_V1_Plan

    /// SHA-256 of the body: the proof of what is held.
    package var hash: Data { self.envelope.hash }

    /// Encodes a plan.
    ///
    /// - Throws: ``PlanUnreadable`` when it cannot be encoded.
    package init(_ plan: Plan) throws(PlanUnreadable) { try self.init(Isobar_V1_Plan(plan)) }

    private init(_ message: Isobar_V1_Plan) throws(PlanUnreadable) {
        self.version = message.version.model
        self.message = message
        do {
            let body = try message.serializedBytes() as Data
            var envelope = Isobar_V1_PlanEnvelope()
            envelope.hash = Data(SHA256.hash(data: body))
            envelope.body = body
            self.envelope = envelope
        } catch {
            throw PlanUnreadable(reason: "encoding: \(error)")
        }
    }

    /// Checks the hash, then reads the body, and keeps both to the letter.
    ///
    /// - Throws: ``PlanUnreadable`` for another hash or a body that is no plan.
    init(checking envelope: Isobar_V1_PlanEnvelope) throws(PlanUnreadable) {
        guard Data(SHA256.hash(data: envelope.body)) == envelope.hash else {
            throw PlanUnreadable(reason: "the hash does not match the body")
        }
        do {
            self.message = try Isobar_V1_Plan(serializedBytes: envelope.body)
        } catch {
            throw PlanUnreadable(reason: "\(error)")
        }
        self.version = self.message.version.model
        self.envelope = envelope
    }

    /// Reads the bytes of an envelope, and keeps them as they are for whoever asks next.
    ///
    /// - Throws: ``PlanUnreadable`` when they are cut, damaged or something else.
    package static func read(_ bytes: [UInt8]) throws(PlanUnreadable) -> (plan: Plan, encoded: EncodedPlan) {
        let envelope: Isobar_V1_PlanEnvelope
        do {
            envelope = try Isobar_V1_PlanEnvelope(serializedBytes: bytes)
        } catch {
            throw PlanUnreadable(reason: "not a plan: \(error)")
        }
        let encoded = try EncodedPlan(checking: envelope)
        return (try encoded.plan(), encoded)
    }

    /// The plan as a value.
    ///
    /// - Throws: ``PlanUnreadable`` for a field that does not hold what it should.
    package func plan() throws(PlanUnreadable) -> Plan {
        do throws(WireError) {
            return try self.message.model()
        } catch {
            throw PlanUnreadable(reason: "\(error)")
        }
    }

    /// The envelope's bytes: what is stored and what lies on disk.
    package func bytes() throws(PlanUnreadable) -> [UInt8] {
        do {
            return try self.envelope.serializedBytes()
        } catch {
            throw PlanUnreadable(reason: "encoding: \(error)")
        }
    }

    // MARK: Slices

    /// What a gateway of a scope is sent of this plan; equal plans give equal bytes, on whichever replica.
    ///
    /// - Throws: ``PlanUnreadable`` when it cannot be encoded.
    package func slice(for scope: PlanScope) throws(PlanUnreadable) -> EncodedPlan {
        try EncodedPlan(self.message.slice(for: scope))
    }

    /// What turns a slice that a gateway holds into this one.
    func delta(from base: EncodedPlan) -> Isobar_V1_PlanDelta {
        Isobar_V1_PlanDelta(from: (base.message, base.hash), to: (self.message, self.hash))
    }

    /// The slice that a delta makes out of this one.
    ///
    /// - Throws: ``PlanUnreadable`` when it stands on another slice or is damaged: what comes out is what the hub means,
    ///   by its hash, or nothing.
    func applying(_ delta: Isobar_V1_PlanDelta) throws(PlanUnreadable) -> EncodedPlan {
        guard delta.base == self.hash else { throw PlanUnreadable(reason: "the delta stands on another plan") }
        let next: Isobar_V1_Plan
        do throws(WireError) {
            next = try delta.applied(to: self.message)
        } catch {
            throw PlanUnreadable(reason: "\(error)")
        }
        let encoded = try EncodedPlan(next)
        guard encoded.hash == delta.hash else {
            throw PlanUnreadable(reason: "the delta makes another plan than the hub's")
        }
        return encoded
    }
}

/// Why an encoded plan was refused.
package struct PlanUnreadable: Error, Hashable, CustomStringConvertible {
    package let reason: String

    package init(reason: String) { self.reason = reason }

    package var description: String { self.reason }
}

extension Plan {
    /// Reads the bytes of an envelope.
    ///
    /// - Throws: ``PlanUnreadable`` when they are cut, damaged or something else.
    package init(bytes: [UInt8]) throws(PlanUnreadable) {
        self = try EncodedPlan.read(bytes).plan
    }
}
