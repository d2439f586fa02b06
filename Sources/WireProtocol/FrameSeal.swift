import Crypto
package import FleetModel
import Foundation

/// Why a sealed frame was not opened; the words are a metric label, so the set is closed.
package enum SealFault: String, Error, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// Too short, or no cluster's name where one belongs.
    case malformed
    /// Of a layout that this program does not know.
    case unknownVersion = "unknown_version"
    /// Not sealed with the key of the cluster and incarnation that it names, or changed since.
    case forged

    package var description: String { "seal: \(self.rawValue)" }
}

/// A frame's bytes with the id that the seal covers.
package struct OpenedFrame: Hashable, Sendable {
    package let id: FrameID
    package let payload: [UInt8]
}

/// An agent's end: seals its frames with the key of its incarnation.
///
/// ChaCha20-Poly1305 (RFC 8439), little-endian:
///
///     0        u8   version, 1
///     1        u8   n, the length of the cluster's name
///     2        n    the cluster's name
///     2 + n    u64  incarnation
///     10 + n   u64  sequence
///     18 + n        ciphertext, as long as the payload
///     end - 16      tag over everything before it
///
/// The nonce is the sequence, which is never used twice under the key of one incarnation: sequences only grow here, and
/// the store gives an incarnation once. So a frame is sealed once, and the same bytes take every path.
package struct FrameSeal: Sendable {
    static let version: UInt8 = 1
    static let tagLength = 16

    /// The sequence was used before, or is older than one that was: a fault in the caller.
    package struct SequenceReused: Error {
        package let sequence: UInt64
    }

    private let cluster: ClusterName
    private let incarnation: UInt64
    private let key: SymmetricKey
    private var last: UInt64 = 0

    /// - Parameters:
    ///   - cluster: Whose frames.
    ///   - incarnation: As the hub gave it.
    ///   - key: As the hub gave it, 32 bytes.
    /// - Throws: ``SealFault/malformed`` for a key of another length.
    package init(cluster: ClusterName, incarnation: UInt64, key: [UInt8]) throws(SealFault) {
        guard key.count == FrameKeys.keyLength else { throw .malformed }
        self.cluster = cluster
        self.incarnation = incarnation
        self.key = SymmetricKey(data: key)
    }

    /// Seals one frame.
    ///
    /// - Parameters:
    ///   - payload: What only the hub is to read.
    ///   - sequence: Greater than any before it, and than 0.
    /// - Returns: The bytes that travel.
    /// - Throws: ``SequenceReused``.
    package mutating func seal(_ payload: [UInt8], sequence: UInt64) throws -> [UInt8] {
        guard sequence > self.last else { throw SequenceReused(sequence: sequence) }
        self.last = sequence
        let header = SealHeader(id: FrameID(cluster: self.cluster, incarnation: self.incarnation, sequence: sequence))
        var bytes = header.bytes
        let box = try ChaChaPoly.seal(payload, using: self.key, nonce: header.nonce(), authenticating: bytes)
        bytes.reserveCapacity(bytes.count + payload.count + Self.tagLength)
        bytes += box.ciphertext
        bytes += box.tag
        return bytes
    }
}

/// A hub's end: the keys of every agent and incarnation, all of one secret that the hub replicas share.
///
/// The key of an incarnation is HKDF-SHA256 (RFC 5869) of the secret over the cluster and the incarnation. So every
/// replica opens every frame, nothing is kept for an agent, and an agent that has one key can compute no other.
package struct FrameKeys: Sendable {
    static let keyLength = 32
    /// Bytes of the secret.
    package static let secretLength = 32

    private let root: SymmetricKey

    /// - Throws: ``SealFault/malformed`` for a secret of another length.
    package init(secret: [UInt8]) throws(SealFault) {
        guard secret.count == Self.secretLength else { throw .malformed }
        self.root = SymmetricKey(
            data: HKDF<SHA256>.extract(
                inputKeyMaterial: SymmetricKey(data: secret),
                salt: Array("isobar frames v1".utf8)
            )
        )
    }

    /// A new secret, from the system's generator for keys.
    package static func makeSecret() -> [UInt8] {
        SymmetricKey(size: .bits256).withUnsafeBytes { Array($0) }
    }

    /// The key of an incarnation, for the agent that registered.
    package func key(of cluster: ClusterName, incarnation: UInt64) -> [UInt8] {
        self.symmetricKey(cluster, incarnation).withUnsafeBytes { Array($0) }
    }

    /// Whose frame it says that it is, unproven: for an answer to one that could not be opened.
    package static func claim(of bytes: [UInt8]) -> FrameID? { try? SealHeader(reading: bytes).id }

    /// Opens a frame.
    ///
    /// - Throws: ``SealFault``.
    package func open(_ bytes: [UInt8]) throws(SealFault) -> OpenedFrame {
        let header = try SealHeader(reading: bytes)
        let start = header.length
        let end = bytes.count - FrameSeal.tagLength
        do {
            let box = try ChaChaPoly.SealedBox(
                nonce: header.nonce(),
                ciphertext: bytes[start..<end],
                tag: bytes[end...]
            )
            let payload = try ChaChaPoly.open(
                box,
                using: self.symmetricKey(header.id.cluster, header.id.incarnation),
                authenticating: bytes[..<start]
            )
            return OpenedFrame(id: header.id, payload: Array(payload))
        } catch {
            throw .forged
        }
    }

    private func symmetricKey(_ cluster: ClusterName, _ incarnation: UInt64) -> SymmetricKey {
        var info = Array(cluster.text.utf8)
        // No name holds a zero, so no two of (cluster, incarnation) make the same bytes.
        info.append(0)
        info.append(littleEndian: incarnation)
        return HKDF<SHA256>.expand(pseudoRandomKey: self.root, info: info, outputByteCount: Self.keyLength)
    }
}

/// The clear part of a sealed frame.
private struct SealHeader {
    let id: FrameID

    init(id: FrameID) { self.id = id }

    init(reading bytes: [UInt8]) throws(SealFault) {
        guard let version = bytes.first else { throw .malformed }
        guard version == FrameSeal.version else { throw .unknownVersion }
        guard bytes.count >= 2, bytes.count >= 18 + Int(bytes[1]) + FrameSeal.tagLength else { throw .malformed }
        let end = 2 + Int(bytes[1])
        guard let name = String(validating: bytes[2..<end], as: UTF8.self), let cluster = try? ClusterName(name) else {
            throw .malformed
        }
        func number(at start: Int) -> UInt64 {
            bytes[start..<start + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        self.id = FrameID(cluster: cluster, incarnation: number(at: end), sequence: number(at: end + 8))
    }

    var length: Int { 18 + self.id.cluster.text.utf8.count }

    var bytes: [UInt8] {
        var bytes: [UInt8] = [FrameSeal.version, UInt8(self.id.cluster.text.utf8.count)]
        bytes += self.id.cluster.text.utf8
        bytes.append(littleEndian: self.id.incarnation)
        bytes.append(littleEndian: self.id.sequence)
        return bytes
    }

    func nonce() throws -> ChaChaPoly.Nonce {
        var bytes: [UInt8] = [0, 0, 0, 0]
        bytes.append(littleEndian: self.id.sequence)
        return try ChaChaPoly.Nonce(data: bytes)
    }
}

extension [UInt8] {
    fileprivate mutating func append(littleEndian number: UInt64) {
        for place in 0..<8 { self.append(UInt8(truncatingIfNeeded: number >> (8 * UInt64(place)))) }
    }
}
