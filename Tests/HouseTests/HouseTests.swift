import Foundation
import Testing

/// A line of code knows its room: what each room may import, and what no pure room may say.
///
/// The compiler keeps most of it (every target declares what it uses); this suite keeps the rest,
/// each rule with its reason.
@Suite("House")
struct HouseTests {
    @Test("every folder of Sources is a room of the plan, and every room has its tests")
    func everyFolderIsARoom() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: House.sources.path).sorted()
        #expect(folders == House.rooms.keys.sorted(), "a folder that is no room, or a room without a folder")
        for room in House.rooms.keys where room != "isobar" {
            let tests = House.root.appendingPathComponent("Tests/\(room)Tests")
            #expect(FileManager.default.fileExists(atPath: tests.path), "\(room) has no tests")
        }
    }

    @Test("arrows go down only", arguments: House.rooms.keys.sorted())
    func arrowsGoDown(name: String) throws {
        let room = try #require(House.rooms[name])
        for source in try House.files(of: name) {
            for imported in source.imports {
                guard let target = House.rooms[imported.module] else { continue }
                #expect(
                    room.mayImport(imported.module, on: target.floor),
                    "\(source.name):\(imported.line): \(name) (\(room.floor)) imports \(imported.module) (\(target.floor))"
                )
            }
        }
    }

    @Test("a pure room imports only rooms and plain values", arguments: House.pureRooms)
    func pureImports(name: String) throws {
        for source in try House.files(of: name) {
            for imported in source.imports where House.rooms[imported.module] == nil {
                #expect(
                    House.plainModules[imported.module] != nil,
                    "\(source.name):\(imported.line): a pure room imports \(imported.module)"
                )
            }
        }
    }

    @Test("a pure room has no clock, dice, socket, file or log of its own", arguments: House.pureRooms)
    func pureWords(name: String) throws {
        for source in try House.files(of: name) {
            for (number, line) in source.code {
                for (word, reason) in House.bannedWords where line.contains(word) {
                    // `.random(in:using:)` takes its dice as an argument: the form that is wanted.
                    if line.contains("using:"), word == ".random(in:" || word.hasPrefix(".shuffled") { continue }
                    Issue.record("\(source.name):\(number) says `\(word)`: \(reason)")
                }
            }
        }
    }

    @Test("no room hides an error in a crash or starts a task that nobody owns", arguments: House.rooms.keys.sorted())
    func everywhere(name: String) throws {
        for source in try House.files(of: name) {
            for (number, line) in source.code {
                for (word, reason) in House.bannedEverywhere where line.contains(word) {
                    if House.allowed[source.name]?.word == word { continue }
                    Issue.record("\(source.name):\(number) says `\(word)`: \(reason)")
                }
            }
        }
    }

    @Test("files can be read at a sitting", arguments: House.rooms.keys.sorted())
    func length(name: String) throws {
        for source in try House.files(of: name) {
            #expect(source.lines.count <= 600, "\(source.name) has \(source.lines.count) lines; split it")
        }
    }

    @Test("tests wait for conditions, never for a while")
    func noSleepingTests() throws {
        for source in try House.files(in: House.root.appendingPathComponent("Tests"))
        where !source.name.hasPrefix("HouseTests") {
            for (number, line) in source.lines.enumerated() where line.contains("Task.sleep") {
                // A scripted peer may hang or drip: that is what it is there to play.
                if line.contains("// peer:") { continue }
                Issue.record("\(source.name):\(number + 1) sleeps; poll with TestKit's `eventually`")
            }
        }
    }
}
