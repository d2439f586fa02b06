import FleetModel
import TestKit
import Testing
import WireProtocol

@Suite("Sealed frames")
struct FrameSealTests {
    private let keys: FrameKeys
    private let payload = Array("what only the hub is to read".utf8)

    init() throws { self.keys = try FrameKeys(secret: (0..<32).map { UInt8($0) }) }

    private func seal(_ cluster: String = "us-east-a", agent: UInt32 = 3, incarnation: UInt32 = 7) throws -> FrameSeal {
        let name = try ClusterName(cluster)
        let registration = self.keys.registration(of: name, agent: agent, incarnation: incarnation)
        return try FrameSeal(cluster: name, registration: registration)
    }

    @Test("the hub opens what the agent sealed, and knows whose it is")
    func opens() throws {
        var seal = try self.seal()
        let bytes = try seal.seal(self.payload, sequence: 42, interval: 2.5, reach: 5)
        let opened = try self.keys.open(bytes)
        #expect(opened.payload == self.payload)
        #expect(opened.id.description == "us-east-a@7.42")
        #expect(opened.header.agent == 3 && opened.header.interval == 2_500 && opened.header.reach == 5)
        #expect(bytes.count == self.payload.count + 26 + 9 + 16)
        #expect(try SealHeader(reading: bytes) == opened.header)
    }

    @Test("the proof of a key is opened as sequence 0, holds nothing, and is made by nobody else")
    func proves() throws {
        let opened = try self.keys.open(try self.seal().proof)
        #expect(opened.payload.isEmpty && opened.id.description == "us-east-a@7.0" && opened.header.agent == 3)
        let other = try FrameKeys(secret: FrameKeys.makeSecret())
        #expect(throws: SealFault.forged) { try other.open(try self.seal().proof) }
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

    @Test("the key of one cluster seals nothing for another, nor for another agent, nor for the next incarnation")
    func ownNameOnly() throws {
        let stolen = self.keys.registration(of: try ClusterName("a"), agent: 1, incarnation: 7)
        var other = try FrameSeal(cluster: try ClusterName("b"), registration: stolen)
        #expect(throws: SealFault.forged) { try self.keys.open(try other.seal(self.payload, sequence: 1)) }
        for (agent, incarnation) in [(2, 7), (1, 8)] as [(UInt32, UInt32)] {
            let claimed = AgentRegistration(agent: agent, incarnation: incarnation, key: stolen.key)
            var seal = try FrameSeal(cluster: try ClusterName("a"), registration: claimed)
            #expect(throws: SealFault.forged) { try self.keys.open(try seal.seal(self.payload, sequence: 1)) }
        }
    }

    @Test("a sequence is never used twice under one key")
    func nonces() throws {
        var seal = try self.seal()
        _ = try seal.seal(self.payload, sequence: 2)
        #expect(throws: FrameSeal.SequenceReused.self) { try seal.seal(self.payload, sequence: 2) }
        #expect(throws: FrameSeal.SequenceReused.self) { try seal.seal(self.payload, sequence: 1) }
        #expect(throws: Never.self) { try seal.seal(self.payload, sequence: 3) }
    }

    @Test("the same incarnation given twice, as by a store that went back, makes another key: no nonce comes again")
    func saltedKeys() throws {
        var (first, second) = (try self.seal(), try self.seal())
        let (one, other) = (
            try first.seal(self.payload, sequence: 1), try second.seal(self.payload, sequence: 1)
        )
        #expect(try self.keys.open(one).payload == self.payload)
        #expect(try self.keys.open(other).payload == self.payload)
        // One key and one nonce would make one key stream, and so one ciphertext of one text.
        let start = 26 + 9
        #expect(one[start...] != other[start...])
        // Under the other's salt, what the first sealed is forged: its key is another.
        var moved = one
        let salt = start - 16..<start - 8
        moved[salt] = other[salt]
        #expect(one[salt] != other[salt])
        #expect(throws: SealFault.forged) { try self.keys.open(moved) }
    }

    @Test("noise is refused, and its kind is named")
    func noise() throws {
        var dice = SeededGenerator(seed: 1)
        for length in 0..<400 {
            var bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &dice) }
            #expect(throws: SealFault.self) { try self.keys.open(bytes) }
            if !bytes.isEmpty {
                bytes[0] = 3
                #expect(throws: SealFault.self) { try self.keys.open(bytes) }
            }
        }
        #expect(throws: SealFault.unknownVersion) { try self.keys.open([1]) }
        #expect(throws: SealFault.malformed) { try self.keys.open([]) }
    }

    @Test("the bytes are those of the layout, for good")
    func golden() throws {
        let name = try ClusterName("a")
        let registration = self.keys.registration(of: name, agent: 9, incarnation: 1)
        var seal = try FrameSeal(cluster: name, registration: registration, salt: 0x0807_0605_0403_0201)
        let bytes = try seal.seal([0xAA], sequence: 2, interval: 1, reach: 3)
        let header: [UInt8] = [3, 1, 0x61, 9, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 2, 0, 0, 0, 0xE8, 3, 3, 0]
        #expect(Array(bytes[..<27]) == header)
        #expect(bytes.count == 27 + 1 + 16)
    }
}
