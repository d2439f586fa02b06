import FleetModel

/// What a hub knows of another: what it said it has, what was sent to it and may be on its way.
struct MeshLink: Sendable {
    let hub: HubID
    /// The other's last run; 0 before it was heard.
    var run: UInt64 = 0
    var heardAt: Seconds = -.infinity
    var isSilent = false
    var roundTrip = RoundTripEstimate()
    /// For the echo of the next flush.
    var lastSentAt: Seconds?
    var lastArrivedAt: Seconds = 0
    var flushedAt: Seconds = -.infinity
    var completeAt: Seconds
    var tellSuspicionsUntil: Seconds = -.infinity
    /// Where the other stands; `nil` until somebody tells.
    var region: RegionName?
    var suspicions: [AgentID: FrameStamp] = [:]

    /// By slot: the newest stamp that the other said it has, or sent itself.
    private(set) var have: [FrameStamp] = []
    /// By slot: the stamp sent last, and when.
    private var sent: [FrameStamp] = []
    private var sentAt: [Seconds] = []
    /// Slots that may have to be sent, and slots that changed since the last flush; each slot at most once.
    private(set) var waiting: [Int] = []
    private var isWaiting: [Bool] = []
    private var news: [Int] = []
    private var isNews: [Bool] = []

    init(hub: HubID, completeAt: Seconds, now: Seconds) {
        self.hub = hub
        self.completeAt = completeAt
    }

    mutating func grow(to count: Int) {
        let missing = count - self.have.count
        guard missing > 0 else { return }
        self.have += Array(repeating: .none, count: missing)
        self.sent += Array(repeating: .none, count: missing)
        self.sentAt += Array(repeating: -.infinity, count: missing)
        self.isWaiting += Array(repeating: false, count: missing)
        self.isNews += Array(repeating: false, count: missing)
    }

    /// A slot is another agent's from now on.
    mutating func forget(_ slot: Int) {
        self.have[slot] = .none
        self.sent[slot] = .none
        self.sentAt[slot] = -.infinity
    }

    /// A register has a newer frame.
    mutating func changed(_ slot: Int) {
        self.wait(slot)
        if !self.isNews[slot] {
            self.isNews[slot] = true
            self.news.append(slot)
        }
    }

    mutating func wait(_ slot: Int) {
        guard !self.isWaiting[slot] else { return }
        self.isWaiting[slot] = true
        self.waiting.append(slot)
    }

    mutating func takeNews() -> [Int] {
        let news = self.news
        for slot in news { self.isNews[slot] = false }
        self.news = []
        return news
    }

    /// The other has this frame of a slot.
    mutating func has(_ slot: Int, _ stamp: FrameStamp) {
        if self.have[slot] < stamp { self.have[slot] = stamp }
    }

    /// The other has told everything that it has: what is not in it, it does not have.
    mutating func replaceHave(_ have: [FrameStamp], held: [FrameStamp]) {
        self.have = have
        for slot in have.indices where have[slot] < held[slot] { self.wait(slot) }
    }

    /// Nothing is on its way to the other any more: it has restarted, or the link was cut.
    mutating func forgetSent() {
        for slot in self.sent.indices {
            self.sent[slot] = .none
            self.sentAt[slot] = -.infinity
        }
    }

    /// The slots to send now.
    ///
    /// - Parameters:
    ///   - settings: How many and how many bytes at most.
    ///   - now: The hub's clock.
    ///   - retry: When what was sent, and is not known to have come, is sent again.
    ///   - held: The stamp held of a slot, and when it may go to the other first; `nil` without a frame.
    /// - Returns: Slots, in the order in which they changed.
    mutating func takeDue(
        _ settings: GossipSettings,
        now: Seconds,
        retry: Seconds,
        held: (Int) -> (stamp: FrameStamp, due: Seconds, bytes: Int)?
    ) -> [Int] {
        var due: [Int] = []
        var (kept, bytes) = (0, 0)
        for slot in self.waiting {
            guard let held = held(slot), self.have[slot] < held.stamp else {
                self.isWaiting[slot] = false
                continue
            }
            self.waiting[kept] = slot
            kept += 1
            guard due.count < settings.framesPerFlush, bytes < settings.bytesPerFlush else { continue }
            let isOnItsWay = self.sent[slot] == held.stamp && now - self.sentAt[slot] < retry
            guard !isOnItsWay, self.sent[slot] == held.stamp || now >= held.due else { continue }
            self.sent[slot] = held.stamp
            self.sentAt[slot] = now
            bytes += held.bytes
            due.append(slot)
        }
        self.waiting.removeLast(self.waiting.count - kept)
        return due
    }
}
