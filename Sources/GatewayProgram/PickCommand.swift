package import ArgumentParser
import AsyncHTTPClient
import FleetModel
import Foundation
import NIOCore
import RequestRouting

/// `isobar pick`: where a request would go, and why.
package struct PickCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "pick",
        abstract: "Say where a gateway would send a request, and why.",
        discussion: """
            Chooses as the gateway does, from what it knows at this moment, without sending or counting anything. A \
            snapshot keeps that knowledge for later: curl http://ADMIN/v1/snapshot > FILE
            """
    )

    enum Output: String, ExpressibleByArgument, CaseIterable {
        case text, json
    }

    /// Endpoints that are listed without being asked for more.
    private static let endpointsShown = 20

    @Option(help: ArgumentHelp("The pool, as namespace/name.", valueName: "pool"))
    var pool: String

    @Option(
        help: ArgumentHelp("The region in which the request arrives; it must be the gateway's.", valueName: "region")
    )
    var from: String?

    @Option(help: ArgumentHelp("The admin address of a live gateway.", valueName: "host:port"))
    var gateway: String?

    @Option(help: ArgumentHelp("A saved snapshot, instead of a live gateway.", valueName: "file"))
    var snapshot: String?

    @Option(help: ArgumentHelp("The request's x-isobar-session.", valueName: "text"))
    var session: String?

    @Option(help: ArgumentHelp("The request's objective.", valueName: "name"))
    var objective: String?

    @Option(help: ArgumentHelp("The request's body as JSON, or a prompt as plain text.", valueName: "file"))
    var promptFile: String?

    @Option(help: "The same seed draws the same.")
    var seed: UInt64 = 1

    @Flag(help: "Say what it was chosen from.")
    var explain = false

    @Option(name: .shortAndLong, help: "text or json.")
    var output = Output.text

    package init() {}

    package func run() async throws {
        do {
            let (data, source) = try await self.load()
            print(try self.answer(try GatewaySnapshot(json: data, from: source)))
        } catch let error as PickError {
            FileHandle.standardError.write(Data("isobar pick: \(error)\n".utf8))
            throw ExitCode(error.code)
        }
    }

    private func load() async throws -> (Data, String) {
        switch (self.gateway, self.snapshot) {
        case (let gateway?, nil):
            do {
                let address = try EndpointAddress(gateway)
                let request = HTTPClientRequest(url: "http://\(address)/v1/snapshot")
                let response = try await HTTPClient.shared.execute(request, timeout: .seconds(10))
                let body = try await response.body.collect(upTo: 64 << 20)
                return (Data(body.readableBytesView), gateway)
            } catch {
                throw PickError(
                    message: "cannot reach the gateway at \(gateway): \(error); is it running, with an admin address?",
                    code: 1
                )
            }
        case (nil, let file?): return (try Self.read(file), file)
        default: throw PickError(message: "give --gateway HOST:PORT or --snapshot FILE, one of them", code: 64)
        }
    }

    private static func read(_ file: String) throws(PickError) -> Data {
        do {
            return try Data(contentsOf: URL(fileURLWithPath: file))
        } catch {
            throw PickError(message: "cannot read \(file): give a file that exists and can be read", code: 66)
        }
    }

    /// What is printed for a snapshot.
    func answer(_ snapshot: GatewaySnapshot) throws -> String {
        if let from, from != snapshot.router.region {
            throw PickError(
                message: "this gateway is of \(snapshot.router.region), not \(from): ask a gateway of \(from)",
                code: 64
            )
        }
        let router: Router
        var request: PickRequest
        do {
            router = try snapshot.rebuilt()
            let pool = try PoolName(self.pool)
            guard snapshot.pools.contains(where: { $0.pool == pool.description }) else {
                let known = snapshot.pools.map(\.pool).joined(separator: ", ")
                throw PickError(message: "--pool: the gateway does not serve \(pool); known: \(known)", code: 64)
            }
            request = PickRequest(pool: pool, band: snapshot.band(self.objective, pool))
        } catch let error as PickError {
            throw error
        } catch {
            throw PickError(message: "\(error)", code: 65)
        }
        request.session = self.session.map(TextHash.of)
        if let promptFile { try self.take(prompt: Self.read(promptFile), of: snapshot, into: &request) }
        var dice = QuickDice(seed: self.seed)
        do throws(PickRefusal) {
            let explanation = try router.explain(request, now: 0, using: &dice)
            return self.output == .json ? self.json(explanation) : self.text(explanation)
        } catch {
            throw PickError(message: "no endpoint of \(request.pool) can take a request", code: 1)
        }
    }

    private func take(prompt: Data, of snapshot: GatewaySnapshot, into request: inout PickRequest) throws {
        var scan = PromptScan()
        let isBody = prompt.first { !" \n\r\t".utf8.contains($0) } == UInt8(ascii: "{")
        scan.read(isBody ? prompt : try JSONEncoder().encode(["prompt": String(decoding: prompt, as: UTF8.self)]))
        request.prefix = scan.prefix
        request.promptTokens = min(prompt.count / PromptScan.bytesPerToken, PickRequest.longestPrompt)
        let base = snapshot.pools.first { $0.pool == request.pool.description }?.model
        if let base, let model = scan.model, model != base { request.adapter = TextHash.of(model) }
    }

    private func json(_ explanation: PickExplanation) -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        var shown = explanation
        if !self.explain { (shown.clusters, shown.endpoints) = ([], []) }
        return (try? encoder.encode(shown)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    private func text(_ pick: PickExplanation) -> String {
        var lines = [
            "\(pick.target)  in \(pick.cluster)\(pick.remote ? ", through its gateway" : "")",
            "because \(pick.reason)\(pick.warm ? ", warm" : "")\(pick.need == "sound" ? "" : ", \(pick.need)"); "
                + "band \(pick.band); plan \(pick.plan ?? "none"); full to "
                + (pick.fullness.map { "\(Int(($0 * 100).rounded())) %" } ?? "?"),
        ]
        guard self.explain else { return lines.joined(separator: "\n") }
        lines += ["", Self.row(["", "cluster", "region", "state", "usable", "share", "wait", "away"])]
        for cluster in pick.clusters {
            lines.append(
                Self.row([
                    cluster.chosen ? "*" : "", cluster.cluster, cluster.region, cluster.state,
                    cluster.usable ? "yes" : "no", "\(Int((cluster.share * 100).rounded())) %",
                    Self.milliseconds(cluster.wait_seconds), Self.milliseconds(cluster.round_trip_seconds),
                ])
            )
        }
        guard !pick.endpoints.isEmpty else { return lines.joined(separator: "\n") }
        lines += ["", Self.row(["", "endpoint", "backlog", "problem"])]
        let sorted = pick.endpoints.sorted { ($0.chosen ? 0 : 1, $0.backlog) < ($1.chosen ? 0 : 1, $1.backlog) }
        for endpoint in sorted.prefix(Self.endpointsShown) {
            lines.append(
                Self.row([
                    endpoint.chosen ? "*" : "", endpoint.endpoint, "\(endpoint.backlog)", endpoint.problem ?? "",
                ])
            )
        }
        if sorted.count > Self.endpointsShown {
            lines.append("  and \(sorted.count - Self.endpointsShown) more; -o json lists all")
        }
        return lines.joined(separator: "\n")
    }

    private static func milliseconds(_ seconds: Double) -> String { "\(Int((seconds * 1_000).rounded())) ms" }

    private static func row(_ cells: [String]) -> String {
        let widths = [2, 24, 16, 9, 7, 7, 9, 0]
        let padded = zip(cells, widths).map { $0.padding(toLength: max($1, $0.count + 1), withPad: " ", startingAt: 0) }
        var row = padded.joined()
        while row.last == " " { row.removeLast() }
        return row
    }
}
