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
