import Crypto
package import FleetModel
import Foundation
import SwiftProtobuf
package import WireProtocol

/// A plan as it travels and lies on disk: encoded once, shared by every stream.
package struct EncodedPlan: Sendable {
    package let version: PlanVersion
    package let envelope: Isobar_V1_PlanEnvelope

    /// Encodes a plan.
    ///
    /// - Throws: ``PlanUnreadable`` when it cannot be encoded.
    package init(_ plan: Plan) throws(PlanUnreadable) {
        self.version = plan.version
        do {
            let body = try Isobar_V1_Plan(plan).serializedBytes() as Data
            var envelope = Isobar_V1_PlanEnvelope()
            envelope.hash = Data(SHA256.hash(data: body))
            envelope.body = body
            self.envelope = envelope
        } catch {
            throw PlanUnreadable(reason: "encoding: \(error)")
        }
    }

    /// An envelope that was checked and read, kept to the letter.
    init(_ version: PlanVersion, _ checked: Isobar_V1_PlanEnvelope) {
        self.version = version
        self.envelope = checked
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
        let plan = try Plan(envelope)
        return (plan, EncodedPlan(plan.version, envelope))
    }

    /// The envelope's bytes: what is stored and what lies on disk.
    package func bytes() throws(PlanUnreadable) -> [UInt8] {
        do {
            return try self.envelope.serializedBytes()
        } catch {
            throw PlanUnreadable(reason: "encoding: \(error)")
        }
    }
}

/// Why an encoded plan was refused.
package struct PlanUnreadable: Error, Hashable, CustomStringConvertible {
    package let reason: String

    package init(reason: String) { self.reason = reason }

    package var description: String { self.reason }
}

extension Plan {
    /// Checks the hash, then reads the body.
    ///
    /// - Throws: ``PlanUnreadable`` for another hash or a field that does not hold what it should.
    package init(_ envelope: Isobar_V1_PlanEnvelope) throws(PlanUnreadable) {
        guard Data(SHA256.hash(data: envelope.body)) == envelope.hash else {
            throw PlanUnreadable(reason: "the hash does not match the body")
        }
        do {
            self = try Isobar_V1_Plan(serializedBytes: envelope.body).model()
        } catch {
            throw PlanUnreadable(reason: "\(error)")
        }
    }

    /// Reads the bytes of an envelope.
    ///
    /// - Throws: ``PlanUnreadable`` when they are cut, damaged or something else.
    package init(bytes: [UInt8]) throws(PlanUnreadable) {
        self = try EncodedPlan.read(bytes).plan
    }
}
