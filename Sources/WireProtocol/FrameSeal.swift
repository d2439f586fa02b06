import Crypto
package import FleetModel
import Foundation

/// Why a sealed frame was not opened; the words are a metric label, so the set is closed.
package enum SealFault: String, Error, Hashable, Sendable, CaseIterable, CustomStringConvertible {
    /// Too short, or no cluster's name where one belongs.
    case malformed
    /// Of a layout that this program does not know.
    case unknownVersion = "unknown_version"
    /// Not sealed with the key of the cluster, agent and incarnation that it names, or changed since.
    case forged

    package var description: String { "seal: \(self.rawValue)" }
}

/// The clear part of a sealed frame: the seal covers it, so nobody on the way can change it.
package struct SealHeader: Hashable, Sendable {
    /// The incarnation and the sequence fit in 32 bits each.
    package let id: FrameID
    /// The number of the agent replica.
    package let agent: UInt32
    /// Drawn when the agent began to seal: part of what its key is made of.
    package let salt: UInt64
    /// When the next frame comes at the latest, in milliseconds.
    package let interval: UInt16
    /// The hubs that the agent reaches, a bit each.
    package let reach: UInt16
}

/// A frame's payload with the header that the seal covers.
package struct OpenedFrame: Hashable, Sendable {
    package let header: SealHeader
    package let payload: [UInt8]

    package var id: FrameID { self.header.id }
}

/// An agent's end: seals its frames with the key of its incarnation.
///
/// ChaCha20-Poly1305 (RFC 8439), little-endian:
///
///     0        u8   version, 3
///     1        u8   n, the length of the cluster's name
///     2        n    the cluster's name
///     2 + n    u32  agent
///     6 + n    u32  incarnation
///     10 + n   u64  salt
///     18 + n   u32  sequence
///     22 + n   u16  milliseconds until the next frame at the latest
///     24 + n   u16  the hubs that the agent reaches, a bit each
///     26 + n        ciphertext, as long as the payload
///     end - 16      tag over everything before it
///
/// The key is HKDF-SHA256 of what the hub gave, over the salt. The nonce is the sequence, which is never used twice under
/// one key: sequences only grow here, and the salt, drawn with every ``FrameSeal``, makes a key of its own for it, even
/// should the store give an incarnation twice because somebody put an older copy in its place. So a frame is sealed
/// once, and the same bytes take every path. Sequence 0 is the ``proof``, an empty frame that shows who holds the key.
package struct FrameSeal: Sendable {
    static let version: UInt8 = 3
    static let tagLength = 16

    /// The sequence was used before, or is older than one that was: a fault in the caller.
    package struct SequenceReused: Error {
        package let sequence: UInt32
    }

    private let cluster: ClusterName
    private let agent: UInt32
    private let incarnation: UInt32
    private let salt: UInt64
    private let key: SymmetricKey
    private var last: UInt32 = 0
    /// Shows a hub who seals with this key: always the same bytes.
    package let proof: [UInt8]

    /// - Parameters:
    ///   - cluster: Whose frames.
    ///   - registration: What the hub gave: the agent's number, its incarnation, and the key, 32 bytes.
    ///   - salt: To be drawn anew each time.
    /// - Throws: ``SealFault/malformed`` for a key of another length.
    package init(
        cluster: ClusterName,
        registration: AgentRegistration,
        salt: UInt64 = .random(in: 0 ... .max)
    ) throws(SealFault) {
        guard registration.key.count == FrameKeys.keyLength else { throw .malformed }
        self.cluster = cluster
        self.agent = registration.agent
        self.incarnation = registration.incarnation
        self.salt = salt
        self.key = FrameKeys.salted(SymmetricKey(data: registration.key), salt)
        let id = FrameID(cluster: cluster, incarnation: UInt64(self.incarnation), sequence: 0)
        let header = SealHeader(id: id, agent: self.agent, salt: salt, interval: 0, reach: 0)
        do {
            self.proof = try Self.seal([], under: header, key: self.key)
        } catch {
            throw .malformed
        }
    }

    /// Seals one frame.
    ///
    /// - Parameters:
    ///   - payload: What only the hub is to read.
    ///   - sequence: Greater than any before it, and than 0.
    ///   - interval: When the next frame comes at the latest, in seconds.
    ///   - reach: The hubs that the agent reaches, a bit each.
    /// - Returns: The bytes that travel.
    /// - Throws: ``SequenceReused``.
    package mutating func seal(
        _ payload: [UInt8],
        sequence: UInt32,
        interval: Seconds = 1,
        reach: UInt16 = 0
    ) throws -> [UInt8] {
        guard sequence > self.last else { throw SequenceReused(sequence: sequence) }
        self.last = sequence
        let header = SealHeader(
            id: FrameID(cluster: self.cluster, incarnation: UInt64(self.incarnation), sequence: UInt64(sequence)),
            agent: self.agent,
            salt: self.salt,
            interval: UInt16(min(max(0, interval * 1_000), 65_535).rounded()),
            reach: reach
        )
        return try Self.seal(payload, under: header, key: self.key)
    }

    private static func seal(_ payload: [UInt8], under header: SealHeader, key: SymmetricKey) throws -> [UInt8] {
        var bytes = header.bytes
        let box = try ChaChaPoly.seal(payload, using: key, nonce: header.nonce(), authenticating: bytes)
        bytes.reserveCapacity(bytes.count + payload.count + Self.tagLength)
        bytes += box.ciphertext
        bytes += box.tag
        return bytes
    }
}

/// What an agent gets when it registers.
package struct AgentRegistration: Hashable, Sendable {
    /// Names the agent, for ever.
    package var agent: UInt32
    /// Counts the starts of its cluster's agents.
    package var incarnation: UInt32
    /// Seals the frames of this incarnation.
    package var key: [UInt8]

    package init(agent: UInt32, incarnation: UInt32, key: [UInt8]) {
        self.agent = agent
        self.incarnation = incarnation
        self.key = key
    }
}

/// A hub's end: the keys of every agent and incarnation, all of one secret that the hub replicas share.
///
/// What an agent is given is HKDF-SHA256 (RFC 5869) of the secret over the cluster, the agent and the incarnation; the key
/// of its frames is HKDF-SHA256 of that over the salt that they carry. So every replica opens every frame, nothing is kept
/// for an agent, and an agent that has one key can compute no other.
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

    /// What an agent of a cluster is given for one incarnation.
    package func registration(of cluster: ClusterName, agent: UInt32, incarnation: UInt32) -> AgentRegistration {
        let key = self.symmetricKey(cluster, agent, incarnation).withUnsafeBytes { Array($0) }
        return AgentRegistration(agent: agent, incarnation: incarnation, key: key)
    }

    /// Opens a frame.
    ///
    /// - Throws: ``SealFault``.
    package func open(_ bytes: [UInt8]) throws(SealFault) -> OpenedFrame {
        let header = try SealHeader(reading: bytes)
        let start = header.length
        let end = bytes.count - FrameSeal.tagLength
        let incarnation = UInt32(truncatingIfNeeded: header.id.incarnation)
        let key = Self.salted(self.symmetricKey(header.id.cluster, header.agent, incarnation), header.salt)
        do {
            let box = try ChaChaPoly.SealedBox(
                nonce: header.nonce(),
                ciphertext: bytes[start..<end],
                tag: bytes[end...]
            )
            let payload = try ChaChaPoly.open(
                box,
                using: key,
                authenticating: bytes[..<start]
            )
            return OpenedFrame(header: header, payload: Array(payload))
        } catch {
            throw .forged
        }
    }

    fileprivate static func salted(_ given: SymmetricKey, _ salt: UInt64) -> SymmetricKey {
        var info: [UInt8] = []
        info.append(littleEndian: salt)
        return HKDF<SHA256>.expand(pseudoRandomKey: given, info: info, outputByteCount: Self.keyLength)
    }

    private func symmetricKey(_ cluster: ClusterName, _ agent: UInt32, _ incarnation: UInt32) -> SymmetricKey {
        var info = Array(cluster.text.utf8)
        // No name holds a zero, so no two of (cluster, agent, incarnation) make the same bytes.
        info.append(0)
        info.append(littleEndian: agent)
        info.append(littleEndian: incarnation)
        return HKDF<SHA256>.expand(pseudoRandomKey: self.root, info: info, outputByteCount: Self.keyLength)
    }
}

extension SealHeader {
    /// Reads the clear part; nothing is proven by it.
    ///
    /// - Throws: ``SealFault/malformed`` or ``SealFault/unknownVersion``.
    package init(reading bytes: [UInt8]) throws(SealFault) {
        guard let version = bytes.first else { throw .malformed }
        guard version == FrameSeal.version else { throw .unknownVersion }
        guard bytes.count >= 2, bytes.count >= 26 + Int(bytes[1]) + FrameSeal.tagLength else { throw .malformed }
        let end = 2 + Int(bytes[1])
        guard let name = String(validating: bytes[2..<end], as: UTF8.self), let cluster = try? ClusterName(name) else {
            throw .malformed
        }
        func number(at start: Int, bytes length: Int) -> UInt64 {
            bytes[start..<start + length].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        self.init(
            id: FrameID(
                cluster: cluster,
                incarnation: number(at: end + 4, bytes: 4),
                sequence: number(at: end + 16, bytes: 4)
            ),
            agent: UInt32(truncatingIfNeeded: number(at: end, bytes: 4)),
            salt: number(at: end + 8, bytes: 8),
            interval: UInt16(truncatingIfNeeded: number(at: end + 20, bytes: 2)),
            reach: UInt16(truncatingIfNeeded: number(at: end + 22, bytes: 2))
        )
    }

    fileprivate var length: Int { 26 + self.id.cluster.text.utf8.count }

    fileprivate var bytes: [UInt8] {
        var bytes: [UInt8] = [FrameSeal.version, UInt8(self.id.cluster.text.utf8.count)]
        bytes += self.id.cluster.text.utf8
        bytes.append(littleEndian: self.agent)
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: self.id.incarnation))
        bytes.append(littleEndian: self.salt)
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: self.id.sequence))
        bytes.append(littleEndian: self.interval)
        bytes.append(littleEndian: self.reach)
        return bytes
    }

    fileprivate func nonce() throws -> ChaChaPoly.Nonce {
        var bytes: [UInt8] = [0, 0, 0, 0]
        bytes.append(littleEndian: self.id.sequence)
        return try ChaChaPoly.Nonce(data: bytes)
    }
}

extension [UInt8] {
    fileprivate mutating func append<Number: FixedWidthInteger>(littleEndian number: Number) {
        for place in 0..<MemoryLayout<Number>.size { self.append(UInt8(truncatingIfNeeded: number >> (8 * place))) }
    }
}
