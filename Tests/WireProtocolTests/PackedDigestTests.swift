import FleetModel
import Foundation
import SwiftProtobuf
import TestKit
import Testing
import WireProtocol

@Suite("A packed digest")
struct PackedDigestTests {
    private let pool: PoolName

    init() throws { self.pool = try PoolName("serving/llama") }

    /// A digest by the dice: with unknowns, with zeros, and with numbers of every size.
    private func digest(using dice: inout SeededGenerator) -> PoolDigest {
        func quantity(_ most: Double) -> Double? {
            switch Int.random(in: 0..<6, using: &dice) {
            case 0: nil
            case 1: 0
            default: most * pow(10, -Double.random(in: 0...9, using: &dice))
            }
        }
        func count(_ most: Double) -> Int? { quantity(most).map { Int($0) } }
        return PoolDigest(
            pool: self.pool,
            state: ClusterState.allCases.randomElement(using: &dice) ?? .active,
            trouble: Bool.random(using: &dice) ? nil : PoolTrouble.allCases.randomElement(using: &dice),
            endpointsReady: Int.random(in: 0...65_534, using: &dice),
            endpointsKnown: Int.random(in: 0...65_534, using: &dice),
            readingAge: quantity(60),
            running: count(4e9),
            waiting: count(4e9),
            kvMean: quantity(1),
            kvMax: quantity(1),
            errorShare: quantity(1),
            capacity: quantity(4e6),
            freeSeats: count(4e9),
            unloadedTTFT: quantity(4e3),
            queueScale: quantity(4e3),
            requestRate: quantity(4e6),
            promptTokenRate: quantity(4e8),
            generationTokenRate: quantity(4e8),
            loraSet: UInt64.random(in: 0 ... .max, using: &dice)
        )
    }

    private let quantities: [(PackedField, WritableKeyPath<PoolDigest, Double?>)] = [
        (.kvMean, \.kvMean), (.kvMax, \.kvMax), (.errorShare, \.errorShare), (.readingAge, \.readingAge),
        (.capacity, \.capacity), (.unloadedTTFT, \.unloadedTTFT), (.queueScale, \.queueScale),
        (.requestRate, \.requestRate), (.promptTokenRate, \.promptTokenRate),
        (.generationTokenRate, \.generationTokenRate),
    ]

    @Test("comes back to within half a step of each field, and exactly where it counts")
    func roundTrip() throws {
        var dice = SeededGenerator(seed: 11)
        for _ in 0..<2_000 {
            let sent = self.digest(using: &dice)
            let bytes = PackedDigest.bytes(of: sent)
            #expect(bytes.count <= 96)
            let received = try PackedDigest.digest(of: self.pool, from: bytes)
            for (field, path) in self.quantities {
                guard let before = sent[keyPath: path], let after = received[keyPath: path] else {
                    #expect(sent[keyPath: path] == nil && received[keyPath: path] == nil, "\(field)")
                    continue
                }
                let step = 1 / field.stepsPerUnit
                #expect(abs(after - before) <= (before < step ? step : 0.5001 * step), "\(field): \(before)")
                #expect((before == 0) == (after == 0), "\(field): \(before)")
            }
            // What is left are counts, names and words; and what was rounded once does not move again.
            var rounded = sent
            for (_, path) in self.quantities { rounded[keyPath: path] = received[keyPath: path] }
            #expect(rounded == received)
            #expect(PackedDigest.bytes(of: received) == bytes)
        }
    }

    @Test("holds its greatest number where there is more, and unknown where there is no number")
    func saturation() throws {
        var digest = PoolDigest(pool: self.pool, state: .active, endpointsReady: 70_000, endpointsKnown: .max)
        digest.capacity = 1e12
        digest.running = .max
        digest.unloadedTTFT = .infinity
        digest.kvMax = 1.5
        digest.queueScale = .nan
        digest.requestRate = -1
        let received = try PackedDigest.digest(of: self.pool, from: PackedDigest.bytes(of: digest))
        #expect(received.endpointsReady == 65_534 && received.endpointsKnown == 65_534)
        #expect(received.capacity == PackedField.capacity.greatest)
        #expect(received.running == 4_294_967_294)
        #expect(received.unloadedTTFT == PackedField.unloadedTTFT.greatest)
        #expect(received.kvMax == 1)
        #expect(received.queueScale == nil && received.requestRate == nil)
    }

    @Test("of any bytes is read or refused with the field's name, and what is read is sane")
    func anyBytes() throws {
        var dice = SeededGenerator(seed: 12)
        var (read, refused) = (0, 0)
        func offer(_ bytes: [UInt8]) throws {
            do throws(WireError) {
                let digest = try PackedDigest.digest(of: self.pool, from: bytes)
                read += 1
                for (field, path) in self.quantities {
                    if let value = digest[keyPath: path] {
                        #expect((0...field.greatest).contains(value), "\(field): \(value)")
                    }
                }
                for share in [digest.kvMean, digest.kvMax, digest.errorShare] { #expect(share ?? 0 <= 1) }
                #expect(PackedDigest.bytes(of: digest).count == PackedDigest.length)
            } catch {
                refused += 1
                #expect(error.field.hasPrefix("digests.packed"))
            }
        }
        for _ in 0..<5_000 {
            // Noise of any length, noise behind a good head, and good bytes with a few of them changed.
            try offer((0..<Int.random(in: 0...120, using: &dice)).map { _ in UInt8.random(in: 0...255, using: &dice) })
            var bytes = PackedDigest.bytes(of: self.digest(using: &dice))
            for _ in 0..<Int.random(in: 0...4, using: &dice) {
                bytes[Int.random(in: 0..<bytes.count, using: &dice)] = UInt8.random(in: 0...255, using: &dice)
            }
            try offer(bytes)
            try offer(Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &dice))))
            try offer(bytes.prefix(4) + (4..<60).map { _ in UInt8.random(in: 0...255, using: &dice) })
        }
        #expect(read > 1_000 && refused > 1_000, "\(read) read, \(refused) refused")
    }

    @Test("of a newer writer is read by this one: the bytes behind the last known field are skipped")
    func newerWriter() throws {
        var dice = SeededGenerator(seed: 13)
        let digest = self.digest(using: &dice)
        let known = PackedDigest.bytes(of: digest)
        let expected = try PackedDigest.digest(of: self.pool, from: known)
        for more in 1...(PackedDigest.longest - known.count) {
            var bytes = known + (0..<more).map { _ in UInt8.random(in: 0...255, using: &dice) }
            bytes[1] = UInt8(bytes.count)
            #expect(try PackedDigest.digest(of: self.pool, from: bytes) == expected)
            // Through the message as well, in which a newer writer may also have fields of its own.
            var message = Isobar_V1_PoolDigest(digest)
            message.packed = Data(bytes)
            let unknown: [UInt8] = [0xaa, 0x01, 0x03, 1, 2, 3]  // field 21, three bytes
            let sent: [UInt8] = try message.serializedBytes() + unknown
            #expect(try Isobar_V1_PoolDigest(serializedBytes: sent).model() == expected)
        }
        var bytes = known
        bytes[0] = 2
        let error = #expect(throws: WireError.self) { try PackedDigest.digest(of: self.pool, from: bytes) }
        #expect(error?.reason.contains("version 2, and this program reads version 1") == true)
    }

    @Test("has the same bytes for ever")
    func golden() throws {
        let digest = PoolDigest(
            pool: self.pool,
            state: .draining,
            trouble: .blind,
            endpointsReady: 3,
            endpointsKnown: 4,
            readingAge: 0.25,
            running: 12,
            waiting: 5,
            kvMean: 0.25,
            kvMax: 0.5,
            errorShare: nil,
            capacity: 17.5,
            freeSeats: 9,
            unloadedTTFT: 0.125,
            queueScale: nil,
            requestRate: 8,
            promptTokenRate: 1_024,
            generationTokenRate: 2_048.5,
            loraSet: 0x0123_4567_89ab_cdef
        )
        let expected =
            "013c0202" + "03000400" + "0c000000" + "05000000" + "c4098813" + "fffffa00" + "5c440000" + "09000000"
            + "48e80100" + "ffffffff" + "401f0000" + "00280000" + "05500000" + "efcdab8967452301"
        let bytes = PackedDigest.bytes(of: digest)
        #expect(bytes.map { String(format: "%02x", $0) }.joined() == expected)
        // With its pool's name and protobuf's own bytes, a pool of up to 31 letters takes at most 96.
        let long = try PoolName("\(String(repeating: "n", count: 15))/\(String(repeating: "p", count: 15))")
        var named = digest
        named.pool = long
        let message: [UInt8] = try Isobar_V1_PoolDigest(named).serializedBytes()
        #expect(message.count <= 96)
    }

    @Test("is laid out without gaps or overlaps, as the reference page says")
    func layout() throws {
        var next = 2
        for field in PackedField.allCases {
            #expect(field.offset == next, "\(field)")
            next += field.width
        }
        #expect(next == PackedDigest.length)

        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let page = try String(contentsOf: root.appending(path: "docs/reference/digest.md"), encoding: .utf8)
        let rows = page.matches(of: /\| (\d+) \| (\d+) \| `(\w+)` \|/)
            .map { "\($0.1) \($0.2) \($0.3)" }
        #expect(
            rows == ["0 1 version", "1 1 length"]
                + PackedField.allCases.map { "\($0.offset) \($0.width) \($0.rawValue)" }
        )
    }
}
