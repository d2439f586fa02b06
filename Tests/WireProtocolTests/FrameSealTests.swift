import FleetModel
import TestKit
import Testing
import WireProtocol

@Suite("Sealed frames")
struct FrameSealTests {
    private let keys: FrameKeys
    private let payload = Array("what only the hub is to read".utf8)

    init() throws { self.keys = try FrameKeys(secret: (0..<32).map { UInt8($0) }) }

    private func seal(_ cluster: String = "us-east-a", incarnation: UInt64 = 7) throws -> FrameSeal {
        let name = try ClusterName(cluster)
        return try FrameSeal(
            cluster: name,
            incarnation: incarnation,
            key: self.keys.key(of: name, incarnation: incarnation)
        )
    }

    @Test("the hub opens what the agent sealed, and knows whose it is")
    func opens() throws {
        var seal = try self.seal()
        let bytes = try seal.seal(self.payload, sequence: 42)
        let opened = try self.keys.open(bytes)
        #expect(opened.payload == self.payload)
        #expect(opened.id.description == "us-east-a@7.42")
        #expect(bytes.count == self.payload.count + 18 + 9 + 16)
        #expect(FrameKeys.claim(of: bytes) == opened.id)
    }

    @Test("every hub replica with the same secret opens it, and one with another secret does not")
    func replicas() throws {
        var seal = try self.seal()
        let bytes = try seal.seal(self.payload, sequence: 1)
        #expect(try FrameKeys(secret: (0..<32).map { UInt8($0) }).open(bytes).payload == self.payload)
        #expect(throws: SealFault.forged) { try FrameKeys(secret: FrameKeys.makeSecret()).open(bytes) }
    }

    @Test("a relay that changes any byte of it, or cuts it, makes it unreadable")
    func tampered() throws {
        var seal = try self.seal()
        let bytes = try seal.seal(self.payload, sequence: 42)
        for place in bytes.indices {
            var changed = bytes
            changed[place] ^= 1
            #expect(throws: SealFault.self, "byte \(place)") { try self.keys.open(changed) }
        }
        for length in bytes.indices {
            #expect(throws: SealFault.self, "\(length) bytes") { try self.keys.open(Array(bytes[..<length])) }
        }
    }

    @Test("a relay cannot read it")
    func secret() throws {
        var seal = try self.seal()
        let bytes = try seal.seal(self.payload, sequence: 42)
        let word = Array("only".utf8)
        #expect(!bytes.indices.contains { bytes[$0...].starts(with: word) })
        var again = try self.seal()
        #expect(try again.seal(self.payload, sequence: 43) != bytes)
    }

    @Test("the key of one cluster seals nothing for another, and that of one incarnation nothing for the next")
    func ownNameOnly() throws {
        let stolen = self.keys.key(of: try ClusterName("a"), incarnation: 7)
        var other = try FrameSeal(cluster: try ClusterName("b"), incarnation: 7, key: stolen)
        #expect(throws: SealFault.forged) { try self.keys.open(try other.seal(self.payload, sequence: 1)) }
        var later = try FrameSeal(cluster: try ClusterName("a"), incarnation: 8, key: stolen)
        #expect(throws: SealFault.forged) { try self.keys.open(try later.seal(self.payload, sequence: 1)) }
    }

    @Test("a sequence is never used twice under one key")
    func nonces() throws {
        var seal = try self.seal()
        _ = try seal.seal(self.payload, sequence: 2)
        #expect(throws: FrameSeal.SequenceReused.self) { try seal.seal(self.payload, sequence: 2) }
        #expect(throws: FrameSeal.SequenceReused.self) { try seal.seal(self.payload, sequence: 1) }
        #expect(throws: Never.self) { try seal.seal(self.payload, sequence: 3) }
    }

    @Test("noise is refused, and its kind is named")
    func noise() throws {
        var dice = SeededGenerator(seed: 1)
        for length in 0..<400 {
            var bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &dice) }
            #expect(throws: SealFault.self) { try self.keys.open(bytes) }
            if !bytes.isEmpty {
                bytes[0] = 1
                #expect(throws: SealFault.self) { try self.keys.open(bytes) }
            }
        }
        #expect(throws: SealFault.unknownVersion) { try self.keys.open([2]) }
        #expect(throws: SealFault.malformed) { try self.keys.open([]) }
    }

    @Test("the bytes are those of the layout, for good")
    func golden() throws {
        let name = try ClusterName("a")
        var seal = try FrameSeal(cluster: name, incarnation: 1, key: self.keys.key(of: name, incarnation: 1))
        let bytes = try seal.seal([0xAA], sequence: 2)
        #expect(Array(bytes[..<19]) == [1, 1, 0x61, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0])
        #expect(bytes.count == 19 + 1 + 16)
    }
}
