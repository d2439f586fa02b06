import Foundation
import TestKit
import Testing

@testable import Exposition

/// Pages that no engine writes.
///
/// `make fuzz-exposition` reads a million of them; each access is checked against the bounds of the page, as in every
/// debug build.
@Suite("Mutated pages")
struct MutationTests {
    /// How many pages are read: `PAGES` in the environment, else few enough for every run of the tests.
    private static let rounds = ProcessInfo.processInfo.environment["PAGES"].flatMap { Int($0) } ?? 20_000

    private static let alphabet = Array("{}\"\\,= \t\r\n#0123456789.eE+-NaInf_:\u{0}".utf8) + [0xFF, 0xC3, 0x80]

    /// What the recorded and constructed pages do not have.
    private static let rare = """
        m{engine="a\\"b\\\\c\\nd",x="}"} 1 1795418753000\r
        m_bucket{engine="0",le="1"} 17 # {trace_id="a # b"} 0.67 1520879607.789
        {"m",engine="0",block_size="128"} 7e-3
        m{engine="0"} NaN
        m{engine="1",} +Inf
          m { engine = "2" } 123456789012345678901234567890
        m_created{engine="0"} 1.7954187e+09
        # EOF
        """

    @Test("neither crash the reader nor make it lose count, and each line is read as it is alone")
    func mutations() throws {
        let names =
            ["vllm-0.32-idle", "vllm-0.32-under-load"]
            + ["sglang", "triton-trtllm", "vllm-lora"].map { "constructed/\($0)" }
        let pages = try names.map(page) + [Array(Self.rare.utf8)]
        let wanted = try Set(pages.flatMap { try Self.series(of: $0) }).filter { !$0.contains("bucket") }.sorted()
        let reader = ExpositionReader(series: wanted)
        // A few lines of a page, so that most mutations hit a parser and not a bucket that is skipped.
        let seeds = pages.map { page in
            page.split(separator: UInt8(ascii: "\n")).filter { line in
                page.count < 2000 || wanted.contains { line.starts(with: $0.utf8) && $0.hasPrefix("vllm:") }
            }
        }
        var dice = SeededGenerator(seed: 20_260_101)
        var samples = 0
        for round in 0..<Self.rounds {
            let lines = seeds[round % seeds.count]
            let start = Int.random(in: 0..<lines.count, using: &dice)
            var bytes = Array(lines[start..<min(lines.count, start + 12)].joined(separator: [UInt8(ascii: "\n")]))
            Self.mutate(&bytes, using: &dice)
            var visited = 0
            let tally = try reader.read(bytes) { sample in
                visited += 1
                _ = sample.label("engine")
                _ = sample.has("block_size", "128")
            }
            // Each line as a page of its own: whatever a page lets the reader skip, it must not skip more.
            var alone = ExpositionTally()
            for line in bytes.split(separator: UInt8(ascii: "\n")) {
                let tally = try reader.read(Array(line)) { _ in }
                alone.samples += tally.samples
                alone.malformed += tally.malformed
            }
            samples += visited
            // A comparison that fails is rare; one that is recorded a million times is slow.
            if tally.samples != visited || tally.samples + tally.duplicates != alone.samples
                || tally.malformed != alone.malformed
            {
                Issue.record("round \(round): \(String(decoding: bytes, as: UTF8.self))")
            }
        }
        #expect(samples > Self.rounds, "most mutated pages still have something to read")
    }

    private static func mutate(_ bytes: inout [UInt8], using dice: inout SeededGenerator) {
        for _ in 0...Int.random(in: 0..<6, using: &dice) {
            guard !bytes.isEmpty else { return }
            let place = Int.random(in: 0..<bytes.count, using: &dice)
            let end = min(bytes.count, place + Int.random(in: 0..<200, using: &dice))
            switch Int.random(in: 0..<7, using: &dice) {
            case 0: bytes[place] = Self.alphabet.randomElement(using: &dice) ?? 0
            case 1: bytes.insert(Self.alphabet.randomElement(using: &dice) ?? 0, at: place)
            case 2: bytes.remove(at: place)
            case 3: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &dice)
            case 4: bytes.insert(contentsOf: Array(bytes[place..<end]), at: place)
            case 5: bytes.removeSubrange(place..<end)
            default: bytes.removeSubrange(place...)
            }
        }
    }

    /// The names of all samples of a page.
    private static func series(of page: [UInt8]) throws -> [String] {
        String(decoding: page, as: UTF8.self).split(whereSeparator: \.isNewline).compactMap { line in
            let name = line.drop { " {\"".contains($0) }.prefix { !" {\"".contains($0) }
            return name.isEmpty || name.hasPrefix("#") ? nil : String(name)
        }
    }
}
