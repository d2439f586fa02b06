import Exposition

/// Gathers runs of one value, so that a batch whose tokens all took the same time costs one observation.
struct RepeatedValue {
    private var value = 0.0
    private var times: UInt64 = 0

    mutating func add(_ value: Double, into histogram: inout MetricHistogram) {
        if value != self.value { self.flush(into: &histogram) }
        self.value = value
        self.times += 1
    }

    mutating func flush(into histogram: inout MetricHistogram) {
        if self.times > 0 { histogram.observe(self.value, times: self.times) }
        self.times = 0
    }
}
