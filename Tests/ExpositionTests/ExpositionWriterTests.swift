import Testing

@testable import Exposition

@Suite("Writing a metrics page")
struct ExpositionWriterTests {
    @Test("a family has its help, its type and its samples, with labels escaped")
    func family() {
        var page = ExpositionWriter()
        page.family("isobar_scrapes_total", .counter, help: "Scrapes,\nby result.")
        page.sample("isobar_scrapes_total", ["result": "ok"], 3)
        page.sample("isobar_scrapes_total", ["result": "a \"b\" \\ \n"], 0.5)
        #expect(
            page.text == #"""
                # HELP isobar_scrapes_total Scrapes,\nby result.
                # TYPE isobar_scrapes_total counter
                isobar_scrapes_total{result="ok"} 3.0
                isobar_scrapes_total{result="a \"b\" \\ \n"} 0.5

                """#
        )
    }

    @Test(
        "what is written is read back as it was",
        arguments: [0, -0.5, 1e300, Double.leastNonzeroMagnitude, 123_456_789_012_345, .infinity, -.infinity, .nan]
    )
    func roundTrip(_ value: Double) throws {
        var page = ExpositionWriter()
        page.family("m", .gauge, help: "Any \\ help\nat all")
        page.sample("m", ["a": "quote \" backslash \\ newline \n brace } comma , é"], value)
        page.sample("m", ["a": ""], 1)
        var found: [(label: String?, value: Double)] = []
        let tally = try ExpositionReader(series: ["m"]).read(Array(page.text.utf8)) {
            found.append(($0.label("a"), $0.value))
        }
        #expect(tally == ExpositionTally(samples: 2))
        #expect(found[0].label == "quote \" backslash \\ newline \n brace } comma , é")
        #expect(found[0].value == value || (found[0].value.isNaN && value.isNaN))
        #expect(found[1].label == "")
    }

    @Test("a histogram's buckets are cumulative and end in +Inf")
    func histogram() {
        var delays = MetricHistogram(bounds: [0.1, 1])
        for value in [0.05, 0.1, 0.5, 7] { delays.observe(value) }
        var page = ExpositionWriter()
        page.histogram("h", [("engine", "0")], delays)
        #expect(
            page.text == """
                h_bucket{engine="0",le="0.1"} 2.0
                h_bucket{engine="0",le="1.0"} 3.0
                h_bucket{engine="0",le="+Inf"} 4.0
                h_sum{engine="0"} 7.65
                h_count{engine="0"} 4.0

                """
        )
    }
}
