import Testing

@testable import RequestRouting

@Suite("Errors among the answers of one address")
struct ErrorShareTests {
    @Test("an address of whose answers half are errors is ejected, though good ones come between them")
    func errorShare() {
        var health = TargetHealth()
        var now = 0.0
        var ejectedAfter: Int?
        for number in 0..<100 where ejectedAfter == nil {
            now += 0.1
            if number.isMultiple(of: 2) { health.errored(now: now) } else { health.succeeded(now: now) }
            if health.isEjected(now: now) { ejectedAfter = number + 1 }
        }
        #expect(ejectedAfter.map { (10...13).contains($0) } ?? false)
    }

    @Test("one error in ten is no reason to eject, and few answers are no measure")
    func rareErrors() {
        var health = TargetHealth()
        for number in 0..<1_000 {
            let now = Double(number) / 10
            if number.isMultiple(of: 10) { health.errored(now: now) } else { health.succeeded(now: now) }
            #expect(!health.isEjected(now: now))
        }
        var quiet = TargetHealth()
        for number in 0..<4 {
            quiet.errored(now: Double(number))
            #expect(!quiet.isEjected(now: Double(number)))
        }
    }

    @Test("after the pause the address is judged by what comes then")
    func secondChance() {
        var health = TargetHealth()
        for _ in 0..<5 { health.errored(now: 0) }
        #expect(health.isEjected(now: 0.5))
        #expect(!health.isEjected(now: 1.5))
        health.errored(now: 1.5)
        #expect(!health.isEjected(now: 1.5))
    }
}
