import Testing

@testable import Exposition

/// Reads a page and says what was found, as `name{engine} value`.
private func lines(_ page: String, of series: [String], label: String = "engine") throws -> [String] {
    var found: [String] = []
    _ = try ExpositionReader(series: series).read(Array(page.utf8)) { sample in
        found.append("\(series[sample.series]){\(sample.label(label) ?? "")} \(sample.value)")
    }
    return found
}

@Suite("Reading a metrics page")
struct ExpositionReaderTests {
    @Test("only the series asked for are handed over, by their whole name")
    func wholeNames() throws {
        let page = """
            # HELP running Requests
            # TYPE running gauge
            running{engine="0"} 3
            running_total{engine="0"} 9
            runnin 1
            waiting 4.5 1795418753000

            """
        #expect(try lines(page, of: ["running", "waiting"]) == ["running{0} 3.0", "waiting{} 4.5"])
    }

    @Test("escapes in labels are resolved")
    func escapes() throws {
        let page = #"m{engine="a\"b\\c\nd",x="}"} 1"#
        #expect(try lines(page, of: ["m"]) == ["m{a\"b\\c\nd} 1.0"])
        var matches = false
        _ = try ExpositionReader(series: ["m"]).read(Array(page.utf8)) { matches = $0.has("engine", "a\"b\\c\nd") }
        #expect(matches)
    }

    @Test("blanks, a trailing comma, CRLF and a missing last newline are no hindrance")
    func layout() throws {
        let page = "  m { engine = \"0\" , } \t 1 \r\nm{engine=\"1\"} 2\r\n\r\n\r\nm 3"
        #expect(try lines(page, of: ["m"]) == ["m{0} 1.0", "m{1} 2.0", "m{} 3.0"])
    }

    @Test("OpenMetrics exemplars, timestamps and the end mark are passed over")
    func openMetrics() throws {
        let page = """
            m_bucket{engine="0",le="1"} 17 # {trace_id="a # b"} 0.67 1520879607.789
            m_count{engine="0"} 17 1520879607.789 # {} 1
            m_created{engine="0"} 1.7954187e+09
            # EOF

            """
        #expect(try lines(page, of: ["m_bucket", "m_count"]) == ["m_bucket{0} 17.0", "m_count{0} 17.0"])
    }

    @Test("names in quotes, as version 1.0.0 allows, are read")
    func quotedNames() throws {
        #expect(try lines(#"{"engine.load",engine="0"} 7"#, of: ["engine.load"]) == ["engine.load{0} 7.0"])
        #expect(try lines(#"{"engine.load"} 7"#, of: ["engine.load"]) == ["engine.load{} 7.0"])
    }

    @Test(
        "numbers are what the text says",
        arguments: [
            ("0", 0), ("-0.5", -0.5), ("+7", 7), (".5", 0.5), ("5.", 5), ("1e3", 1000),
            ("1.7954187863136919e+09", 1.7954187863136919e+09),
            ("0.30573870573870576", 0.30573870573870576), ("123456789012345678901234567890", 1.2345678901234568e29),
            ("1e-9999", 0), ("2.2250738585072014e-308", 2.2250738585072014e-308),
            ("+Inf", Double.infinity), ("-inf", -Double.infinity), ("1e9999", Double.infinity),
        ]
    )
    func numbers(_ text: String, _ value: Double) throws {
        #expect(try lines("m \(text)\n", of: ["m"]) == ["m{} \(value)"])
    }

    @Test("NaN is handed over as NaN")
    func nan() throws {
        #expect(try lines("m NaN", of: ["m"]) == ["m{} nan"])
    }

    @Test(
        "a wanted line that is not valid is counted and left out",
        arguments: [
            "m", "m ", "m{", "m{engine", "m{engine=", "m{engine=\"", "m{engine=\"0\"", "m{engine=\"0\"}", "m{=\"0\"} 1",
            "m x",
            "m 1x", "m 0x10", "m 1e", "m e5", "m 1 x", "m 1 2 3", "m --1", "m nano", "m{engine=\"0\" x} 1", "m{,,} 1",
            "m{engine=\"0\\\"} 1", "m 1e99999", "m .",
        ]
    )
    func malformed(_ line: String) throws {
        let tally = try ExpositionReader(series: ["m"]).read(Array("\(line)\nm 1\n".utf8)) { _ in }
        #expect(tally == ExpositionTally(samples: 1, malformed: 1))
    }

    @Test("of a series given twice the first sample counts, and the second is counted")
    func duplicates() throws {
        let page = Array("m{a=\"1\"} 1\nm{a=\"2\"} 2\nm{a=\"1\"} 3\n".utf8)
        var sum = 0.0
        let tally = try ExpositionReader(series: ["m"]).read(page) { sum += $0.value }
        #expect(sum == 3)
        #expect(tally == ExpositionTally(samples: 2, duplicates: 1))
    }

    @Test("thousands of series are told apart, by labels of every length, and known again")
    func manySeries() throws {
        let lines =
            (0..<3_000).map { "m{a=\"\(String(repeating: "x", count: $0 % 41))\($0)\"} 1\n" }
            + ["m 1\n", "n 1\n", "m{a=\"\"} 1\n", "n{a=\"\"} 1\n", "m{a=\"\\u{0}\"} 1\n"]
        let reader = ExpositionReader(series: ["m", "n"])
        let once = try reader.read(Array(lines.joined().utf8)) { _ in }
        #expect(once == ExpositionTally(samples: lines.count))
        let twice = try reader.read(Array((lines + lines).joined().utf8)) { _ in }
        #expect(twice == ExpositionTally(samples: lines.count, duplicates: lines.count))
    }

    @Test("a page over the limit is refused before it is read")
    func limit() throws {
        let reader = ExpositionReader(series: ["m"], limit: 8)
        #expect(try reader.read(Array("m 12345\n".utf8)) { _ in }.samples == 1)
        #expect(throws: ExpositionFault.tooLarge(bytes: 9, limit: 8)) {
            try reader.read(Array("m 123456\n".utf8)) { _ in }
        }
    }

    @Test("a timestamp is seconds or milliseconds since 1970, whichever it can be")
    func timestamps() throws {
        var found: [Double?] = []
        let page = Array("m 1 1795418753000\nm{a=\"1\"} 1 1795418753.5\nm{a=\"2\"} 1\nm{a=\"3\"} 1 -5\n".utf8)
        let tally = try ExpositionReader(series: ["m"]).read(page) { found.append($0.timestamp) }
        #expect(tally == ExpositionTally(samples: 4))
        #expect(found == [1_795_418_753, 1_795_418_753.5, nil, -5])
    }

    @Test("a name that begins with one that was skipped, or ends like it, is not skipped with it")
    func similarNames() throws {
        let page = """
            runs_bucket{le="1"} 1
            runs_bucket{le="2"} 2
            runs_bucket_total{le="2"} 3
            runs_bucke{le="2"} 4
            runs_bucket 5
            runs_bucket{le="+Inf"} 6
            runs{le="2"} 7
            runs_bucket{le="1"} 1
            runs_bucket
            """
        #expect(try lines(page, of: ["runs", "runs_bucket_total"]) == ["runs_bucket_total{} 3.0", "runs{} 7.0"])
    }

    @Test("names of every length are told apart, wherever eight bytes end", arguments: 1...40)
    func lengths(_ count: Int) throws {
        let name = String(repeating: "a", count: count)
        for ending in ["{engine=\"0\"} 1", " 1", "\t1", " 1\r"] {
            #expect(try lines("\(name)a 9\n\(name)\(ending)\nb 9", of: [name]).count == 1)
            #expect(try lines("b 9\n\(name)\(ending)", of: [name]).count == 1)
        }
        #expect(try lines("\(name)\n\(name)é 1", of: [name]).isEmpty)
    }

    @Test("an empty page and a reader of nothing are fine")
    func empty() throws {
        #expect(try lines("", of: ["m"]).isEmpty)
        #expect(try lines("m 1\n", of: []).isEmpty)
        #expect(try lines("\n\n{} 1\n{\"\"} 1\n 1\n", of: ["m", ""]) == ["{} 1.0"])
    }
}
