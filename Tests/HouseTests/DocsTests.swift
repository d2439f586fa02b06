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
        let read = /\.(?:required|optional|list|mappings|integer|seconds|choice)\("(\w+)"/
        for source in try Docs.sources(named: "Configuration.swift") {
            let fields = source.matches(of: read).map { String($0.1) }
            #expect(!fields.isEmpty, "the test no longer finds how fields are read")
            for field in fields { #expect(page.contains("`\(field)`"), "no field `\(field)`") }
        }
    }

    @Test("the HTTP page has every field of every status")
    func status() throws {
        let page = try Docs.text("docs/reference/http.md")
        for source in try Docs.sources(named: "Status.swift") {
            for field in source.matches(of: /\bvar (\w+):\s/).map(\.1) {
                #expect(page.contains("`\(field)`"), "no field `\(field)`")
            }
        }
    }

    @Test("the command page has every command")
    func commands() throws {
        let page = try Docs.text("docs/reference/cli.md")
        for source in try Docs.sources() {
            for command in source.matches(of: /commandName: "([a-z]+)"/).map(\.1) {
                #expect(page.contains("\(command)`"), "no command `\(command)`")
            }
        }
    }

    @Test("the house page has every room", arguments: House.rooms.keys.sorted())
    func rooms(name: String) throws {
        let link = "[`\(name)`](../Sources/\(name))"
        #expect(try Docs.text("docs/house.md").contains(link), "no \(link)")
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

    /// The texts of the source files whose names end so.
    static func sources(named ending: String = ".swift") throws -> [String] {
        try House.files(in: House.sources).filter { $0.name.hasSuffix(ending) }.map {
            $0.lines.joined(separator: "\n")
        }
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
