import FleetModel
import Testing

@Suite("Who a program is")
struct IdentityTests {
    @Test("an identity is its URI and back")
    func roundTrip() throws {
        let identity = try Identity(uri: "isobar://acme/agent/us-east-a")
        #expect(identity.role == .agent)
        #expect(identity.name == "us-east-a")
        #expect(try Identity(uri: identity.description) == identity)
    }

    @Test(
        "anything else is no identity",
        arguments: [
            "", "isobar://acme/agent", "isobar://acme/agent/a/b", "isobar://acme/king/a", "spiffe://acme/agent/a",
            "isobar://ACME/agent/a", "isobar://acme/agent/", "isobar://acme/agent/a b", "isobar:///agent/a",
        ]
    )
    func refused(uri: String) {
        #expect(throws: InvalidName.self) { _ = try Identity(uri: uri) }
    }
}
