import ArgumentParser
import ConfigurationFiles
import Foundation
import ProgramShell
import Resources
import WireProtocol

/// Where manifests come from.
struct ManifestOptions: ParsableArguments {
    @Option(
        name: [.customShort("f"), .long],
        help: ArgumentHelp("YAML or JSON, a folder of such files, or - for standard input.", valueName: "file")
    )
    var file: [String] = []

    /// One resource with where it came from.
    struct Read {
        let document: ManifestDocument
        let resource: Resource
    }

    /// Reads and checks everything.
    ///
    /// - Throws: `ExitCode` after all that is wrong was reported, each with its file and line.
    func read(_ command: String) throws -> [Read] {
        var resources: [Read] = []
        var isBad = false
        for file in self.file {
            for document in try Manifests.read(path: file) {
                do throws(Resource.Refused) {
                    resources.append(Read(document: document, resource: try Resource(manifest: document.value)))
                } catch {
                    isBad = true
                    for problem in error.problems { Self.report(command, document, error.name, problem) }
                }
            }
        }
        if isBad { throw Failures.badInput }
        return resources
    }

    static func report(_ command: String, _ document: ManifestDocument?, _ name: String, _ problem: ResourceProblem) {
        let place = document.map { "\($0.place(of: problem.path)): " } ?? ""
        Failures.report(command, "\(place)\(name.isEmpty ? "" : "\(name): ")\(problem)")
    }
}

extension Isobar_V1_ResourceProblem {
    var model: ResourceProblem { ResourceProblem(path: self.path, reason: self.reason) }

    var name: String { Self.name(self.key) }

    static func name(_ key: Isobar_V1_ResourceKey) -> String {
        "\(key.kind) \(key.namespace.isEmpty ? "" : "\(key.namespace)/")\(key.name)"
    }
}
