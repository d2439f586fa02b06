package import FleetModel
import Foundation
import GRPCCore
import NIOCore
import SwiftProtobuf
package import WireProtocol

/// What gateways tell the hub; called from many event loops at once, so it must not wait.
package protocol PlanAudience: Sendable {
    func subscribed(_ gateway: GatewayName, region: RegionName, held: PlanVersion?)
    func acknowledged(_ gateway: GatewayName, _ version: PlanVersion)
    func refused(_ gateway: GatewayName, _ version: PlanVersion, reason: String)
    func reported(_ report: DemandReport)
    /// The stream of a gateway ended.
    func left(_ gateway: GatewayName)
    /// A gateway that answered nothing was given up; ``left(_:)`` follows.
    func dropped(_ gateway: GatewayName)
    /// A gateway could not use a delta, and is sent the body.
    func resending(to gateway: GatewayName, reason: String)
    /// A message could not be read; it was dropped and the stream goes on.
    func unreadable(_ error: WireError)
}

/// The hub's end of the gateways' streams.
package struct PlanService<Audience: PlanAudience>: DirectMethod {
    package let path = "/" + Isobar_V1_Plans.Method.Subscribe.descriptor.fullyQualifiedMethod
    private let board: PlanBoard
    private let audience: Audience

    package init(board: PlanBoard, audience: Audience) {
        self.board = board
        self.audience = audience
    }

    package func open(_ call: any DirectCall) -> any DirectStream {
        GatewayStream(call: call, board: self.board, audience: self.audience)
    }
}

/// One gateway's stream; touched on its event loop only.
final class GatewayStream: DirectStream {
    /// Pools that a gateway may name.
    static let poolsMax = 1_024

    private let call: any DirectCall
    private let board: PlanBoard
    private let audience: any PlanAudience
    private let streams: LoopStreams
    private var gateway: GatewayName?
    private var subscription: PlanSubscription?
    /// A plan that was announced while the stream could not take it.
    private var missed: PlanVersion?
    /// What the gateway says when it has taken what it was sent last.
    private var awaited: Announcement.Answer?

    init(call: any DirectCall, board: PlanBoard, audience: any PlanAudience) {
        self.call = call
        self.board = board
        self.audience = audience
        self.streams = board.streams(on: call.eventLoop)
    }

    var connection: any DirectConnection { self.call.connection }

    // MARK: Down

    /// Says what is to be said.
    ///
    /// - Returns: Whether the gateway has been given up.
    func serve(_ announcement: Announcement, isConfirmed: Bool, now: Seconds, _ traffic: inout PlanTraffic) -> Bool {
        guard let isStuck = self.subscription?.isStuck(now: now) else { return false }
        if isStuck { return true }
        // What does not go out now would wait in memory: the stream says when it can take something, and gets what is
        // newest then.
        guard self.call.isWritable else {
            guard let version = announcement.plan?.version, version != self.subscription?.held else { return false }
            if let missed = self.missed, missed != version { traffic.skipped += 1 }
            self.missed = version
            return false
        }
        self.missed = nil
        do throws(PlanUnreadable) {
            guard let word = try self.subscription?.next(announcement, isConfirmed: isConfirmed, now: now) else {
                return false
            }
            switch word {
            case .body: traffic.bodies += 1
            case .delta: traffic.deltas += 1
            case .heartbeat: traffic.heartbeats += 1
            }
            self.awaited = announcement.answer
            traffic.bytes += UInt64(word.bytes.readableBytes)
            self.call.write(word.bytes)
        } catch {
            self.audience.unreadable(WireError(field: "plan", reason: error.reason))
        }
        return false
    }

    /// Serves this stream alone, outside a round.
    private func serve() {
        guard let announcement = self.board.current else { return }
        var traffic = PlanTraffic()
        // It is not known that the plan is still in force: the replica says so in its rounds.
        _ = self.serve(announcement, isConfirmed: false, now: self.board.now, &traffic)
        let said = traffic
        self.streams.count { $0 = $0 + said }
    }

    func writable() { if self.missed != nil { self.serve() } }

    func giveUp() {
        if let gateway = self.gateway { self.audience.dropped(gateway) }
        self.ended()
        let reason = "no answer to a plan for \(Int(PlanSubscription.patience)) s"
        self.call.end(RPCError(code: .deadlineExceeded, message: reason))
    }

    func ended() {
        self.streams.remove(self)
        self.subscription = nil
        self.awaited = nil
        if let gateway = self.gateway { self.audience.left(gateway) }
        self.gateway = nil
    }

    // MARK: Up

    func received(_ bytes: ByteBuffer) {
        // Nearly all that gateways say, to the letter; it need not be decoded thousands of times.
        if let awaited = self.awaited, bytes == awaited.encoded { return self.answered(awaited.version) }
        let message: Isobar_V1_GatewayMessage
        do {
            message = try Isobar_V1_GatewayMessage(serializedBytes: Array(bytes.readableBytesView))
        } catch {
            return self.refuse(RPCError(code: .invalidArgument, message: "not a message of a gateway: \(error)"))
        }
        guard self.subscription != nil else { return self.subscribe(message) }
        switch message.kind {
        case .acknowledgement(let acknowledgement):
            self.answered(acknowledgement.version.model)
        case .refusal(let refusal):
            if refusal.hasVersion {
                self.answered(refusal.version.model, refusal.reason)
            } else {
                self.refused(refusal)
            }
        case .resend(let resend):
            self.subscription?.lost()
            self.streams.count { $0.resent += 1 }
            if let gateway = self.gateway { self.audience.resending(to: gateway, reason: resend.reason) }
            self.serve()
        case .demand(let demand):
            self.reported(demand)
        case .subscribe:
            self.audience.unreadable(WireError(field: "subscribe", reason: "sent twice on one stream"))
        case nil:
            self.audience.unreadable(WireError(field: "kind", reason: "empty, or of a newer version than this hub"))
        }
    }

    private func subscribe(_ message: Isobar_V1_GatewayMessage) {
        guard case .subscribe(let subscribe) = message.kind else {
            return self.refuse(RPCError(code: .invalidArgument, message: "the first message must be a Subscribe"))
        }
        if let reason = self.call.peer?.refusal(speakingFor: subscribe.region) {
            return self.refuse(RPCError(code: .permissionDenied, message: reason))
        }
        guard subscribe.pools.count <= Self.poolsMax else {
            let reason = "\(subscribe.pools.count) pools; \(Self.poolsMax) are the limit"
            return self.refuse(RPCError(code: .invalidArgument, message: reason))
        }
        do throws(InvalidName) {
            let gateway = try GatewayName(subscribe.gateway)
            let region = try RegionName(subscribe.region)
            var pools: [PoolName] = []
            for pool in subscribe.pools { pools.append(try PoolName(pool)) }
            let held = subscribe.hasHeld ? subscribe.held.model : nil
            self.gateway = gateway
            self.subscription = PlanSubscription(
                scope: PlanScope(region: region, pools: pools),
                phase: self.streams.nextPhase(),
                held: held,
                hash: held == nil ? nil : subscribe.hash
            )
            self.streams.add(self)
            self.audience.subscribed(gateway, region: region, held: held)
            self.serve()
        } catch {
            self.refuse(RPCError(code: .invalidArgument, message: error.description))
        }
    }

    private func refuse(_ error: RPCError) {
        self.ended()
        self.call.end(error)
    }

    private func answered(_ version: PlanVersion, _ refusal: String? = nil) {
        self.subscription?.answered(version, now: self.board.now)
        guard let gateway = self.gateway else { return }
        if let refusal {
            self.audience.refused(gateway, version, reason: refusal)
        } else {
            self.audience.acknowledged(gateway, version)
        }
    }

    /// A body could not even be read, so that the refusal has no version: the next round sends it again.
    private func refused(_ refusal: Isobar_V1_PlanRefusal) {
        self.subscription?.lost()
        guard let gateway = self.gateway else { return }
        self.audience.refused(gateway, refusal.version.model, reason: refusal.reason)
    }

    private func reported(_ demand: Isobar_V1_DemandReport) {
        guard let gateway = self.gateway, let region = self.subscription?.scope.region else { return }
        do throws(WireError) {
            let report = try demand.model()
            guard report.gateway == gateway, report.region == region else {
                let reason = "\(report.gateway) in \(report.region) is not \(gateway) in \(region), who subscribed"
                throw WireError(field: "demand", reason: reason)
            }
            self.audience.reported(report)
        } catch {
            self.audience.unreadable(error)
        }
    }
}
