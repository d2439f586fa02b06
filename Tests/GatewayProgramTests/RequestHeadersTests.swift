import TestKit
import Testing

@testable import GatewayProgram

@Suite("What a request's headers say")
struct RequestHeadersTests {
    private func deadline(_ headers: [String: String]) -> RequestDeadline? { RequestDeadline { headers[$0] } }

    @Test("the first deadline that can be read counts: ours, Envoy's, gRPC's")
    func deadlines() throws {
        #expect(self.deadline([:]) == nil)
        let own = try #require(self.deadline(["x-isobar-deadline-ms": "1500", "grpc-timeout": "9S"]))
        #expect(own.header == .own && own.seconds == 1.5)
        let envoy = try #require(self.deadline(["x-envoy-expected-rq-timeout-ms": "250"]))
        #expect(envoy.header == .envoy && envoy.seconds == 0.25)
        let fallback = try #require(self.deadline(["x-isobar-deadline-ms": "soon", "grpc-timeout": "2M"]))
        #expect(fallback.header == .grpc && fallback.seconds == 120)
        for (text, seconds) in [("100m", 0.1), ("5S", 5), ("1H", 3_600), ("2000000u", 2), ("99999999n", 0.099999999)] {
            #expect(abs((self.deadline(["grpc-timeout": text])?.seconds ?? 0) - seconds) < 1e-9)
        }
        for text in ["", "5", "S", "-5S", "5s", "123456789S", "nan", "1e3S"] {
            #expect(self.deadline(["grpc-timeout": text]) == nil, "\(text)")
        }
        for text in ["-1", "nan", "inf", "1e12"] { #expect(self.deadline(["x-isobar-deadline-ms": text]) == nil) }
    }

    @Test("what is left of a deadline is said in the header's own form, and never less than nothing")
    func left() {
        #expect(RequestDeadline.Header.own.text(of: 1.2345) == "1235")
        #expect(RequestDeadline.Header.grpc.text(of: 0.5) == "500m")
        #expect(RequestDeadline.Header.envoy.text(of: -3) == "0")
    }

    @Test("a valid traceparent is passed on to the letter; one that is none begins a trace that is not sampled")
    func traces() {
        var dice = SeededGenerator(seed: 7)
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        let kept = TraceContext(given: given, using: &dice)
        #expect(kept.isGiven && kept.text == given)
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later"
        #expect(TraceContext(given: later, using: &dice).isGiven)
        for text in [
            nil, "", "00", "00-x-y-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", given + "-more",
        ] {
            let begun = TraceContext(given: text, using: &dice)
            #expect(!begun.isGiven && TraceContext.isValid(begun.text) && begun.text.hasSuffix("-00"))
        }
        #expect(TraceContext(given: nil, using: &dice).text != TraceContext(given: nil, using: &dice).text)
    }
}
