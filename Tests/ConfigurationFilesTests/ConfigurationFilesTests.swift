import ConfigurationFiles
import FleetModel
import Testing

@Suite("Reading a configuration file")
struct ConfigurationFilesTests {
    private struct Settings: Equatable {
        var region = ""
        var hubs: [EndpointAddress] = []
        var pools: [String] = []
        var seats: Int?
    }

    private func read(_ text: String) throws(ConfigurationError) -> Settings {
        var fields = try YAMLFields(text: text, file: "agent.yaml")
        let settings = Settings(
            region: try fields.required("region") { try RegionName($0).text },
            hubs: try fields.list("hub") { try EndpointAddress($0) },
            pools: try fields.mappings("pools") { (pool) throws(ConfigurationError) in
                try pool.required("name") { try PoolName($0).description }
            },
            seats: try fields.integer("seats", in: 1...1_024, default: nil)
        )
        try fields.finish()
        return settings
    }

    @Test("what is written is read")
    func reads() throws {
        let settings = try self.read(
            """
            region: us-east
            hub: [127.0.0.1:7400, "[::1]:7400"]
            pools:
              - name: default/llama
              - name: qwen
            """
        )
        #expect(settings.region == "us-east")
        #expect(settings.hubs.map(\.description) == ["127.0.0.1:7400", "[::1]:7400"])
        #expect(settings.pools == ["default/llama", "default/qwen"])
        #expect(settings.seats == nil)
    }

    @Test(
        "what is wrong is named with its line, its field and the fix",
        arguments: [
            ("hub: []", "agent.yaml:1: region: is missing; add a line `region: …`"),
            (
                "region: US",
                "agent.yaml:1: region: region \"US\" is not valid: use 1 to 63 lower-case letters, digits and "
                    + "hyphens, beginning and ending with a letter or digit"
            ),
            (
                "region: us\nhub: [a:1, b]",
                "agent.yaml:2: hub[1]: address \"b\" is not valid: use host:port with a port from 1 to 65535"
            ),
            ("region: us\nhubs: [a:1]", "agent.yaml:2: hubs: is unknown; known here: hub, pools, region, seats"),
            (
                "region: us\npools:\n  - name: x\n    size: 3",
                "agent.yaml:4: pools[0].size: is unknown; known here: name"
            ),
            ("region: us\nregion: eu", "agent.yaml:1: region: stands there twice; remove one"),
            (
                "region: us\nseats: many",
                "agent.yaml:2: seats: \"many\" is not valid: use a whole number from 1 to 1024"
            ),
            ("- region: us", "agent.yaml:1: should be a mapping of `field: value` lines"),
            ("", "agent.yaml: is empty"),
        ]
    )
    func refuses(text: String, message: String) {
        let error = #expect(throws: ConfigurationError.self) { try self.read(text) }
        #expect(error?.description == message)
    }

    @Test("text that is no YAML says where it stops being so")
    func notYAML() {
        let error = #expect(throws: ConfigurationError.self) { try self.read("region: [us") }
        #expect(error?.description.hasPrefix("agent.yaml: is not YAML:") == true)
    }

    @Test("a missing file is named")
    func missing() {
        let error = #expect(throws: ConfigurationError.self) { _ = try YAMLFields(file: "/nowhere/hub.yaml") }
        #expect(error?.description == "/nowhere/hub.yaml: no such file")
    }
}
