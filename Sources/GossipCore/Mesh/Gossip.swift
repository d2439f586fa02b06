// How digests reach every hub replica: the protocol in one page. docs/gossip.md tells it to operators.
//
// A digest changes every second and has few readers, the hub replicas; so it is pushed, not spread as an epidemic:
//
//   agent ──push──► every hub it reaches ──flush──► every other hub      (the mesh: eager, repaired by have-vectors)
//     └──relay──► another agent ──forward──► hubs it reaches            (one hop, when fewer than two hubs answer)
//
// Each agent replica owns one register, its newest sealed frame; every hub holds the greatest (incarnation, sequence)
// it has seen of each. Joining is the maximum: commutative, associative, idempotent, without anybody's clock.
//
// Sources
//   Demers et al., "Epidemic Algorithms for Replicated Database Maintenance", PODC 1987: eager push with
//     anti-entropy behind it. Here push goes to all replicas, and anti-entropy compares have-vectors.
//   van Renesse et al., "Efficient Reconciliation and Flow Control for Anti-Entropy Protocols" (Scuttlebutt), LADIS
//     2008: one writer a register, versions compared, only the newest state sent.
//   Das, Gupta, Motivala, "SWIM", DSN 2002: suspicion before death, incarnations that refute it.
//   Dadgar, Phillips, Currey, "Lifeguard", DSN-W 2018: local health, suspicion time-outs that shrink with
//     confirmations.
//   Hayashibara et al., "The φ Accrual Failure Detector", SRDS 2004.
//   Dabek et al., "Vivaldi", SIGCOMM 2004. Jacobson and RFC 6298: round trips.
//
// Departures, and why
//   - No epidemic over the agents: with few readers a push is two orders of magnitude fewer messages, and faster.
//   - Silence is judged on the merged view, not a link: a cut link is no evidence while any path delivers.
//   - φ uses running mean and variance instead of a window of 100 intervals: 16 bytes an agent, not 800. The mean is
//     at least the announced interval and σ at least 0.25 s, so a calm network does not make the detector nervous.
//   - Silence is counted on a clock that stands still while the hub itself stood still, beside Lifeguard's score:
//     a hub that was paused accuses nobody for its own pause.
//   - Lifeguard's time-out shrinks with any confirmations; here, also, a mass of suspicions that a majority of hubs
//     does not confirm is taken for our own isolation, and shares of capacity freeze (``MassGuard``).
//   - A frame says which hubs its agent reaches, so hubs push at once only to the others.
//   - What is known of a peer is only what it said itself, so every wrong belief ends with its next have-vector.
//
// Rounds and time. d(x, y) is one way, M the flush period (0.1 s), A the acknowledgement's time-out.
//   reached hub            d(agent, hub)
//   hub that is cut off    min over reached h of d(agent, h) + wait + d(h, hub), with wait ≤ M
//   all cut, known         d(agent, relay) + d(relay, h) + wait + d(h, hub)
//   all cut, first time    the same + A, with A = max(0.25 s, srtt + 4·rttvar + 0.1 s)
//   a flush is lost        + R, with R = 1.3·srtt + 2M + 0.06 s, unless another hub flushes the frame meanwhile
//
// Bytes. F is the sealed frame, 36 + 16 + 96 a pool at most; k the acknowledgement; o the transport's overhead a
// message; N agents, H hubs, f frames a second (1). Each byte counts once.
//   agent, nothing cut     H·f·(F + k + 2o)
//   agent, one hub reached (1 + 2·1)·f·(F + k + 2o) + relayed forwards of as many others, the same again at most
//   hub to each peer       f·N·(12 + F·u) + 12·N/5, with u the share of agents that do not reach the peer,
//                          or 1 when frames come over the mesh

package import FleetModel

/// Times and bounds of the gossip, in seconds where nothing else is said.
///
/// The defaults are what `isobar simulate gossip` measures.
package struct GossipSettings: Hashable, Sendable {
    /// Between two frames of an agent that has nothing new to say.
    package var interval: Seconds = 1
    /// The least time between two frames of one agent.
    package var spacing: Seconds = 0.1
    /// Frames a second that changes may cause, and how many of them at once.
    package var changeRate: Double = 5
    package var changeBurst: Double = 3
    /// A hub that has not acknowledged for this many intervals is not reached.
    package var reachIntervals: Double = 3
    /// How often a hub that is not reached is tried.
    package var probeEvery: Seconds = 2
    /// With fewer hubs reached than this, frames also go through relays.
    package var reachWanted = 2
    /// Relays that a frame goes through at once: when one hub is reached, and when none is.
    package var relaysBeside = 2
    package var relaysInstead = 2
    /// Relays for a frame that nobody acknowledged in time.
    package var relaysLate = 3
    /// Hubs to which a relay forwards a frame: the mesh does the rest.
    package var relayHubs = 1
    /// Frames a second that one relay forwards, and as many at once.
    package var relayBudget: Double = 64
    /// How often an idle relay is pinged, so that its connection stays open.
    package var warmEvery: Seconds = 5
    /// How often an agent tells its round trips.
    package var tellRoundTripsEvery: Seconds = 10
    /// The time-out of an acknowledgement is at least this.
    package var acknowledgeFloor: Seconds = 0.25

    /// Between two flushes to one hub.
    package var flushEvery: Seconds = 0.1
    /// Between two flushes that have nothing to say.
    package var quietFlushEvery: Seconds = 0.5
    /// Between two whole have-vectors to one hub.
    package var completeEvery: Seconds = 5
    /// A hub not heard for this long is silent: it is sent no frames, only signs of life.
    package var peerSilence: Seconds = 2
    /// How long a frame waits that its agent sends to the peer itself.
    package var waitForAgent: Seconds = 0.3
    /// How long a frame waits that another hub is likely to flush to the peer.
    package var waitForPeer: Seconds = 0.12
    /// Frames in one flush; the rest goes with the next.
    package var framesPerFlush = 1_024
    /// Bytes of frames after which a flush takes no more.
    package var bytesPerFlush = 1 << 20

    /// φ at which an agent is aging, and suspect.
    package var agingPhi = 5.0
    package var suspectPhi = 8.0
    /// σ of the interval is taken for at least this.
    package var sigmaFloor: Seconds = 0.25
    /// Silence after which a suspect is unreachable: with all confirmations, and with none.
    package var unreachableMin: Seconds = 3
    package var unreachableMax: Seconds = 8
    /// Confirmations that bring it down to the least.
    package var confirmations = 3
    /// An agent is forgotten after this silence; only its stamp is kept.
    package var goneAfter: Seconds = 600
    /// A tick that is later than this means that the hub itself stood still.
    package var lateness: Seconds = 0.25

    /// The share of capacity that may turn suspect within ``massWindow``.
    package var massShare = 0.2
    package var massWindow: Seconds = 5
    /// How long somebody's word counts that a cluster answers.
    package var vouchedFor: Seconds = 5
    /// Longest freeze; after it, what looks lost is taken for lost.
    package var freezeMax: Seconds = 15
    /// Where a readmitted agent's share of its capacity begins; it doubles each second.
    package var readmission = 0.1

    /// Agents that a hub holds.
    ///
    /// When all places are taken, a new one gets that of the agent that is gone for longest, and is refused when none is.
    package var agentsMax = 16_384
    /// Bytes of one sealed frame.
    package var frameBytesMax = 65_536

    package init() {}
}
