import ConfigurationFiles
import Resources
import Testing

@Suite("Manifest files")
struct ManifestsTests {
    @Test("documents, lists and JSON are read, and each field knows its line")
    func documents() throws {
        let text = """
            # two documents, one of them a list
            kind: Drain
            spec:
              cluster: a
              ports:
              - number: 80
            ---
            kind: List
            items:
            - {kind: Cluster, metadata: {name: "8000"}}
            - kind: Pool
            ---
            """
        let documents = try Manifests.read(text: text, file: "f.yaml")
        #expect(documents.map { $0.value["kind"]?.text } == ["Drain", "Cluster", "Pool"])
        #expect(documents[0].place(of: "spec.ports[0].number") == "f.yaml:6")
        #expect(documents[0].place(of: "spec.ports[0].missing") == "f.yaml:6")
        #expect(documents[0].place(of: "metadata.name") == "f.yaml:2")
        #expect(documents[1].value["metadata"] == .fields(["name": .text("8000")]))
        let json = try Manifests.read(text: #"{"kind": "Drain", "spec": {"a": [1, true, null, "x"]}}"#, file: "-")
        #expect(json[0].value["spec"]?["a"] == .list([.number(1), .bool(true), .null, .text("x")]))
    }

    @Test(
        "what is no manifest file is refused with its place",
        arguments: [
            ("", "is empty"), ("a: [", "is not YAML"), ("a: 1\na: 2\n", "stands there twice"),
            (
                "a: &x [1]\nb: " + String(repeating: "[", count: 60) + String(repeating: "]", count: 60),
                "nested too deeply"
            ),
        ]
    )
    func refused(text: String, reason: String) {
        let error = #expect(throws: ConfigurationError.self) { try Manifests.read(text: text, file: "f.yaml") }
        #expect(error?.description.contains("f.yaml") == true)
        #expect(error?.reason.contains(reason) == true, "\(error?.description ?? "")")
    }

    @Test("what is written as YAML is read as it was, texts that look like numbers too")
    func roundTrip() throws {
        let value: ResourceValue = .fields([
            "kind": .text("Drain"), "apiVersion": .text("v1"),
            "spec": .fields([
                "a": .text("8000"), "b": .number(8_000), "c": .text("true"), "d": .bool(true), "e": .text(""),
                "f": .list([.text("x: y"), .number(0.25), .fields([:])]), "g": .null, "h": .text("two\nlines – ü"),
            ]),
        ])
        let text = try Manifests.yaml(value)
        #expect(text.hasPrefix("apiVersion: v1\nkind: Drain\n"))
        #expect(try Manifests.read(text: text, file: "-").map(\.value) == [value])
    }
}
