import Glibc

/// One measured number.
struct Figure {
    /// What was measured, in words.
    let figure: String
    let value: Double
    let unit: String
    /// The value must not be above it, or below it where more is better; `nil` where the figure is for information.
    var goal: Double?
    var isMoreBetter = false

    var isMet: Bool? { self.goal.map { self.isMoreBetter ? self.value >= $0 : self.value <= $0 } }
}

/// A bench measures one promise.
///
/// Each is one file, and a subcommand of ``BenchCommand``.
protocol Bench {
    static var name: String { get }
    func measure() -> [Figure]
}

extension Bench {
    /// Prints one line of JSON for each figure and then a table.
    func report() { self.report(self.measure()) }

    /// The same of figures that were measured elsewhere.
    func report(_ figures: [Figure]) {
        for figure in figures { print(Self.json(figure)) }
        print()
        let width = figures.map(\.figure.count).max() ?? 0
        for figure in figures {
            let name = figure.figure + String(repeating: " ", count: width - figure.figure.count)
            let sign = figure.isMoreBetter ? "≥" : "≤"
            let goal = figure.goal.map { "goal \(sign) \($0.short) \(figure.unit)" } ?? ""
            let met = figure.isMet.map { $0 ? "met" : "MISSED" } ?? ""
            print("\(name)  \(figure.value.short) \(figure.unit)  \(goal) \(met)")
        }
    }

    private static func json(_ figure: Figure) -> String {
        let goal = figure.goal.map { "\($0)" } ?? "null"
        let met = figure.isMet.map { "\($0)" } ?? "null"
        return "{\"bench\":\"\(Self.name)\",\"figure\":\"\(figure.figure)\",\"value\":\(figure.value),"
            + "\"unit\":\"\(figure.unit)\",\"goal\":\(goal),\"more\":\(figure.isMoreBetter),\"met\":\(met)}"
    }
}

/// How long things take, on the clock of the machine.
enum Stopwatch {
    /// The median over `count` runs, in milliseconds.
    static func median(of count: Int, _ body: () -> Void) -> Double {
        let clock = ContinuousClock()
        let times = (0..<count).map { _ in clock.measure(body) / .milliseconds(1) }.sorted()
        return times[count / 2]
    }
}

/// What `count-allocations.c` counts, when it is loaded before this program.
enum Allocations {
    /// Calls for memory since the start; `nil` when nobody counts.
    static var counter: UnsafePointer<UInt64>? {
        dlsym(nil, "isobar_allocations").map { UnsafePointer($0.assumingMemoryBound(to: UInt64.self)) }
    }

    /// How often `body` asks for memory; `nil` when nobody counts.
    static func count(_ body: () -> Void) -> UInt64? {
        guard let counter = self.counter else { return nil }
        let before = counter.pointee
        body()
        return counter.pointee - before
    }
}

extension Double {
    /// With three digits that count.
    fileprivate var short: String {
        let scale = abs(self) >= 100 ? 1.0 : abs(self) >= 10 ? 10 : abs(self) >= 1 ? 100 : 1000
        return "\((self * scale).rounded() / scale)"
    }
}
