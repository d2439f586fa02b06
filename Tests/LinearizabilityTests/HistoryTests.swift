import Testing

@testable import Linearizability

typealias RegisterOperation = HistoryEntry<Register.Call, Register.Answer>

extension RegisterOperation {
    static func write(_ value: String, _ began: Double, _ ended: Double) -> Self {
        Self(.write(value), .answered(.done), began: began, ended: ended)
    }

    static func lost(_ call: Register.Call, _ began: Double) -> Self {
        Self(call, .unknown, began: began, ended: began)
    }

    static func read(_ value: String?, _ began: Double, _ ended: Double) -> Self {
        Self(.read, .answered(.value(value)), began: began, ended: ended)
    }
}

func verdict(_ history: [RegisterOperation]) -> Verdict { LinearizabilityCheck(Register()).verdict(of: history) }

func isLinearizable(_ history: [RegisterOperation]) -> Bool {
    if case .linearizable = verdict(history) { true } else { false }
}

@Suite("Known histories")
struct HistoryTests {
    @Test("nothing is linearizable, and so is what one client did alone")
    func alone() {
        #expect(verdict([]) == .linearizable(order: []))
        #expect(isLinearizable([.read(nil, 0, 1), .write("a", 2, 3), .read("a", 4, 5)]))
        #expect(!isLinearizable([.write("a", 0, 1), .read(nil, 2, 3)]), "the write was answered before")
        #expect(!isLinearizable([.read("a", 0, 1), .write("a", 2, 3)]), "nobody sees the future")
    }

    @Test("what overlaps may have happened in either order, and only one of them for all readers")
    func overlap() {
        let both: [RegisterOperation] = [.write("a", 0, 10), .write("b", 0, 10)]
        #expect(isLinearizable(both + [.read("a", 11, 12)]))
        #expect(isLinearizable(both + [.read("b", 11, 12)]))
        #expect(isLinearizable(both + [.read("a", 1, 2), .read("b", 3, 4)]))
        #expect(!isLinearizable(both + [.read("a", 11, 12), .read("b", 13, 14)]))
        // Herlihy and Wing: two readers that overlap with a write may not see it come and go.
        #expect(
            !isLinearizable([.write("a", 0, 1), .write("b", 2, 10), .read("b", 3, 4), .read("a", 5, 6)])
        )
    }

    @Test("of one instant, nothing is before the other")
    func instant() {
        #expect(isLinearizable([.write("a", 0, 1), .read(nil, 1, 2)]))
    }

    @Test("a write whose answer was lost may take effect late, never, and once")
    func unknown() {
        let lost = RegisterOperation.lost(.write("b"), 2)
        let before = [RegisterOperation.write("a", 0, 1), lost]
        #expect(isLinearizable(before))
        #expect(isLinearizable(before + [.read("a", 3, 4), .read("b", 100, 101)]), "late")
        #expect(isLinearizable(before + [.read("a", 3, 4), .read("a", 100, 101)]), "never")
        #expect(
            !isLinearizable(before + [.read("b", 3, 4), .write("c", 5, 6), .read("b", 7, 8)]),
            "twice"
        )
        #expect(!isLinearizable([.read("b", 0, 1), lost]), "not before it was asked for")
    }

    @Test("of what failed, nothing may show")
    func failed() {
        let failed = RegisterOperation(.write("b"), .failed, began: 2, ended: 3)
        #expect(isLinearizable([.write("a", 0, 1), failed, .read("a", 4, 5)]))
        #expect(!isLinearizable([.write("a", 0, 1), failed, .read("b", 4, 5)]))
    }

    @Test("a conditional write tells what stood there, also by its refusal")
    func conditional() {
        func replace(_ old: String, _ new: String, _ answer: Register.Answer, _ began: Double) -> RegisterOperation {
            RegisterOperation(.replace(old, with: new), .answered(answer), began: began, ended: began + 1)
        }
        let a = RegisterOperation.write("a", 0, 1)
        #expect(isLinearizable([a, replace("a", "b", .done, 2), .read("b", 4, 5)]))
        #expect(!isLinearizable([a, replace("a", "b", .conflict, 2)]), "nobody else wrote")
        #expect(!isLinearizable([a, replace("x", "b", .done, 2)]), "x never stood there")
        #expect(
            !isLinearizable([a, replace("a", "b", .conflict, 2), .read("b", 4, 5)]),
            "refused, and in force"
        )
        let both = [a, replace("a", "b", .done, 2), replace("a", "c", .done, 2)]
        #expect(!isLinearizable(both), "one of two can win")
        #expect(isLinearizable([a, .lost(.replace("a", with: "b"), 2), replace("a", "c", .conflict, 3)]))
    }

    @Test("a removal tells whether there was something")
    func removal() {
        func remove(_ answer: Register.Answer, _ began: Double) -> RegisterOperation {
            RegisterOperation(.remove, .answered(answer), began: began, ended: began + 1)
        }
        #expect(isLinearizable([.write("a", 0, 1), remove(.done, 2), .read(nil, 4, 5), remove(.absent, 6)]))
        #expect(!isLinearizable([.write("a", 0, 1), remove(.absent, 2)]))
        #expect(!isLinearizable([.write("a", 0, 1), remove(.done, 2), remove(.done, 4)]))
        #expect(isLinearizable([.write("a", 0, 1), .lost(.remove, 2), remove(.absent, 3)]))
    }

    @Test("a violation names the longest order that explains something, and what could not come next")
    func explains() {
        let history: [RegisterOperation] = [.write("a", 0, 1), .write("b", 2, 3), .read("a", 4, 5)]
        #expect(verdict(history) == .notLinearizable(longest: [0, 1], stuck: [2]))
    }

    @Test("a search without an end is given up and says so")
    func budget() {
        // Forty writes at once, and a read of what nobody wrote: every subset of them is a configuration.
        let history =
            (0..<40).map { RegisterOperation.write("\($0)", 0, 1) } + [.read("none of them", 2, 3)]
        let check = LinearizabilityCheck(Register(), budget: 1_000)
        #expect(check.verdict(of: history) == .undecided(configurations: 1_001))
    }
}
