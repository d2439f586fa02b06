/// The KV blocks that one request holds.
struct BlockHold: Hashable, Sendable {
    /// Blocks of its own.
    var plain = 0
    /// Prefix units that it shares, in the order of the prompt.
    var units: [Int32] = []
    /// Tokens for which these blocks have room.
    var tokens = 0
}

/// Paged KV memory with a prefix cache.
///
/// A block is free, held by one request, or part of a prefix unit. A unit that nobody holds stays findable
/// until its blocks are needed; the least recently used one goes first. (vLLM's block manager does the same
/// with single blocks; here a unit may span several, and blocks that were never cached are taken first.)
///
/// Invariant: free + plain of all holds + blocks of all units = total.
struct BlockPool: Sendable {
    private struct Unit: Sendable {
        var hash: UInt64
        var holders: Int32
        /// Neighbours in the list of idle units, oldest first.
        var previous: Int32
        var next: Int32
    }

    let total: Int
    private let blockTokens: Int
    private let unitBlocks: Int
    private var free: Int
    private var idle = 0
    /// Slot 0 is the ends of the idle list.
    private var units = [Unit(hash: 0, holders: 0, previous: 0, next: 0)]
    private var spare: [Int32] = []
    private var known: [UInt64: Int32] = [:]

    init(blocks: Int, blockTokens: Int, unitTokens: Int) {
        precondition(
            unitTokens >= blockTokens && unitTokens.isMultiple(of: blockTokens),
            "a prefix unit of \(unitTokens) tokens is not a multiple of a block of \(blockTokens)"
        )
        self.total = blocks
        self.free = blocks
        self.blockTokens = blockTokens
        self.unitBlocks = unitTokens / blockTokens
    }

    /// Blocks that a request could get: free ones and those of idle units.
    var available: Int { self.free + self.idle * self.unitBlocks }

    var used: Int { self.total - self.available }

    func blocks(for tokens: Int) -> Int { (tokens + self.blockTokens - 1) / self.blockTokens }

    /// Takes the blocks for `tokens` tokens of a request, all or none.
    ///
    /// Found prefix units are shared; at least one token is left to compute, since it yields the next one.
    ///
    /// - Returns: the blocks and how many tokens need not be computed, or `nil` when there is no room.
    mutating func admit(tokens: Int, promptTokens: Int, prefix: [UInt64]) -> (hold: BlockHold, cached: Int)? {
        let needed = self.blocks(for: tokens)
        let unitTokens = self.unitBlocks * self.blockTokens
        var hold = BlockHold(tokens: needed * self.blockTokens)
        for hash in prefix.prefix((tokens - 1) / unitTokens) {
            guard let unit = self.known[hash] else { break }
            self.acquire(unit)
            hold.units.append(unit)
        }
        let found = hold.units.count
        let missing = needed - found * self.unitBlocks
        guard missing <= self.available else {
            self.release(hold)
            return nil
        }
        self.reclaim(missing)
        hold.plain = missing
        for hash in prefix.prefix(promptTokens / unitTokens).dropFirst(found) where self.known[hash] == nil {
            hold.units.append(self.makeUnit(hash))
            hold.plain -= self.unitBlocks
        }
        return (hold, found * unitTokens)
    }

    /// Gives one more block to a hold; `false` when there is none.
    mutating func grow(_ hold: inout BlockHold) -> Bool {
        guard self.available > 0 else { return false }
        self.reclaim(1)
        hold.plain += 1
        hold.tokens += self.blockTokens
        return true
    }

    /// Takes all blocks back; the end of a prefix is forgotten before its beginning.
    mutating func release(_ hold: BlockHold) {
        self.free += hold.plain
        for unit in hold.units.reversed() {
            self.units[Int(unit)].holders -= 1
            if self.units[Int(unit)].holders == 0 { self.link(unit) }
        }
    }

    /// Takes `count` blocks out of the free ones, forgetting idle units as needed.
    private mutating func reclaim(_ count: Int) {
        while self.free < count { self.forgetOldest() }
        self.free -= count
    }

    private mutating func forgetOldest() {
        let oldest = self.units[0].next
        self.unlink(oldest)
        self.known[self.units[Int(oldest)].hash] = nil
        self.spare.append(oldest)
        self.free += self.unitBlocks
    }

    private mutating func makeUnit(_ hash: UInt64) -> Int32 {
        let unit = Unit(hash: hash, holders: 1, previous: 0, next: 0)
        let slot: Int32
        if let reused = self.spare.popLast() {
            slot = reused
            self.units[Int(slot)] = unit
        } else {
            slot = Int32(self.units.count)
            self.units.append(unit)
        }
        self.known[hash] = slot
        return slot
    }

    private mutating func acquire(_ unit: Int32) {
        if self.units[Int(unit)].holders == 0 { self.unlink(unit) }
        self.units[Int(unit)].holders += 1
    }

    private mutating func link(_ unit: Int32) {
        let last = self.units[0].previous
        self.units[Int(unit)].previous = last
        self.units[Int(unit)].next = 0
        self.units[Int(last)].next = unit
        self.units[0].previous = unit
        self.idle += 1
    }

    private mutating func unlink(_ unit: Int32) {
        let (previous, next) = (self.units[Int(unit)].previous, self.units[Int(unit)].next)
        self.units[Int(previous)].next = next
        self.units[Int(next)].previous = previous
        self.idle -= 1
    }
}
