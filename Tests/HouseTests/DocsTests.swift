import Foundation
import Testing

/// The reference tells of everything that the sources have, and leads nowhere that does not exist.
@Suite("Docs")
struct DocsTests {
    @Test("the metrics page names exactly the metrics that the sources write")
    func metrics() throws {
        let page = try Docs.text("docs/reference/metrics.md")
        let told = Set(page.matches(of: /`(isobar_[a-z_]+)`/).map { String($0.1) })
        let written = try Docs.sources().reduce(into: Set<String>()) { $0.formUnion(Docs.metrics(in: $1)) }
        #expect(written.count > 40, "the test no longer finds how metrics are written")
        #expect(written.subtracting(told).sorted() == [], "written, and not in docs/reference/metrics.md")
        #expect(told.subtracting(written).sorted() == [], "in docs/reference/metrics.md, and not written")
    }

    @Test("the configuration page has every field that a program reads")
    func configuration() throws {
        let page = try Docs.text("docs/reference/configuration.md")
        let read = /\.(?:required|optional|list|mapping|mappings|integer|seconds|choice)\("(\w+)"/
        for source in try Docs.sources(where: { $0.hasSuffix("Configuration.swift") }) {
            let fields = Set(source.matches(of: read).map { String($0.1) })
            #expect(!fields.isEmpty, "the test no longer finds how fields are read")
            #expect(fields.filter { !page.contains("`\($0)`") }.sorted() == [])
        }
    }

    @Test("the HTTP page has every field of every status", arguments: ["Agent", "Gateway", "Hub"])
    func status(program: String) throws {
        let page = try Docs.text("docs/reference/http.md")
        let sources = try Docs.sources { $0 == "\(program)Program/\(program)Status.swift" }
        let status = try #require(sources.first?.firstMatch(of: /struct \w+Status: Codable[\s\S]+?\n}/)).output
        let fields = Set(status.matches(of: /\bvar (\w+):/).map { String($0.1) })
        #expect(fields.filter { !page.contains("`\($0)`") }.sorted() == [])
    }

    @Test("the command page has every command")
    func commands() throws {
        let page = try Docs.text("docs/reference/cli.md")
        let commands = try Docs.sources().flatMap { $0.matches(of: /commandName: "(\w+)"/).map { String($0.1) } }
        #expect(commands.contains("demo"), "the test no longer finds how commands are named")
        #expect(commands.filter { !page.contains(" \($0)") } == [])
    }

    @Test("the house page has every room")
    func rooms() throws {
        let page = try Docs.text("docs/house.md")
        #expect(House.rooms.keys.filter { !page.contains("[`\($0)`](../Sources/\($0))") }.sorted() == [])
    }

    @Test("every relative link leads to a file", arguments: try Docs.pages())
    func links(page: String) throws {
        let folder = House.root.appendingPathComponent(page).deletingLastPathComponent()
        for link in try Docs.text(page).matches(of: /\]\(([^)\s#]+)(?:#[^)]*)?\)/).map(\.1) {
            if link.contains(":") { continue }
            let target = folder.appendingPathComponent(String(link)).standardizedFileURL.path
            #expect(FileManager.default.fileExists(atPath: target), "\(page) links to \(link)")
        }
    }
}

/// Reading the documentation and what it tells of.
private enum Docs {
    static func text(_ path: String) throws -> String {
        try String(contentsOf: House.root.appendingPathComponent(path), encoding: .utf8)
    }

    /// The texts of the source files with such names, as in `HubProgram/Hub.swift`.
    static func sources(where isWanted: (String) -> Bool = { _ in true }) throws -> [String] {
        try House.files(in: House.sources).filter { isWanted($0.name) }.map { $0.lines.joined(separator: "\n") }
    }

    /// Every Markdown file of the repository, by its path from the root.
    static func pages() throws -> [String] {
        let walk = FileManager.default.enumerator(
            at: House.root,
            includingPropertiesForKeys: nil,
            options: .skipsHiddenFiles
        )
        return (walk?.compactMap { $0 as? URL } ?? []).filter { $0.pathExtension == "md" }
            .map { String($0.path.dropFirst(House.root.path.count + 1)) }.sorted()
    }

    /// The metrics that a file writes: whole names, and those that a local `counter("…")` or `gauge("…")` completes.
    static func metrics(in source: String) -> Set<String> {
        var names = Set(source.matches(of: /"(isobar_[a-z_]+)"/).map { String($0.1) })
        let helper = /func (\w+)\(_ name: String[^"]+"(isobar_[a-z_]+)\\\(name\)([a-z_]*)"/
        for match in source.matches(of: helper) {
            let (_, function, head, tail) = match.output
            for call in source.matches(of: /\b(\w+)\(\s*"([a-z_]+)"/) where call.1 == function {
                names.insert("\(head)\(call.2)\(tail)")
            }
        }
        return names
    }
}
